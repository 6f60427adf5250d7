//! Outputs of a model that are no columns, and fields that are bytes.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use tidegate_core::{DataType, Dim, PipelineSpec, Shape, Signature, Tensor, TensorSpec};
use tidegate_pipeline::{BundleFiles, Pipeline};

const PIPELINE: &str = r#"
    fields = [
        { name = "x", type = "number" },
        { name = "photo", type = "bytes", optional = true },
    ]
    response = [{ name = "boxes" }, { name = "photo" }]
"#;

fn tensor(name: &str, datatype: DataType, dims: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        datatype,
        dims: Some(dims.iter().map(|dim| Dim::from_wire(*dim)).collect()),
        optional: false,
    }
}

fn pipeline(text: &str, output: TensorSpec) -> Result<Pipeline, String> {
    let spec: PipelineSpec = toml::from_str(text).unwrap();
    let signature = Signature {
        inputs: vec![tensor("x", DataType::Fp32, &[-1, 1])],
        outputs: vec![output],
    };
    Pipeline::compile(&spec, &BundleFiles::new(), &signature).map_err(|error| error.to_string())
}

fn answer(pipeline: &Pipeline, body: &str, output: Tensor) -> Result<String, String> {
    let records = pipeline
        .read(body.as_bytes())
        .map_err(|error| error.to_string())?;
    let run = pipeline
        .before(records)
        .map_err(|error| error.to_string())?;
    let answer = pipeline
        .after(run, &[(0, output)])
        .map_err(|error| error.to_string())?;
    let mut json = Vec::new();
    answer.encode(&mut json);
    Ok(String::from_utf8(json).unwrap())
}

fn boxes(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    let elements = (0..count).map(|at| at as f32 / 2.0).collect();
    Tensor::from_vec(Shape::new(shape).unwrap(), elements).unwrap()
}

#[test]
fn an_output_of_three_axes_is_nested_arrays() {
    let pipeline = pipeline(PIPELINE, tensor("boxes", DataType::Fp32, &[-1, -1, 2])).unwrap();
    let body = r#"{"instances": [{"x": 1, "photo": "AQID"}, {"x": 2}]}"#;
    assert_eq!(
        answer(&pipeline, body, boxes(&[2, 2, 2])).unwrap(),
        r#"[{"boxes":[[0.0,0.5],[1.0,1.5]],"photo":"AQID"},{"boxes":[[2.0,2.5],[3.0,3.5]],"photo":null}]"#
    );
}

#[test]
fn an_output_without_a_fixed_number_of_columns_is_an_array() {
    let pipeline = pipeline(PIPELINE, tensor("boxes", DataType::Int64, &[-1, -1])).unwrap();
    let output = Tensor::from_vec(Shape::new(&[1, 2]).unwrap(), vec![i64::MAX, -1]).unwrap();
    assert_eq!(
        answer(&pipeline, r#"{"columns": {"x": [1]}}"#, output).unwrap(),
        r#"{"boxes":[[9223372036854775807,-1]],"photo":[null]}"#
    );
}

#[test]
fn an_output_that_does_not_fit_its_signature_is_refused() {
    let pipeline = pipeline(PIPELINE, tensor("boxes", DataType::Fp32, &[-1, -1, 2])).unwrap();
    for shape in [&[1, 2, 2][..], &[2, 2], &[2, 2, 3]] {
        let body = r#"{"columns": {"x": [1, 2]}}"#;
        let error = answer(&pipeline, body, boxes(shape)).unwrap_err();
        assert!(
            error.contains("does not fit its signature and 2 rows"),
            "{error}"
        );
    }
}

#[test]
fn numbers_that_json_does_not_have_are_null() {
    let pipeline = pipeline(PIPELINE, tensor("boxes", DataType::Fp32, &[-1, 1, 2])).unwrap();
    let output = Tensor::from_vec(Shape::new(&[1, 1, 2]).unwrap(), vec![f32::NAN, 0.1]).unwrap();
    assert_eq!(
        answer(&pipeline, r#"{"instances": [{"x": 1}]}"#, output).unwrap(),
        r#"[{"boxes":[[null,0.1]],"photo":null}]"#
    );
}

#[test]
fn bytes_are_base64_alone_or_as_tensorflow_serving_writes_them() {
    let pipeline = pipeline(PIPELINE, tensor("boxes", DataType::Fp32, &[-1, 1, 1])).unwrap();
    let photo = |value: &str| {
        let body = format!(r#"{{"instances": [{{"photo": {value}, "x": 1}}]}}"#);
        answer(&pipeline, &body, boxes(&[1, 1, 1]))
    };
    for value in [r#""aGk=""#, r#"{"b64": "aGk="}"#] {
        assert_eq!(
            photo(value).unwrap(),
            r#"[{"boxes":[[0.0]],"photo":"aGk="}]"#
        );
    }
    let error = photo(r#""a""#).unwrap_err();
    assert!(
        error.starts_with(r#"row 0: field "photo" is not base64"#),
        "{error}"
    );
    for value in [
        r#"{}"#,
        r#"{"b64": 1}"#,
        r#"{"b": "aGk="}"#,
        r#"{"b64": "aGk=", "c": 1}"#,
    ] {
        let error = photo(value).unwrap_err();
        assert_eq!(error, r#"row 0: field "photo" must be {"b64": "…"}"#);
    }
    let error = photo("7").unwrap_err();
    assert_eq!(error, r#"row 0: field "photo" is 7, its type is bytes"#);
}

#[test]
fn a_step_over_columns_takes_no_tensor() {
    let after = format!("{PIPELINE}\nafter = [{{ step = \"softmax\", input = \"boxes\" }}]");
    let error = pipeline(&after, tensor("boxes", DataType::Fp32, &[-1, -1])).unwrap_err();
    assert!(
        error.contains("declare its shape in [[signature.outputs]]"),
        "{error}"
    );
}

#[test]
fn bytes_are_no_columns_of_an_input() {
    let text = r#"
        fields = [{ name = "photo", type = "bytes" }]
        inputs = [{ name = "x", columns = ["photo"] }]
        response = [{ name = "boxes" }]
    "#;
    let error = pipeline(text, tensor("boxes", DataType::Fp32, &[-1])).unwrap_err();
    assert!(
        error.contains(r#"it takes FP32, and "photo" is of type bytes"#),
        "{error}"
    );
}
