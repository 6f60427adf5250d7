use tidegate_core::{GoldenSample, Manifest, Tolerance};

use super::*;

/// A bundle around one of the engines' test graphs, whose reference inputs and outputs become its
/// golden sample.
fn bundle(graph: &str, manifest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engines/tests/data");
    std::fs::copy(
        data.join(format!("{graph}.onnx")),
        folder.path().join("model.onnx"),
    )
    .unwrap();
    std::fs::write(
        folder.path().join("model.toml"),
        format!("name = \"m\"\n{manifest}"),
    )
    .unwrap();
    folder
}

fn checked(folder: &tempfile::TempDir) -> CheckReport {
    let (name, mut plans) = source::scan(folder.path()).unwrap().remove(0);
    check(&name, &plans.remove(0), &Engines::portable_only())
}

fn outcome<'a>(report: &'a CheckReport, name: &str) -> &'a CheckOutcome {
    let names: Vec<&String> = report.cases.iter().map(|case| &case.name).collect();
    let case = report.cases.iter().find(|case| case.name.starts_with(name));
    &case
        .unwrap_or_else(|| panic!("no {name} in {names:?}"))
        .outcome
}

fn failure<'a>(report: &'a CheckReport, name: &str) -> &'a str {
    assert!(!report.passed());
    match outcome(report, name) {
        CheckOutcome::Failed(problem) => problem,
        other => panic!("{name}: {other:?}"),
    }
}

/// `matmul` multiplies rows of three numbers by a constant matrix of three rows and two columns.
fn reference(folder: &tempfile::TempDir) -> (VersionPlan, Sample) {
    let plan = source::scan(folder.path()).unwrap().remove(0).1.remove(0);
    let loaded = Engines::portable_only().load(
        &plan.artifact,
        &plan.manifest.engine,
        &plan.manifest.engine_options,
    );
    let loaded = loaded.unwrap();
    let mut instance = loaded.instance().unwrap();
    let (inputs, outputs) = warmup::synthetic(loaded.signature(), &mut *instance).unwrap();
    let names = |specs: &[tidegate_core::TensorSpec]| {
        specs
            .iter()
            .map(|spec| spec.name.clone())
            .collect::<Vec<_>>()
    };
    let inputs = names(&loaded.signature().inputs)
        .into_iter()
        .zip(inputs.into_iter().flatten())
        .collect();
    let outputs = names(&loaded.signature().outputs)
        .into_iter()
        .zip(outputs)
        .collect();
    (plan, Sample { inputs, outputs })
}

fn json(sample: &Sample, change: f32) -> String {
    let tensors = |tensors: &[(String, Tensor)], change: f32| {
        let one = |(name, tensor): &(String, Tensor)| {
            let data: Vec<f32> = tensor
                .to_vec::<f32>()
                .unwrap()
                .into_iter()
                .map(|value| value + change)
                .collect();
            serde_json::json!({"name": name, "datatype": "FP32", "shape": tensor.shape().to_vec(), "data": data})
        };
        tensors.iter().map(one).collect::<Vec<_>>()
    };
    serde_json::json!({"inputs": tensors(&sample.inputs, 0.0), "outputs": tensors(&sample.outputs, change)}).to_string()
}

#[test]
fn a_sound_bundle_passes_every_check() {
    let folder = bundle(
        "matmul",
        "golden = [{ file = \"golden.json\" }]\nwarmup = [{ file = \"golden.json\" }]",
    );
    std::fs::write(folder.path().join("golden.json"), "{}").unwrap();
    let (_, sample) = reference(&folder);
    std::fs::write(folder.path().join("golden.json"), json(&sample, 0.0)).unwrap();
    let report = checked(&folder);
    assert!(report.passed(), "{report:?}");
    let names: Vec<&str> = report.cases.iter().map(|case| case.name.as_str()).collect();
    let wanted = [
        "files",
        "weights",
        "load",
        "batch",
        "signature",
        "determinism",
        "warm-up sample golden.json",
        "golden sample golden.json",
    ];
    assert_eq!(names, wanted);
    assert!(
        report
            .cases
            .iter()
            .all(|case| case.outcome == CheckOutcome::Passed),
        "{report:?}"
    );
}

#[test]
fn a_golden_sample_that_does_not_reproduce_says_where() {
    let folder = bundle(
        "matmul",
        "golden = [{ file = \"golden.json\", tolerance = { absolute = 0.01 } }]",
    );
    std::fs::write(folder.path().join("golden.json"), "{}").unwrap();
    let (plan, sample) = reference(&folder);
    let wanted = Tolerance {
        absolute: 0.01,
        ..Tolerance::default()
    };
    assert_eq!(
        plan.manifest.golden,
        [GoldenSample {
            file: "golden.json".to_owned(),
            tolerance: wanted
        }]
    );
    std::fs::write(folder.path().join("golden.json"), json(&sample, 0.005)).unwrap();
    assert!(checked(&folder).passed());
    std::fs::write(folder.path().join("golden.json"), json(&sample, 100.0)).unwrap();
    let report = checked(&folder);
    assert!(
        failure(&report, "golden sample").contains("at element 0, expected is"),
        "{report:?}"
    );
}

