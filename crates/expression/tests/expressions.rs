//! What expressions give, and what they refuse.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use proptest::prelude::*;
use tidegate_expression::{Expression, Input, Output, Type};

fn types(name: &str) -> Option<Type> {
    match name {
        "amount" | "income" => Some(Type::Number),
        "country" => Some(Type::Text),
        "vip" => Some(Type::Boolean),
        _ => None,
    }
}

fn value<'a>(name: &str, missing: &str) -> Input<'a> {
    match name {
        name if name == missing => Input::Missing,
        "amount" => Input::Number(1200.5),
        "income" => Input::Number(3000.0),
        "country" => Input::Text("DE"),
        _ => Input::Boolean(true),
    }
}

fn run_without(text: &str, missing: &str) -> Result<Output, String> {
    let expression = Expression::parse(text, types).map_err(|error| error.to_string())?;
    let names = expression.variables().to_vec();
    let mut outputs = Vec::new();
    expression
        .run(
            1,
            |variable, _| value(&names[variable], missing),
            |output| outputs.push(output),
        )
        .map_err(|error| error.to_string())?;
    Ok(outputs.remove(0))
}

fn run(text: &str) -> Result<Output, String> {
    run_without(text, "")
}

#[test]
fn values_are_those_of_the_language() {
    let cases = [
        ("amount * 2 + 1", 2402.0),
        ("amount / income", 1200.5 / 3000.0),
        ("-amount", -1200.5),
        ("size(country) + 1", 3.0),
        ("size('Łódź')", 4.0),
        ("vip ? 1 : 0", 1.0),
        ("min(amount, 1000) + max(1, 2)", 1002.0),
        ("abs(-2.5) + floor(2.5) + ceil(2.5) + round(2.5)", 9.5),
        ("pow(2, 10) + sqrt(16)", 1028.0),
        ("log(exp(1)) + log1p(0)", 1.0),
        ("1 / 4", 0.25),
        (
            "(amount > 1000 ? 10 : 20) + (country in ['DE', 'FR'] ? 1 : 2)",
            11.0,
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(run(text), Ok(Output::Number(expected)), "{text}");
    }
    let booleans = [
        ("amount > 1000 && vip", true),
        ("country == 'FR' || !vip", false),
        (
            "country.startsWith('D') && country.endsWith('E') && country.contains('DE')",
            true,
        ),
        ("amount in [1200.5, 7]", true),
        ("amount == null", false),
        ("country < 'FR'", true),
        ("size(country) == 2", true),
    ];
    for (text, expected) in booleans {
        assert_eq!(run(text), Ok(Output::Boolean(expected)), "{text}");
    }
    let text = "country + ': ' + (amount > 1000 ? 'high' : 'low')";
    assert_eq!(run(text), Ok(Output::Text("DE: high".to_owned())));
}

#[test]
fn a_missing_value_is_null_and_fails_arithmetic() {
    assert_eq!(
        run_without("amount == null ? 0 : amount", "amount"),
        Ok(Output::Number(0.0))
    );
    assert_eq!(
        run_without("amount == null ? null : amount", "amount"),
        Ok(Output::Missing)
    );
    assert_eq!(
        run_without("vip || amount > 1", "amount"),
        Ok(Output::Boolean(true))
    );
    let error = run_without("amount * 2", "amount").unwrap_err();
    assert_eq!(error, "row 0: is missing, and the expression needs it");
    let error = run_without("amount > 1", "amount").unwrap_err();
    assert_eq!(error, "row 0: is missing, and the expression needs it");
}

#[test]
fn numbers_that_are_none_fail_the_row() {
    for text in [
        "amount / 0",
        "0 / 0 + amount",
        "log(0 - amount)",
        "exp(amount) * 1",
        "string(amount / 0)",
        "amount / 0 == 1 ? 1 : 2",
        "amount / 0 > 5",
        "max(log(0 - amount), 0)",
        "min(amount / 0, 10)",
        "pow(amount / 0, 0)",
    ] {
        let error = run(text).unwrap_err();
        assert_eq!(
            error, "row 0: gets a number that is none from the expression",
            "{text}"
        );
    }
}

#[test]
fn what_has_wrong_types_is_refused_before_it_runs() {
    let cases = [
        ("amount + country", "\"+\" does not take a number and text"),
        ("country == 5", "\"==\" does not take text and a number"),
        ("amount > '5'", "\">\" does not take a number and text"),
        ("vip + vip", "\"+\" does not take a boolean and a boolean"),
        ("amount ? 1 : 2", "the condition before \"?\" is a number"),
        (
            "vip ? 1 : 'a'",
            "behind \"?\" stands a number, and behind \":\" text",
        ),
        (
            "country in ['DE', 5]",
            "text is looked for in a list that has a number",
        ),
        ("country in country", "behind \"in\" must stand a list"),
        ("[1, 2]", "a list stands behind \"in\" only"),
        ("amuont > 1", "\"amuont\" is unknown"),
        ("null", "it is always null"),
        ("amount.value", "\".value\" is no column"),
        (
            "[1, 2].all(x, x > 0)",
            "loops, maps and structures are not supported",
        ),
        ("{'a': 1}", "loops, maps and structures are not supported"),
        ("int(amount)", "\"int\" does not take a number"),
        (
            "abs(amount, 2)",
            "\"abs\" does not take a number and a number",
        ),
        ("amount >", "character "),
        ("", "character "),
    ];
    for (text, problem) in cases {
        let error = run(text).unwrap_err();
        assert!(error.contains(problem), "{text}: {error}");
    }
}

#[test]
fn deep_and_long_texts_are_refused() {
    let deep = [
        "(".repeat(900),
        "!".repeat(1900),
        "-".repeat(1900),
        "true ? ".repeat(280),
    ];
    for text in &deep {
        assert!(run(text).unwrap_err().contains("nested deeper"), "{text}");
    }
    assert!(
        run(&"1 + ".repeat(600))
            .unwrap_err()
            .contains("at most are 2000")
    );
    let long = format!("{}1", "1 + ".repeat(200));
    assert_eq!(run(&long), Ok(Output::Number(201.0)));
    let longer = format!("{}1", "1 + ".repeat(201));
    assert!(
        run(&longer)
            .unwrap_err()
            .contains("more than 200 operators")
    );
}

proptest! {
    #[test]
    fn no_text_ends_the_process(text in "[a-z0-9 ()\\[\\]{}?:!<>=&|+*/%'\"._\\\\-]{0,80}") {
        let _ = run(&text);
    }

    #[test]
    fn any_unicode_is_a_value_or_an_error(text in "\\PC{0,60}") {
        let _ = run(&text);
    }
}
