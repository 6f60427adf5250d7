//! Fields that come as tensors, and answers that are tensors.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use tidegate_core::{
    DataType, Dim, Element, PipelineSpec, Shape, Signature, Tensor, TensorSpec, TensorView,
};
use tidegate_pipeline::{BadRows, BundleFiles, Pipeline};

const PIPELINE: &str = r#"
    fields = [
        { name = "amount", type = "number", min = 0, optional = true },
        { name = "count", type = "integer", optional = true },
        { name = "country", type = "string", categories = ["DE", "FR"], optional = true },
        { name = "member", type = "boolean", optional = true },
        { name = "at", type = "time", optional = true },
        { name = "photo", type = "bytes", optional = true },
    ]
    before = [{ step = "impute", input = "amount", value = 7, output = "filled" }]
    inputs = [{ name = "x", columns = ["filled"] }]
    response = [
        { name = "y" }, { name = "country" }, { name = "member" }, { name = "at" },
        { name = "photo" }, { name = "count" },
    ]
"#;

fn pipeline() -> Pipeline {
    let spec: PipelineSpec = toml::from_str(PIPELINE).unwrap();
    let tensor = |name: &str, dims| TensorSpec {
        name: name.to_owned(),
        datatype: DataType::Fp32,
        dims: Some(dims),
        optional: false,
    };
    let signature = Signature {
        inputs: vec![tensor("x", vec![Dim::Any, Dim::Fixed(1)])],
        outputs: vec![tensor("y", vec![Dim::Any, Dim::Fixed(2)])],
    };
    Pipeline::compile(&spec, &BundleFiles::new(), &signature).unwrap()
}

fn values<T: Element>(name: &str, values: &[T]) -> (String, Tensor) {
    let shape = Shape::new(&[values.len()]).unwrap();
    (name.to_owned(), Tensor::copy_of(shape, values).unwrap())
}

fn texts(name: &str, texts: &[&str]) -> (String, Tensor) {
    let shape = Shape::new(&[texts.len(), 1]).unwrap();
    let tensor = Tensor::from_strings(shape, texts.iter().collect()).unwrap();
    (name.to_owned(), tensor)
}

fn flags(name: &str, flags: &[u8]) -> (String, Tensor) {
    let shape = Shape::new(&[flags.len()]).unwrap();
    let tensor = Tensor::from_wire(DataType::Bool, shape, flags.to_vec().into()).unwrap();
    (name.to_owned(), tensor)
}

