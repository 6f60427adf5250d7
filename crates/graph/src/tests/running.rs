//! Runs whose answers are known.

use std::sync::atomic::Ordering;

use super::*;

/// A cascade: `double` where `x` is below 10, else `half`.
fn cascade() -> Graph {
    let text = node("small", "double", "x", "doubled", "when = \"x < 10.0\"")
        + &node("large", "half", "x", "halved", "else_of = \"small\"")
        + &first("y", "[\"doubled\", \"halved\"]");
    graph(&text).unwrap()
}

#[test]
fn each_row_takes_its_own_branch() {
    let graph = cascade();
    let adders = adders(&graph);
    let answer = run_with(&graph, &[1.0, 20.0, 3.0, 40.0, 50.0], &adders).unwrap();
    assert_eq!(answer, [2.0, 10.0, 6.0, 20.0, 25.0]);
    assert_eq!(
        adders.ran_rows.load(Ordering::Relaxed),
        5,
        "no row runs twice"
    );
}

#[test]
fn a_branch_without_rows_does_not_run() {
    let text = node("small", "double", "x", "doubled", "when = \"x < 10.0\"")
        + &node("large", "fail", "x", "halved", "else_of = \"small\"")
        + &first("y", "[\"halved\", \"doubled\"]");
    let graph = graph(&text).unwrap();
    assert_eq!(run(&graph, &[1.0, 2.0]).unwrap(), [2.0, 4.0]);
    let error = run(&graph, &[1.0, 20.0]).unwrap_err();
    assert!(matches!(error, RunError::Node { node: 1, .. }), "{error}");
}

#[test]
fn without_rows_a_condition_is_asked_for_the_request() {
    let text = node("small", "double", "x", "doubled", "when = \"x < 10.0\"")
        + &node("large", "half", "x", "halved", "else_of = \"small\"")
        + &first("y", "[\"doubled\", \"halved\"]");
    let graph = graph_of("[1]", false, &text).unwrap();
    assert_eq!(run(&graph, &[1.0]).unwrap(), [2.0]);
    assert_eq!(run(&graph, &[20.0]).unwrap(), [10.0]);
}

#[test]
fn chains_of_conditions_and_nodes_behind_them_keep_their_rows() {
    // if x < 0: x + 1, doubled; else if x < 10: x + 2; else: x + 3.
    let text = node("a", "1", "x", "a1", "when = \"x < 0.0\"")
        + &node("aa", "double", "a1", "a2", "")
        + &node("b", "2", "x", "b1", "when = \"x < 10.0\"\nelse_of = \"a\"")
        + &node("c", "3", "x", "c1", "else_of = \"b\"")
        + &first("y", "[\"a2\", \"b1\", \"c1\"]");
    let graph = graph(&text).unwrap();
    let answer = run(&graph, &[5.0, -4.0, 30.0, -1.0, 10.0]).unwrap();
    assert_eq!(answer, [7.0, -6.0, 33.0, 0.0, 13.0]);
}

#[test]
fn a_value_that_cannot_be_compared_is_an_error_and_no_branch() {
    let error = run(&cascade(), &[1.0, f32::NAN]).unwrap_err().to_string();
    assert!(
        error.contains("node \"small\", when \"x < 10.0\""),
        "{error}"
    );
}

#[test]
fn tensors_that_nothing_needs_any_more_are_let_go() {
    let chain = |length: usize| {
        let mut text = String::new();
        for at in 0..length {
            let from = if at == 0 {
                "x".to_owned()
            } else {
                format!("t{at}")
            };
            let to = if at + 1 == length {
                "y".to_owned()
            } else {
                format!("t{}", at + 1)
            };
            text += &node(&format!("n{at}"), "1", &from, &to, "");
        }
        let graph = graph(&text).unwrap();
        let adders = adders(&graph);
        assert_eq!(
            run_with(&graph, &[0.0; 100], &adders).unwrap(),
            [length as f32; 100]
        );
        adders.most_held.load(Ordering::Relaxed)
    };
    assert_eq!(chain(1), 400);
    assert_eq!(chain(20), 400, "the inputs of a node go when it ends");
}

#[test]
fn an_output_of_another_shape_is_refused() {
    let graph = graph_of("[2]", false, &node("a", "1", "x", "y", "")).unwrap();
    let error = run(&graph, &[1.0, 2.0, 3.0]).unwrap_err().to_string();
    assert!(error.contains("output \"y\""), "{error}");
}