#[test]
fn a_missing_file_and_a_wrong_signature_fail() {
    let folder = bundle(
        "matmul",
        "baseline = \"baseline.json\"\n[[signature.inputs]]\ndatatype = \"INT64\"",
    );
    let report = checked(&folder);
    assert!(failure(&report, "files").contains("\"baseline.json\" cannot be read"));
    assert!(failure(&report, "signature").contains("is declared as INT64, the model has FP32"));
}

#[test]
fn a_batch_that_was_asked_for_must_work() {
    let report = checked(&bundle(
        "softmax_over_rows",
        "[batching]\nmax_batch_size = 8",
    ));
    assert!(
        failure(&report, "batch").contains("gives different values for a row in a batch and alone"),
        "{report:?}"
    );
    let report = checked(&bundle("softmax_over_rows", ""));
    assert!(report.passed());
    assert!(
        matches!(outcome(&report, "batch"), CheckOutcome::Skipped(why) if why.contains("one by one")),
        "{report:?}"
    );
}

#[test]
fn what_the_engine_does_not_take_fails_at_load() {
    let report = checked(&bundle("sequence_output", ""));
    assert!(failure(&report, "load").contains("sequence"), "{report:?}");
    assert_eq!(report.cases.len(), 3, "the rest needs a loaded model");
    let folder = bundle("matmul", "");
    std::fs::write(folder.path().join("model.onnx"), "not a model").unwrap();
    assert!(failure(&checked(&folder), "weights").contains("not an ONNX model"));
}

#[test]
fn the_bundle_is_found_from_a_nested_artifact() {
    let manifest = Manifest {
        artifact: "a/b.onnx".to_owned(),
        ..Manifest::default()
    };
    let plan = VersionPlan::new(manifest, PathBuf::from("x/a/b.onnx"));
    assert_eq!(folder(&plan), Path::new("x"));
}

/// `matmul`, which takes records of four numbers.
const PIPELINE: &str = r#"
golden = [{ file = "golden.json" }]

[pipeline]
fields = [
    { name = "a", type = "number" },
    { name = "b", type = "number" },
    { name = "c", type = "number", optional = true },
    { name = "d", type = "number", optional = true },
]
before = [{ step = "impute", input = "c", value = 0 }, { step = "impute", input = "d", value = 0 }]
inputs = [{ name = "x", columns = ["a", "b", "c", "d"] }]
after = [{ step = "argmax", input = "y", labels = ["p", "q", "r"], output = "best" }]
response = [{ name = "best" }, { name = "y" }]
"#;

fn checked_records(pipeline: &str, golden: &str) -> CheckReport {
    let folder = bundle("matmul", pipeline);
    std::fs::write(folder.path().join("golden.json"), golden).unwrap();
    checked(&folder)
}

#[test]
fn golden_samples_of_records_run_through_the_whole_pipeline() {
    let sample = |predictions: &str| {
        format!(
            r#"{{"request": {{"instances": [{{"a": 0, "b": 0, "c": null}}]}}, "predictions": [{predictions}]}}"#
        )
    };
    let report = checked_records(PIPELINE, &sample(r#"{"best": "p", "y": [0, 0, 0]}"#));
    assert!(report.passed(), "{report:?}");
    assert_eq!(outcome(&report, "pipeline"), &CheckOutcome::Passed);
    assert_eq!(outcome(&report, "golden"), &CheckOutcome::Passed);

    let wrong = |predictions: &str| {
        let report = checked_records(PIPELINE, &sample(predictions));
        failure(&report, "golden").to_owned()
    };
    assert_eq!(
        wrong(r#"{"best": "q"}"#),
        "predictions[0].best is \"p\", expected is \"q\""
    );
    assert_eq!(
        wrong(r#"{"y": [0, 0, 1]}"#),
        "predictions[0].y[2] is 0.0, expected is 1"
    );
    assert_eq!(
        wrong(r#"{"decision": "p"}"#),
        "predictions[0].decision is not in the answer"
    );
}

#[test]
fn a_pipeline_that_does_not_fit_the_model_fails_its_check_by_name() {
    let narrow = PIPELINE.replace("\"c\", \"d\"]", "\"c\"]");
    let report = checked_records(&narrow, "{}");
    assert_eq!(
        failure(&report, "pipeline"),
        "input \"x\" of the model: it has the shape [-1, 4], and there are 3 columns"
    );
    let no_state = PIPELINE.replace("[pipeline]", "[pipeline]\nstate = \"golden.json\"");
    let report = checked_records(&no_state, "{}");
    assert!(failure(&report, "pipeline").starts_with("the state file: missing field `format`"));
}
