//! Expressions before and after the model.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use tidegate_core::{DataType, Dim, PipelineSpec, Shape, Signature, Tensor, TensorSpec};
use tidegate_pipeline::{BadRows, BundleFiles, Pipeline};

fn pipeline(steps: &str) -> Result<Pipeline, String> {
    let text = format!(
        r#"
        fields = [
            {{ name = "amount", type = "number", optional = true }},
            {{ name = "rooms", type = "integer" }},
            {{ name = "country", type = "string", optional = true }},
            {{ name = "vip", type = "boolean" }},
            {{ name = "at", type = "time", optional = true }},
        ]
        {steps}
        "#
    );
    let spec: PipelineSpec = toml::from_str(&text).unwrap();
    let tensor = |name: &str, dims: &[i64]| TensorSpec {
        name: name.to_owned(),
        datatype: DataType::Fp32,
        dims: Some(dims.iter().map(|dim| Dim::from_wire(*dim)).collect()),
        optional: false,
    };
    let signature = Signature {
        inputs: vec![tensor("x", &[-1, 1])],
        outputs: vec![tensor("score", &[-1])],
    };
    Pipeline::compile(&spec, &BundleFiles::new(), &signature).map_err(|error| error.to_string())
}

const STEPS: &str = r#"
    before = [
        { step = "expression", output = "x", expression = "(amount == null ? 0 : amount) / rooms + (vip ? 1000 : 0)" },
    ]
    after = [
        { step = "expression", output = "decision", expression = "score > 0.5 && !vip ? 'review' : 'accept'" },
        { step = "expression", output = "reason", expression = "decision == 'review' ? 'score ' + string(score) + ' in ' + country : null" },
        { step = "expression", output = "is_high", expression = "score >= 0.5" },
    ]
    response = [{ name = "decision" }, { name = "reason" }, { name = "is_high" }]
"#;

fn run(pipeline: &Pipeline, body: &str, scores: &[f32]) -> Result<(Vec<f32>, String), String> {
    let records = pipeline
        .read(body.as_bytes())
        .map_err(|error| error.to_string())?;
    let mut run = pipeline
        .before(records)
        .map_err(|error| error.to_string())?;
    let inputs = run.take_inputs()[0].1.to_vec::<f32>().unwrap();
    let scores = Tensor::from_vec(Shape::new(&[scores.len()]).unwrap(), scores.to_vec()).unwrap();
    let answer = pipeline
        .after(run, &[(0, scores)])
        .map_err(|error| error.to_string())?;
    let mut json = Vec::new();
    answer.encode(&mut json);
    Ok((inputs, String::from_utf8(json).unwrap()))
}

#[test]
fn rows_become_inputs_and_decisions_with_reasons() {
    let pipeline = pipeline(STEPS).unwrap();
    let body = r#"{"instances": [
        {"amount": 300, "rooms": 3, "country": "DE", "vip": false},
        {"rooms": 2, "country": "FR", "vip": true}
    ]}"#;
    let (inputs, answer) = run(&pipeline, body, &[0.75, 0.75]).unwrap();
    assert_eq!(inputs, [100.0, 1000.0]);
    assert_eq!(
        answer,
        r#"[{"decision":"review","reason":"score 0.75 in DE","is_high":true},{"decision":"accept","reason":null,"is_high":true}]"#
    );
}

#[test]
fn a_row_without_a_value_names_the_field() {
    let pipeline = pipeline(STEPS).unwrap();
    let body = r#"{"instances": [{"amount": 1, "rooms": 1, "vip": false}]}"#;
    let error = run(&pipeline, body, &[0.75]).unwrap_err();
    assert!(
        error.contains(r#"field "country" is missing, and the expression needs it"#),
        "{error}"
    );
    let body = r#"{"instances": [{"amount": 1, "rooms": 0, "vip": false}]}"#;
    let error = run(&pipeline, body, &[0.0]).unwrap_err();
    assert!(
        error.contains("gets a number that is none from the expression"),
        "{error}"
    );
}

#[test]
fn a_batch_of_rows_gives_what_its_rows_give_alone() {
    let pipeline = pipeline(STEPS).unwrap();
    let record = |row: usize| {
        format!(r#"{{"amount": {row}, "rooms": 2, "country": "c{row}", "vip": false}}"#)
    };
    let all: Vec<String> = (0..20).map(record).collect();
    let scores: Vec<f32> = (0..20).map(|row| row as f32 / 20.0).collect();
    let body = format!(r#"{{"instances": [{}]}}"#, all.join(","));
    let (inputs, answer) = run(&pipeline, &body, &scores).unwrap();
    let answer: Vec<serde_json::Value> = serde_json::from_str(&answer).unwrap();
    for row in 0..20 {
        let body = format!(r#"{{"instances": [{}]}}"#, all[row]);
        let (input, alone) = run(&pipeline, &body, &scores[row..=row]).unwrap();
        let alone: Vec<serde_json::Value> = serde_json::from_str(&alone).unwrap();
        assert_eq!((input[0], &alone[0]), (inputs[row], &answer[row]));
    }
}

#[test]
fn wrong_expressions_are_refused_when_the_model_is_pushed() {
    let compile = |expression: &str| {
        let steps = format!(
            "before = [{{ step = \"expression\", output = \"x\", expression = {expression:?} }}]"
        );
        pipeline(&steps).map(|_| ()).unwrap_err()
    };
    let cases = [
        ("amount + country", r#""+" does not take a number and text"#),
        ("aount * 2", r#""aount" is unknown"#),
        ("at > 3", r#""at" is unknown"#),
        ("country", r#"it takes FP32, and "x" is of type string"#),
        (
            "country + country + country + country + country + country + country + country + country + country + country + country + country + country + country + country + country + country",
            "may have 16 plus signs",
        ),
    ];
    for (expression, problem) in cases {
        let error = compile(expression);
        assert!(error.contains(problem), "{expression}: {error}");
    }
}

#[test]
fn memory_is_reserved_for_the_texts_that_an_expression_makes() {
    let repeat = vec!["country"; 16].join(" + ");
    let steps = format!(
        "after = [{{ step = \"expression\", output = \"long\", expression = \"{repeat}\" }}]\n\
         inputs = [{{ name = \"x\", columns = [\"rooms\"] }}]\nresponse = [{{ name = \"long\" }}]"
    );
    let pipeline = pipeline(&steps).unwrap();
    let country = "x".repeat(10_000);
    let body = format!(r#"{{"instances": [{{"rooms": 1, "country": "{country}", "vip": true}}]}}"#);
    let (_, answer) = run(&pipeline, &body, &[0.0]).unwrap();
    assert!(answer.len() >= 160_000);
    assert!(pipeline.bytes_at_most(body.as_bytes(), BadRows::FailRequest) >= 170_000);
}