/// The answer's tensors; the model gives each value and its double.
fn answer(inputs: &[(String, Tensor)]) -> Result<Vec<Tensor>, String> {
    let pipeline = pipeline();
    let records = pipeline.read_tensors(inputs, BadRows::FailRequest);
    let mut run = records
        .and_then(|records| pipeline.before(records))
        .map_err(|error| error.to_string())?;
    let x = run.take_inputs().remove(0).1.to_vec::<f32>().unwrap();
    let y: Vec<f32> = x.iter().flat_map(|x| [*x, 2.0 * x]).collect();
    let y = Tensor::from_vec(Shape::new(&[x.len(), 2]).unwrap(), y).unwrap();
    let answer = pipeline.after(run, &[(0, y)]).unwrap();
    let outputs = 0..pipeline.tensor_signature().outputs.len();
    let made = outputs.map(|output| pipeline.answer_tensor(&answer, output));
    made.collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

fn problem(inputs: &[(String, Tensor)]) -> String {
    answer(inputs).unwrap_err()
}

fn strings(tensor: &Tensor) -> Vec<&[u8]> {
    match tensor.view() {
        TensorView::Strings(texts) => texts.iter().collect(),
        TensorView::Fixed(_) => panic!("it is {}", tensor.datatype()),
    }
}

#[test]
fn fields_are_tensors_and_so_are_those_of_the_answer() {
    let made = answer(&[
        values("amount", &[1.5f64, f64::NAN]),
        texts("country", &["DE", ""]),
        flags("member", &[1, 0]),
        values("at", &[1500i64, 0]),
        texts("photo", &["\u{0}\u{1}", ""]),
        values("count", &[3u8, 4]),
    ])
    .unwrap();
    assert_eq!(made[0].to_vec::<f32>().unwrap(), [1.5, 3.0, 7.0, 14.0]);
    assert_eq!(made[0].shape()[..], [2, 2]);
    assert_eq!(strings(&made[1]), [b"DE".as_slice(), b""]);
    assert_eq!(made[2].datatype(), DataType::Bool);
    assert_eq!(made[2].wire()[..], [1, 0]);
    assert_eq!(made[3].to_vec::<f64>().unwrap(), [1_500_000.0, 0.0]);
    assert_eq!(strings(&made[4]), [b"\x00\x01".as_slice(), b""]);
    assert_eq!(made[5].to_vec::<f64>().unwrap(), [3.0, 4.0]);
}

#[test]
fn the_signature_tells_the_type_of_each_field() {
    let pipeline = pipeline();
    let signature = pipeline.tensor_signature();
    let inputs = signature.inputs.iter();
    let inputs: Vec<_> = inputs
        .map(|input| (input.name.as_str(), input.datatype.name()))
        .collect();
    assert_eq!(
        inputs,
        [
            ("amount", "FP64"),
            ("count", "FP64"),
            ("country", "BYTES"),
            ("member", "BOOL"),
            ("at", "BYTES"),
            ("photo", "BYTES"),
        ]
    );
    let outputs = signature.outputs.iter();
    let outputs: Vec<_> = outputs
        .map(|output| (output.datatype.name(), output.wire_shape()))
        .collect();
    assert_eq!(outputs[0], ("FP32", vec![-1, 2]));
    assert_eq!(outputs[2], ("BOOL", vec![-1]));
}

#[test]
fn times_are_iso_8601_or_milliseconds() {
    let flag = || flags("member", &[1, 1]);
    let texts = answer(&[flag(), texts("at", &["1970-01-01T00:00:01.5Z", ""])]).unwrap();
    let times = texts[3].to_vec::<f64>().unwrap();
    assert_eq!(times[0], 1_500_000.0);
    assert!(times[1].is_nan());
    let far = [flag(), values("at", &[0i64, i64::MAX])];
    assert!(problem(&far).starts_with("row 1: field \"at\" is 9223372036854775807 ms"));
}

#[test]
fn a_missing_boolean_is_no_false() {
    let problem = problem(&[values("amount", &[1f64])]);
    assert!(problem.starts_with("row 0: field \"member\" of the answer is missing"));
}

#[test]
fn values_that_cannot_be_used_are_named() {
    let cases = [
        (
            values("amount", &[1f32, -1.0]),
            "row 1: field \"amount\" is -1, its range is",
        ),
        (
            values("amount", &[f64::INFINITY]),
            "row 0: field \"amount\" is beyond the range",
        ),
        (
            values("amount", &[(1i64 << 53) + 1]),
            "row 0: field \"amount\" is not below 2^53",
        ),
        (
            values("count", &[1.5f32]),
            "row 0: field \"count\" is no whole number",
        ),
        (texts("country", &["DE", "XX"]), "row 1: field \"country\""),
        (
            texts("country", &["D\u{0}E"]),
            "row 0: field \"country\" contains the character NUL",
        ),
        (
            texts("at", &["soon"]),
            "row 0: field \"at\" is no date or time",
        ),
        (
            texts("amount", &["1"]),
            "input \"amount\" is BYTES, a field of type number takes FP64",
        ),
        (
            values("member", &[1i64]),
            "input \"member\" is INT64, a field of type boolean takes",
        ),
        (
            values("amuont", &[1f64]),
            "row 0: field \"amuont\" is unknown",
        ),
        (values::<f64>("amount", &[]), "the request has no rows"),
    ];
    for (input, expected) in cases {
        let found = problem(&[input]);
        assert!(found.starts_with(expected), "{found}");
    }
    let shape = Shape::new(&[1, 2]).unwrap();
    let wide = Tensor::from_vec(shape, vec![1f64, 2.0]).unwrap();
    let found = problem(&[("amount".to_owned(), wide)]);
    assert!(found.contains("has the shape [1, 2]"), "{found}");
    let found = problem(&[values("amount", &[1f64, 2.0]), values("count", &[1i32])]);
    assert!(
        found.contains("\"count\" has 1 rows, the inputs before it have 2"),
        "{found}"
    );
    let found = problem(&[values("amount", &[1f64]), values("amount", &[1f64])]);
    assert!(found.contains("given twice"), "{found}");
}
