use super::*;

fn problems(text: &str) -> Vec<String> {
    match Parsed::of(&PolicyText::of("p.cedar", text)) {
        Ok(_) => Vec::new(),
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

/// The only problem begins with `place` and says `message`.
fn check(text: &str, place: &str, message: &str) {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problem = &problems[0];
    assert!(
        problem.starts_with(place) && problem.contains(message),
        "{problem}"
    );
}

#[test]
fn a_mistake_is_told_with_its_file_and_line() {
    check(
        "permit (principal, action, resource)\n\nforbid (principal, action, resource);",
        "p.cedar:3: ",
        "unexpected token",
    );
    let begin = "// Rules.\n\npermit (principal, action, resource);\n\n";
    for (text, place, message) in [
        (
            "@id(\"typo\")\nforbid (principal, action == Tidegate::Action::\"cal\", resource);",
            "p.cedar:6: policy typo: ",
            "cal",
        ),
        (
            "forbid (principal, action, resource)\nwhen {\n  principal.tenat == \"acme\"\n};",
            "p.cedar:7: policy p.cedar#2: ",
            "tenat",
        ),
        (
            "forbid (principal, action, resource)\nwhen { principal.getTag(\"team\").contains(\"x\") };",
            "p.cedar:6: policy p.cedar#2: ",
            "team",
        ),
    ] {
        check(&format!("{begin}{text}"), place, message);
    }
}

#[test]
fn what_can_never_apply_is_refused() {
    for (text, message) in [
        (
            "forbid (principal, action == Tidegate::Action::\"call\", resource == Tidegate::Model::\"a\");",
            "unable to find an applicable action",
        ),
        (
            "forbid (principal == Tidegate::Principal::\"shop\", action, resource);",
            "\"shop\" is not a principal: write key:NAME",
        ),
        (
            "forbid (principal, action, resource == Tidegate::Endpoint::\"secret*\");",
            "is no name",
        ),
        (
            "forbid (principal, action == Tidegate::Action::\"public\", resource);",
            "public",
        ),
        (
            "forbid (principal == ?principal, action, resource);",
            "it is a template",
        ),
    ] {
        let problems = problems(text);
        assert!(
            problems.iter().any(|problem| problem.contains(message)),
            "{text}: {problems:?}"
        );
    }
}

#[test]
fn policies_are_named_by_their_id_or_their_place() {
    let text = PolicyText {
        files: vec![
            ("x/a.cedar".into(), "permit (principal, action, resource);\n@id(\"b\")permit (principal, action, resource);".to_owned()),
            ("x/b.cedar".into(), "permit (principal, action, resource);".to_owned()),
        ],
    };
    let parsed = Parsed::of(&text).unwrap();
    let mut names: Vec<String> = parsed
        .policies
        .iter()
        .map(|policy| policy.id().to_string())
        .collect();
    names.sort();
    assert_eq!(names, ["a.cedar#1", "b", "b.cedar#1"]);
}

#[test]
fn an_id_is_used_once() {
    check(
        "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);",
        "p.cedar:2: policy a: ",
        "same @id",
    );
}
