//! Requests in which bad rows fail alone.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use tidegate_core::{DataType, Dim, PipelineSpec, Shape, Signature, Tensor, TensorSpec};
use tidegate_pipeline::{BadRows, BundleFiles, Pipeline};

const PIPELINE: &str = r#"
    fields = [
        { name = "age", type = "integer", min = 0, max = 130 },
        { name = "country", type = "string", optional = true },
    ]
    before = [
        { step = "ordinal", input = "country", categories = ["DE", "FR"] },
    ]
    inputs = [{ name = "x", columns = ["age", "country"] }]
    response = [{ name = "score" }, { name = "age" }]
"#;

fn pipeline() -> Pipeline {
    let spec: PipelineSpec = toml::from_str(PIPELINE).unwrap();
    let tensor = |name: &str, dims: &[i64]| TensorSpec {
        name: name.to_owned(),
        datatype: DataType::Fp32,
        dims: Some(dims.iter().map(|dim| Dim::from_wire(*dim)).collect()),
        optional: false,
    };
    let signature = Signature {
        inputs: vec![tensor("x", &[-1, 2])],
        outputs: vec![tensor("score", &[-1])],
    };
    Pipeline::compile(&spec, &BundleFiles::new(), &signature).unwrap()
}

/// The rows that reach the model, the predictions, and the errors.
fn answer(body: &str) -> Result<(usize, String, String), String> {
    let pipeline = pipeline();
    let records = pipeline
        .read_with(body.as_bytes(), BadRows::FailAlone)
        .map_err(|error| error.to_string())?;
    let mut run = pipeline
        .before(records)
        .map_err(|error| error.to_string())?;
    let rows = run.take_inputs()[0].1.rows();
    let scores = (0..rows).map(|row| row as f32).collect();
    let scores = Tensor::from_vec(Shape::new(&[rows]).unwrap(), scores).unwrap();
    let answer = pipeline.after(run, &[(0, scores)]).unwrap();
    let (mut predictions, mut errors) = (Vec::new(), Vec::new());
    answer.encode(&mut predictions);
    answer.encode_failed(&mut errors);
    Ok((
        rows,
        String::from_utf8(predictions).unwrap(),
        String::from_utf8(errors).unwrap(),
    ))
}

#[test]
fn each_bad_row_has_an_error_and_the_others_have_predictions() {
    let (rows, predictions, errors) = answer(
        r#"{"instances": [
            {"age": 1, "country": "DE"},
            {"age": 200, "country": "DE"},
            {"age": 3, "country": "XX"},
            {"age": "4"},
            {"age": 5, "counrty": "DE", "country": "DE"},
            {"age": 6, "country": "FR"},
            {"country": "FR"}
        ]}"#,
    )
    .unwrap();
    assert_eq!(rows, 2);
    assert_eq!(
        predictions,
        r#"[{"score":0.0,"age":1},null,null,null,null,{"score":1.0,"age":6},null]"#
    );
    let errors: serde_json::Value = serde_json::from_str(&errors).unwrap();
    let found: Vec<_> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            let row = error["row"].as_u64().unwrap();
            (
                row,
                error["field"].as_str().unwrap(),
                error["reason"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (1, "age", "range"),
            (2, "country", "category"),
            (3, "age", "type"),
            (4, "counrty", "unknown"),
            (6, "age", "required"),
        ]
    );
    assert_eq!(
        errors[0]["error"],
        r#"row 1: field "age" is 200, its range is 0 to 130"#
    );
}

#[test]
fn many_rows_that_a_step_cannot_take_are_found() {
    let records: Vec<String> = (0..50)
        .map(|row| {
            let country = if row % 3 == 0 { "DE" } else { "XX" };
            format!(r#"{{"age": {row}, "country": "{country}"}}"#)
        })
        .collect();
    let body = format!(r#"{{"instances": [{}]}}"#, records.join(","));
    let (rows, predictions, errors) = answer(&body).unwrap();
    assert_eq!(rows, 17);
    let predictions: Vec<serde_json::Value> = serde_json::from_str(&predictions).unwrap();
    let errors: Vec<serde_json::Value> = serde_json::from_str(&errors).unwrap();
    assert_eq!((predictions.len(), errors.len()), (50, 33));
    for (row, prediction) in predictions.iter().enumerate() {
        assert_eq!(prediction.is_null(), row % 3 != 0, "row {row}");
        if row % 3 == 0 {
            assert_eq!(prediction["age"], row);
            assert_eq!(prediction["score"], (row / 3) as f64);
        }
    }
    for error in &errors {
        assert_ne!(error["row"].as_u64().unwrap() % 3, 0);
    }
}

#[test]
fn columns_have_null_where_a_row_has_failed() {
    let (_, predictions, _) =
        answer(r#"{"columns": {"age": [1, -1, 3], "country": ["DE", "DE", "FR"]}}"#).unwrap();
    assert_eq!(predictions, r#"{"score":[0.0,null,1.0],"age":[1,null,3]}"#);
}

#[test]
fn a_request_without_a_good_row_fails() {
    for body in [
        r#"{"instances": [{"age": -1, "country": "DE"}, {"age": -2}]}"#,
        r#"{"columns": {"age": [-1], "country": ["DE"]}}"#,
    ] {
        let error = answer(body).unwrap_err();
        assert_eq!(error, r#"row 0: field "age" is -1, its range is 0 to 130"#);
    }
    let error = answer(r#"{"instances": [{"age": 1, "country": "XX"}]}"#).unwrap_err();
    assert!(error.starts_with(r#"row 0: field "country""#), "{error}");
    let error = answer(r#"{"columns": {"ages": [1]}}"#).unwrap_err();
    assert!(error.contains(r#"field "ages" is unknown"#), "{error}");
}

#[test]
fn without_bad_rows_nothing_differs() {
    let (rows, predictions, errors) =
        answer(r#"{"columns": {"age": [1], "country": ["FR"]}}"#).unwrap();
    assert_eq!(
        (rows, predictions.as_str(), errors.as_str()),
        (1, r#"{"score":[0.0],"age":[1]}"#, "[]")
    );
}
