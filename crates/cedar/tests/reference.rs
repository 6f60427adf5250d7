//! The page of the reference about policies shows the schema as it is. `UPDATE_DOCS=1` writes it anew.

use tidegate_cedar::schema;

const BEGIN: &str = "```cedarschema\n";

#[test]
fn the_page_shows_the_schema() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/policies.md"
    );
    let page = std::fs::read_to_string(path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once("```\n").unwrap();
    let expected = format!("{head}{BEGIN}{}```\n{tail}", schema());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    assert!(
        page == expected || std::env::var_os("UPDATE_DOCS").is_some(),
        "docs/reference/policies.md is out of date: run with UPDATE_DOCS=1"
    );
}
