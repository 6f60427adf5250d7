use super::*;

fn parse(text: &str) -> Result<TrafficPolicy, String> {
    toml::from_str(text).map_err(|error| error.message().to_owned())
}

const FULL: &str = r#"
    sticky = "header:X-User"
    versions = [{ version = 7, weight = "99.5%" }, { version = "champion", weight = "0.5%" }]
    shadows = [{ version = 9, share = "10%" }]
    fallbacks = [{ version = 6 }, { endpoint = "old" }, { cached_max_age_ms = 1000 }]

    [[rules]]
    name = "beta"
    when = [
        { attribute = "header:x-beta", one_of = ["1", "yes"] },
        { attribute = "field:amount", at_least = 100 },
    ]
    versions = [{ version = 8 }]
"#;

#[test]
fn a_policy_is_the_same_after_writing_and_reading_it() {
    let policy = parse(FULL).unwrap();
    assert_eq!(policy.sticky(), Some(&Attribute::Header("x-user".into())));
    let json = serde_json::to_string(&policy).unwrap();
    assert_eq!(
        serde_json::from_str::<TrafficPolicy>(&json).unwrap(),
        policy
    );
    let text = toml::to_string(&policy).unwrap();
    assert_eq!(parse(&text).unwrap(), policy);
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let error = parse(
        r#"
        versions = [{ version = 7, weight = "90%" }, { version = 7, weight = "5%" }]
        shadows = [{ version = 9, share = "1%" }, { version = 9, share = "2%" }]
        fallbacks = [{}]

        [[rules]]
        name = "beta"
        when = []
        versions = [{ version = 8 }, { version = 9 }]
        "#,
    );
    assert_eq!(
        error.unwrap_err(),
        "the policy has version 7 twice; the policy: the weights are 95% together, they must be \
         100%; rule \"beta\" has no conditions; the policy's own versions answer what no rule takes; \
         rule \"beta\": version 8 has no weight; write \"0%\" if it gets no requests; rule \"beta\": \
         version 9 has no weight; write \"0%\" if it gets no requests; there are two shadows of \
         version 9; fallback 1 needs exactly one of version, endpoint and cached_max_age_ms"
    );
}

#[test]
fn unknown_keys_and_attributes_are_refused() {
    let error = parse("versions = [{ version = 7, wieght = '100%' }]").unwrap_err();
    assert!(error.contains("unknown field `wieght`"), "{error}");
    let error = parse("sticky = 'cookie:id'\nversions = [{ version = 7 }]").unwrap_err();
    assert!(
        error.contains("\"cookie:id\" is not an attribute"),
        "{error}"
    );
}

#[test]
fn a_condition_has_exactly_one_test() {
    for tests in ["", ", equals = '1', prefix = '2'"] {
        let rule = format!(
            "versions = [{{ version = 7 }}]\n[[rules]]\nname = 'a'\nversions = [{{ version = 8 }}]\n\
             when = [{{ attribute = 'tenant'{tests} }}]"
        );
        let error = parse(&rule).unwrap_err();
        assert!(
            error.contains("the condition on tenant needs exactly one of equals"),
            "{error}"
        );
    }
}

#[test]
fn a_weight_of_zero_is_no_missing_weight() {
    let policy = "versions = [{ version = 7, weight = '100%' }, { version = 8, weight = '0%' }]";
    let policy = parse(policy).unwrap();
    assert_eq!(
        policy.split().weight_of(&VersionName::number(8)),
        Share::NONE
    );
}

#[test]
fn conditions_hold_for_what_they_say() {
    let holds = |test: Test, value| {
        let attribute = Attribute::Tenant;
        Condition { attribute, test }.holds(value)
    };
    assert!(holds(Test::Equals("a".into()), Some("a")) && !holds(Test::Equals("a".into()), None));
    assert!(holds(Test::OneOf(vec!["a".into(), "b".into()]), Some("b")));
    assert!(
        holds(Test::Prefix("ab".into()), Some("abc"))
            && !holds(Test::Prefix("ab".into()), Some("a"))
    );
    assert!(holds(Test::AtLeast(10.0), Some("10")) && !holds(Test::AtLeast(10.0), Some("9.9")));
    assert!(!holds(Test::AtLeast(10.0), Some("NaN")) && !holds(Test::Below(10.0), Some("ten")));
    assert!(holds(Test::Present(false), None) && !holds(Test::Present(false), Some("")));
    assert!(holds(Test::Present(true), Some("")) && !holds(Test::Present(true), None));
}

#[test]
fn a_difference_names_every_change() {
    let before = parse(FULL).unwrap();
    let after = parse(
        r#"
        versions = [{ version = 7, weight = "20%" }, { version = 8, weight = "80%" }]
        shadows = [{ version = 9, share = "20%" }]

        [[rules]]
        name = "vip"
        when = [{ attribute = "tenant", equals = "acme" }]
        versions = [{ version = 7 }]

        [[rules]]
        name = "beta"
        when = [{ attribute = "header:x-beta", one_of = ["1"] }]
        versions = [{ version = 8 }]
        "#,
    )
    .unwrap();
    assert!(diff(&before, &before).is_empty());
    assert_eq!(
        diff(&before, &after),
        [
            "sticky key: header:x-user -> none; every key is assigned anew",
            "version 7: 99.5% -> 20%",
            "version champion: removed, had 0.5%",
            "version 8: added with 80%",
            "80% of the requests move",
            "rule \"vip\": added at position 1: if tenant is \"acme\", version 7 with 100%",
            "rule \"beta\": if header:x-beta is one of [\"1\", \"yes\"] and field:amount is at least \
             100 -> if header:x-beta is one of [\"1\"]",
            "shadow of version 9: 10% -> 20%",
            "fallbacks: version 6, endpoint old, an answer of up to 1000 ms ago -> none",
        ],
    );
}
