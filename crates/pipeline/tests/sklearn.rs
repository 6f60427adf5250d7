//! Results are those of scikit-learn: vectors that `vectors/make_vectors.py` made with it.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::Path;

use serde::Deserialize;
use tidegate_core::{DataType, Dim, Manifest, PipelineSpec, Signature, TensorSpec};
use tidegate_pipeline::{BundleFiles, Pipeline};

/// How far results may be from scikit-learn's, absolutely and as a share.
const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Case {
    manifest: String,
    state: Option<String>,
    body: String,
    /// `null` is NaN.
    expected: Vec<Vec<Option<f64>>>,
}

fn case(name: &str) -> (Case, Pipeline) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/{name}.json"));
    let case: Case = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let manifest: Manifest = toml::from_str(&case.manifest).unwrap();
    let width = case.expected[0].len();
    let input = TensorSpec {
        name: "x".to_owned(),
        datatype: DataType::Fp64,
        dims: Some(vec![Dim::Any, Dim::Fixed(width)]),
        optional: false,
    };
    let signature = Signature {
        inputs: vec![input],
        outputs: vec![TensorSpec {
            name: "output".to_owned(),
            datatype: DataType::Fp32,
            dims: Some(vec![Dim::Any]),
            optional: false,
        }],
    };
    let (spec, files) = with_state(manifest, case.state.as_deref());
    let pipeline = Pipeline::compile(&spec, &files, &signature).unwrap();
    (case, pipeline)
}

/// The pipeline with its state file.
fn with_state(manifest: Manifest, state: Option<&str>) -> (PipelineSpec, BundleFiles) {
    let mut spec = manifest.pipeline.unwrap();
    let name = "state.json";
    spec.state = state.map(|_| name.to_owned());
    let files = state.map(|state| (name.to_owned(), state.as_bytes().to_vec()));
    (spec, files.into_iter().collect())
}

fn results(pipeline: &Pipeline, body: &str) -> Vec<f64> {
    let records = pipeline.read(body.as_bytes()).unwrap();
    let inputs = pipeline.before(records).unwrap().take_inputs();
    inputs[0].1.to_vec::<f64>().unwrap()
}

fn check(name: &str) {
    let (case, pipeline) = case(name);
    let found = results(&pipeline, &case.body);
    let width = case.expected[0].len();
    assert_eq!(found.len(), width * case.expected.len());
    for (row, expected) in case.expected.iter().enumerate() {
        for (column, expected) in expected.iter().enumerate() {
            let (found, expected) = (found[row * width + column], expected.unwrap_or(f64::NAN));
            let is_near = (found - expected).abs() <= TOLERANCE * (1.0 + expected.abs());
            assert!(
                is_near || (found.is_nan() && expected.is_nan()),
                "{name}: row {row}, column {column} is {found}, scikit-learn says {expected}"
            );
        }
    }
    check_rows_alone(&pipeline, &case.body, &found);
}

/// A batch gives what its rows give alone.
fn check_rows_alone(pipeline: &Pipeline, body: &str, whole: &[f64]) {
    // Cut as text: a JSON reader that is one bit off would make other categories of floats.
    let rows = body.strip_prefix("{\"instances\": [{").unwrap();
    let rows: Vec<&str> = rows.strip_suffix("}]}").unwrap().split("}, {").collect();
    let width = whole.len() / rows.len();
    for (row, expected) in rows.iter().zip(whole.chunks(width)) {
        let alone = results(pipeline, &format!("{{\"instances\": [{{{row}}}]}}"));
        let bits = |values: &[f64]| {
            values
                .iter()
                .map(|value| value.to_bits())
                .collect::<Vec<_>>()
        };
        assert_eq!(bits(&alone), bits(expected), "{row}");
    }
}

#[test]
fn scalers_imputers_bins_and_powers_of_breast_cancer_are_those_of_scikit_learn() {
    check("breast_cancer");
}

#[test]
fn categories_that_are_floats_are_found_to_the_last_bit() {
    check("diabetes");
}

#[test]
fn encoders_agree_on_missing_infrequent_and_unseen_categories_of_wine() {
    check("wine");
    check("wine_binary");
}

#[test]
fn dates_crosses_ratios_and_cycles_are_those_of_pandas() {
    check("mixed");
}

#[test]
fn hashed_features_are_those_of_feature_hasher() {
    check("hashed");
}

#[test]
fn calibrations_and_scores_are_those_of_scikit_learn_and_numpy() {
    check("scores");
}

#[test]
fn a_state_file_whose_examples_come_out_differently_is_refused() {
    let (case, _) = case("breast_cancer");
    let state = case.state.unwrap();
    // The clip of MinMaxScaler((-1, 2), clip=True).
    let changed = state.replace("\"clip\":[-1.0,2.0]", "\"clip\":[-1.0,0.5]");
    assert_ne!(changed, state);
    let manifest: Manifest = toml::from_str(&case.manifest).unwrap();
    let signature = Signature {
        inputs: Vec::new(),
        outputs: Vec::new(),
    };
    let (spec, files) = with_state(manifest, Some(&changed));
    let error = Pipeline::compile(&spec, &files, &signature)
        .unwrap_err()
        .to_string();
    assert!(error.contains("the library made"), "{error}");
    assert!(error.contains("transformer \"columns\""), "{error}");
}
