//! What is refused before anything runs.

use tidegate_core::{DataType, Dim, Signature, TensorSpec};

use super::*;
use crate::{MAX_DEPTH, MAX_NODES};

fn problem(text: &str) -> String {
    graph(text).unwrap_err().to_string()
}

#[test]
fn mistakes_name_the_node_and_the_tensor() {
    for (text, wanted) in [
        (String::new(), "it has no nodes"),
        (
            node("a", "m", "x", "t", "") + &node("b", "m", "x", "t", ""),
            "tensor \"t\" is made twice: by node \"a\" and by node \"b\"",
        ),
        (
            node("a", "m", "x", "x", ""),
            "tensor \"x\" is made twice: by the inputs of the graph and by node \"a\"",
        ),
        (
            node("a", "m", "z", "y", ""),
            "node \"a\", input \"x\", takes tensor \"z\", which nothing makes",
        ),
        (
            node("a", "m", "x", "t", ""),
            "the answer of the graph takes tensor \"y\", which nothing makes",
        ),
        (
            node("a", "m", "x", "t", "") + &node("a", "m", "t", "y", ""),
            "two nodes are named \"a\"",
        ),
        (
            node("a", "m", "t", "u", "")
                + &node("b", "m", "u", "t", "")
                + &node("c", "m", "x", "y", ""),
            "it has a cycle: node \"a\" -> node \"b\" -> node \"a\"",
        ),
        (
            node("a", "m", "x", "y", "when = \"x < \""),
            "node \"a\", when \"x < \"",
        ),
        (
            node("a", "m", "x", "y", "when = \"w < 1\""),
            "takes tensor \"w\", which nothing makes",
        ),
        (
            node("a", "m", "x", "y", "when = \"x < 1\""),
            "output \"y\" has no value where conditions do not hold",
        ),
        (
            node("a", "m", "x", "t", "") + &node("b", "m", "t", "y", "else_of = \"a\""),
            "node \"b\" is the else of \"a\", which is no node with a when",
        ),
        (
            node("a", "m", "x", "t", "when = \"x < 1\"")
                + &node("b", "m", "t", "y", "else_of = \"a\""),
            "node \"b\" never runs",
        ),
        (
            node("a", "m", "x", "t", "when = \"x < 1\"")
                + &node("b", "m", "x", "u", "when = \"x >= 1\"")
                + &first("y", "[\"t\", \"u\"]"),
            "merge \"y\" may find no value",
        ),
    ] {
        let found = problem(&text);
        assert!(found.contains(wanted), "{found:?} has not {wanted:?}");
    }
}

#[test]
fn graphs_are_bounded() {
    let many: String = (0..=MAX_NODES)
        .map(|at| node(&format!("n{at}"), "m", "x", &format!("t{at}"), ""))
        .collect();
    assert!(problem(&many).contains("at most are 64"));
    let mut deep = node("n", "m", "x", "t0", "");
    for at in 0..MAX_DEPTH {
        let to = if at + 1 == MAX_DEPTH {
            "y".to_owned()
        } else {
            format!("t{}", at + 1)
        };
        deep += &node(&format!("n{at}"), "m", &format!("t{at}"), &to, "");
    }
    assert!(problem(&deep).contains("run one after the other"));
}

#[test]
fn nodes_that_no_output_needs_do_not_run() {
    let text = node("side", "fail", "x", "t", "") + &node("a", "1", "x", "y", "");
    let graph = graph(&text).unwrap();
    assert_eq!(graph.unused(), ["node \"side\""]);
    assert_eq!(graph.nodes().len(), 1);
    assert_eq!(run(&graph, &[1.0]).unwrap(), [2.0]);
}

#[test]
fn people_see_what_happens() {
    let text = node("small", "m", "x", "t", "when = \"x < 1\"")
        + &node(
            "large",
            "big",
            "x",
            "u",
            "version = \"2\"\nelse_of = \"small\"",
        )
        + &first("y", "[\"t\", \"u\"]");
    let lines = graph(&text).unwrap().lines();
    assert_eq!(
        lines,
        [
            "x -> small (m) -> t, when x < 1",
            "x -> large (big:2) -> u, else of small",
            "t, u -> first -> y",
        ]
    );
}

fn spec(name: &str, datatype: DataType, dims: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        datatype,
        dims: Some(dims.iter().map(|extent| Dim::from_wire(*extent)).collect()),
        optional: false,
    }
}

fn signature(input: TensorSpec, output: TensorSpec) -> Signature {
    Signature {
        inputs: vec![input],
        outputs: vec![output],
    }
}

#[test]
fn types_are_checked_against_the_nodes() {
    let text = node("a", "m", "x", "t", "") + &node("b", "n", "t", "y", "");
    let graph = graph(&text).unwrap();
    let x = || spec("x", DataType::Fp32, &[-1]);
    let y = || spec("y", DataType::Fp32, &[-1]);
    let good = signature(x(), y());
    graph.check(&[Some(&good), Some(&good)]).unwrap();
    graph.check(&[None, Some(&good)]).unwrap();
    for (one, two, wanted) in [
        (
            signature(x(), spec("y", DataType::Int64, &[-1])),
            good.clone(),
            "node \"b\" (n), input \"x\": tensor \"t\" is INT64, and FP32 in the model",
        ),
        (
            signature(x(), spec("y", DataType::Fp32, &[-1, 3])),
            good.clone(),
            "node \"b\" (n), input \"x\": tensor \"t\" has shape [-1, 3], and [-1] in the model",
        ),
        (
            signature(x(), spec("z", DataType::Fp32, &[-1])),
            good.clone(),
            "node \"a\" (m): output \"y\" is not in the signature",
        ),
        (
            signature(spec("w", DataType::Fp32, &[-1]), y()),
            good.clone(),
            "node \"a\" (m): the model has no input \"x\"",
        ),
        (
            good.clone(),
            signature(x(), spec("y", DataType::Fp64, &[-1])),
            "output \"y\" is FP64, and FP32 in its signature",
        ),
    ] {
        let found = graph
            .check(&[Some(&one), Some(&two)])
            .unwrap_err()
            .to_string();
        assert!(found.contains(wanted), "{found:?} has not {wanted:?}");
    }
    let more = Signature {
        inputs: vec![x(), spec("more", DataType::Fp32, &[-1])],
        outputs: vec![y()],
    };
    let found = graph.check(&[Some(&more), None]).unwrap_err().to_string();
    assert!(
        found.contains("input \"more\" of the model gets no tensor"),
        "{found}"
    );
}

#[test]
fn conditions_take_one_value_of_each_row() {
    let text = node("a", "m", "x", "scores", "")
        + &node("b", "n", "x", "t", "when = \"scores < 0.5\"")
        + &node("c", "n", "x", "u", "else_of = \"b\"")
        + &first("y", "[\"t\", \"u\"]");
    let graph = graph(&text).unwrap();
    let of = |datatype, dims: &[i64]| {
        let scores = signature(spec("x", DataType::Fp32, &[-1]), spec("y", datatype, dims));
        graph
            .check(&[Some(&scores), None, None])
            .map_err(|error| error.to_string())
    };
    of(DataType::Fp32, &[-1, 1]).unwrap();
    assert!(
        of(DataType::Fp32, &[-1, 3])
            .unwrap_err()
            .contains("one value of each row")
    );
    assert!(
        of(DataType::Bytes, &[-1])
            .unwrap_err()
            .contains("does not take text and a number")
    );
}
