//! The page of the registry's errors is as the code is. `UPDATE_DOCS=1` writes it anew.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::Path;

use tidegate_registry::ErrorCode;

#[test]
fn errors_page_is_made_from_the_table() {
    let mut page = String::from(
        "# Errors of the registry\n\n\
         Commands that use the registry exit with status 1 and print `error: the message [the_code]`. Codes are never\n\
         renamed; new ones may be added. Errors of requests are on [another page](errors.md).\n\n\
         | code | what happened | what to do |\n|---|---|---|\n",
    );
    for code in ErrorCode::ALL {
        page.push_str(&format!(
            "| `{}` | {} | {} |\n",
            code.name(),
            code.meaning(),
            code.remedy()
        ));
    }
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/registry-errors.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        found,
        page,
        "{} is out of date: run with UPDATE_DOCS=1",
        path.display()
    );
}
