use tidegate_core::TensorSpec;

use super::*;

const ONNX: &str = r#"
artifact_path: model
flavors:
  onnx:
    data: model.onnx
    onnx_version: 1.19.0
  python_function:
    loader_module: mlflow.onnx
mlflow_version: 3.4.0
run_id: 5f0c
saved_input_example_info:
  artifact_path: input_example.json
  type: ndarray
signature:
  inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]'
  outputs: '[{"type": "tensor", "name": "label", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
  params: null
utc_time_created: '2026-10-01 12:00:00.5'
"#;

fn open(text: &str, example: &str, inputs: &[&str]) -> Result<Bundle> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        (MODEL, text),
        ("model.onnx", "x"),
        ("input_example.json", example),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let opened = Bundle::open_mlflow(
        folder.path(),
        Some("fraud"),
        &BundleLimits::default(),
        |_| Ok(graph(inputs, &["label"])),
    );
    opened.map(|(bundle, _)| bundle)
}

fn graph(inputs: &[&str], outputs: &[&str]) -> Signature {
    let spec = |name: &&str, datatype| TensorSpec {
        name: (*name).to_owned(),
        datatype,
        dims: None,
        optional: false,
    };
    Signature {
        inputs: inputs
            .iter()
            .map(|name| spec(name, DataType::Fp32))
            .collect(),
        outputs: outputs
            .iter()
            .map(|name| spec(name, DataType::Int64))
            .collect(),
    }
}

#[test]
fn what_the_graph_says_otherwise_is_told_and_left_out() {
    let mut declared: DeclaredSignature = signature(
        MlSignature {
            inputs: Some(
                r#"[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 4]}}]"#
                    .to_owned(),
            ),
            outputs: Some(
                r#"[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]"#
                    .to_owned(),
            ),
        },
        &["x".to_owned()],
    )
    .unwrap();
    let graph = graph(&["x"], &["label", "probabilities"]);
    let told = reconcile::reconcile(&mut declared, &graph);
    assert!(
        told[0].contains("FP64") && told[0].contains("FP32"),
        "{told:?}"
    );
    assert!(told[1].contains("without a name") && told[1].contains("probabilities"));
    assert_eq!(declared.inputs[0].datatype, None);
    assert_eq!(declared.inputs[0].shape, Some(vec![-1, 4]));
    assert!(declared.outputs.is_empty());
}

#[test]
fn a_data_frame_is_an_example_of_one_input_or_of_several() {
    let frame = json!({"columns": ["b", "a"], "data": [[1, 2], [3, 4]]});
    let one = sample(&frame, &graph(&["x"], &[])).unwrap();
    assert_eq!(one["inputs"][0]["data"], json!([[1, 2], [3, 4]]));
    let two = sample(&json!({"dataframe_split": frame}), &graph(&["a", "b"], &[])).unwrap();
    assert_eq!(
        two["inputs"][0],
        json!({"name": "a", "datatype": "FP32", "shape": [2, 1], "data": [[2], [4]]})
    );
}

#[test]
fn a_tensor_signature_and_its_example_are_kept() {
    let bundle = open(ONNX, r#"{"inputs": [[1.0, 2.0], [3.0, 4.0]]}"#, &["x"]).unwrap();
    let manifest = bundle.manifest();
    assert_eq!(manifest.signature.inputs[0].shape, Some(vec![-1, 2]));
    assert_eq!(
        manifest.signature.outputs[0].datatype,
        Some(DataType::Int64)
    );
    assert_eq!(
        (
            manifest.lineage.training_run.as_str(),
            manifest.warmup.len()
        ),
        ("5f0c", 1)
    );
    assert_eq!(manifest.lineage.trained_at, "2026-10-01T12:00:00.5");
    let sample = bundle
        .files()
        .iter()
        .find(|file| file.path == SAMPLE)
        .unwrap();
    let crate::Source::Bytes(text) = &sample.source else {
        panic!("the sample is made here")
    };
    let sample: Value = serde_json::from_slice(text).unwrap();
    let wanted = json!({"inputs": [
        {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[1.0, 2.0], [3.0, 4.0]]}
    ]});
    assert_eq!(sample, wanted);
}

#[test]
fn columns_name_the_features_of_the_only_input_or_the_inputs() {
    let columns = r#"'[{"type": "double", "name": "a"}, {"type": "long", "name": "b"}]'"#;
    let text = ONNX.replace(
        r#"'[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]'"#,
        columns,
    );
    let one = open(
        &text,
        r#"{"columns": ["a", "b"], "data": [[1.0, 2]]}"#,
        &["x"],
    )
    .unwrap();
    let names: Vec<&str> = one.manifest().signature.inputs[0]
        .columns
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    let two = open(&text, "{}", &["a", "b"]).unwrap();
    let inputs = &two.manifest().signature.inputs;
    assert_eq!(
        (inputs[1].name.as_str(), inputs[1].datatype),
        ("b", None),
        "the graph has FP32"
    );
    assert!(two.manifest().warmup.is_empty());
}

#[test]
fn other_flavours_are_refused_by_name() {
    for flavour in ["lightgbm", "xgboost"] {
        let error = open(
            &ONNX.replace("  onnx:", &format!("  {flavour}:")),
            "{}",
            &["x"],
        )
        .unwrap_err();
        assert_eq!(error.code, ErrorCode::Unsupported);
        assert!(
            error
                .message
                .contains(&format!("the flavour {flavour} is not served")),
            "{error}"
        );
    }
    let escaped = open(
        &ONNX.replace("data: model.onnx", "data: ../../etc/passwd"),
        "{}",
        &["x"],
    )
    .unwrap_err();
    assert_eq!(escaped.code, ErrorCode::UnsafePath);
    let error = open("flavors: [", "{}", &["x"]).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidBundle);
}
