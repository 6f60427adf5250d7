#![allow(clippy::unwrap_used, reason = "these are tests")]

use tidegate_core::{DataType, Dim, Feature, FeatureValue, PipelineSpec, Signature, TensorSpec};

use super::*;
use crate::{BadRows, BundleFiles};

const SPEC: &str = r#"
    fields = [
        { name = "driver", type = "integer", optional = true },
        { name = "city", type = "string" },
    ]
    inputs = [{ name = "x", columns = ["rate", "trips", "is_new"] }]
    [[lookups]]
    name = "stats"
    store = "feast"
    view = "driver_stats"
    entity = [{ key = "driver_id", field = "driver" }, { key = "city" }]
    features = [
        { name = "rate", feature = "conv_rate" },
        { name = "trips", type = "integer", default = 7 },
        { name = "is_new", type = "boolean", optional = true },
    ]
    max_age_s = 60
"#;
const NOW_MS: i64 = 1_000_000_000;

fn compile(spec: &str) -> Result<Pipeline, String> {
    let spec: PipelineSpec = toml::from_str(spec).unwrap();
    let signature = Signature {
        inputs: vec![TensorSpec {
            name: "x".to_owned(),
            datatype: DataType::Fp64,
            dims: Some(vec![Dim::Any, Dim::Fixed(3)]),
            optional: false,
        }],
        outputs: Vec::new(),
    };
    Pipeline::compile(&spec, &BundleFiles::new(), &signature).map_err(|error| error.to_string())
}

fn feature(value: FeatureValue) -> Feature {
    Feature {
        value,
        event_ms: Some(NOW_MS - 5_000),
    }
}

fn values(rate: f64, trips: i64) -> Vec<Feature> {
    vec![
        feature(FeatureValue::Number(rate)),
        feature(FeatureValue::Integer(trips)),
        feature(FeatureValue::Boolean(true)),
    ]
}

/// What the model gets for records, given the values of each entity.
fn run(
    pipeline: &Pipeline,
    body: &str,
    features: Option<Vec<Feature>>,
    bad_rows: BadRows,
) -> Result<(Vec<f64>, LookupCounts), PipelineError> {
    let mut records = pipeline.read_with(body.as_bytes(), bad_rows)?;
    let mut looked_up = vec![pipeline.lookups()[0].begin(&records)];
    if let Some(features) = features {
        looked_up[0].set_features(features);
    }
    pipeline.add_features(&mut records, &mut looked_up, NOW_MS)?;
    let inputs = pipeline.before(records)?.take_inputs();
    let numbers = inputs[0].1.as_slice::<f64>().unwrap().to_vec();
    Ok((numbers, looked_up[0].counts()))
}

fn body(drivers: &[&str]) -> String {
    let records = drivers.iter();
    let records = records.map(|driver| format!("{{\"driver\": {driver}, \"city\": \"Rome\"}}"));
    format!(
        "{{\"instances\": [{}]}}",
        records.collect::<Vec<_>>().join(",")
    )
}

#[test]
fn each_entity_is_asked_for_once_and_each_row_gets_its_own_values() {
    let pipeline = compile(SPEC).unwrap();
    let body = body(&["2", "1", "2"]);
    let records = pipeline.read(body.as_bytes()).unwrap();
    let looked_up = pipeline.lookups()[0].begin(&records);
    let query = looked_up.query();
    assert_eq!(&*query.join_keys, ["city".into(), "driver_id".into()]);
    assert_eq!(&*query.features[0], "conv_rate");
    let rome = KeyValue::Text("Rome".into());
    let entities = [2, 1].map(|driver| vec![rome.clone(), KeyValue::Int64(driver)]);
    assert_eq!(query.entities, entities);

    let features = [values(0.2, 20), values(0.1, 10)].concat();
    let (found, counts) = run(&pipeline, &body, Some(features), BadRows::FailRequest).unwrap();
    assert_eq!(found, [0.2, 20.0, 1.0, 0.1, 10.0, 1.0, 0.2, 20.0, 1.0]);
    assert_eq!((counts.found, counts.missing), (9, 0));
}

#[test]
fn a_missing_value_takes_its_default_or_fails_with_the_row() {
    let pipeline = compile(SPEC).unwrap();
    let mut features = values(0.5, 1);
    features[1].value = FeatureValue::Missing;
    features[2].value = FeatureValue::Missing;
    let one = body(&["1"]);
    let (found, counts) = run(&pipeline, &one, Some(features), BadRows::FailRequest).unwrap();
    assert_eq!(&found[..2], [0.5, 7.0]);
    assert!(found[2].is_nan(), "an optional feature stays missing");
    assert_eq!((counts.missing, counts.defaults), (2, 1));

    let mut features = [values(0.5, 1), values(0.5, 1)].concat();
    features[3].value = FeatureValue::Missing;
    let two = body(&["1", "2"]);
    let error = run(&pipeline, &two, Some(features), BadRows::FailRequest).unwrap_err();
    let expected = "row 1: field \"rate\" of lookup \"stats\" has no value for city \"Rome\", \
                    driver_id 2";
    assert_eq!(error.to_string(), expected);
    let none = run(
        &pipeline,
        &body(&["null"]),
        Some(Vec::new()),
        BadRows::FailRequest,
    );
    assert!(
        none.unwrap_err()
            .to_string()
            .contains("a row without a usable city, driver")
    );
}

#[test]
fn a_value_that_is_too_old_is_never_used() {
    let pipeline = compile(SPEC).unwrap();
    let aged = |event_ms| {
        let mut features = values(0.5, 1);
        features[0].event_ms = event_ms;
        run(
            &pipeline,
            &body(&["1"]),
            Some(features),
            BadRows::FailRequest,
        )
    };
    assert!(
        aged(Some(NOW_MS - 60_000)).is_ok(),
        "exactly as old as it may be"
    );
    assert!(
        aged(Some(NOW_MS + 60_000)).is_ok(),
        "the store's clock is ahead"
    );
    for (event_ms, age) in [
        (Some(NOW_MS - 60_001), "is 60 s old, its max_age_s is 60"),
        (None, "is of an unknown time"),
    ] {
        let error = aged(event_ms).unwrap_err();
        assert!(error.to_string().contains(age), "{error}");
        let PipelineError::Row(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.reason, Reason::Stale);
    }

    let with_defaults = SPEC.replace("max_age_s = 60", "max_age_s = 60\non_stale = \"default\"");
    let with_defaults = with_defaults.replace("\"conv_rate\" }", "\"conv_rate\", default = -1 }");
    let pipeline = compile(&with_defaults).unwrap();
    let mut features = values(0.5, 1);
    features[0].event_ms = Some(0);
    let (found, counts) = run(
        &pipeline,
        &body(&["1"]),
        Some(features),
        BadRows::FailRequest,
    )
    .unwrap();
    assert_eq!(found[0], -1.0);
    assert_eq!((counts.stale, counts.defaults), (1, 1));
}

#[test]
fn values_of_other_types_are_never_replaced_by_defaults() {
    let pipeline = compile(SPEC).unwrap();
    for value in [
        FeatureValue::Text("many".to_owned()),
        FeatureValue::Number(1.5),
        FeatureValue::Integer(1 << 60),
        FeatureValue::Unreadable("cannot be decoded".to_owned()),
    ] {
        let mut features = values(0.5, 1);
        features[1].value = value.clone();
        let error = run(
            &pipeline,
            &body(&["1"]),
            Some(features),
            BadRows::FailRequest,
        );
        let PipelineError::Row(error) = error.unwrap_err() else {
            panic!("{value:?}");
        };
        assert_eq!((&*error.field, error.reason), ("trips", Reason::Unreadable));
    }
}

#[test]
fn a_row_without_its_features_fails_alone() {
    let pipeline = compile(SPEC).unwrap();
    let mut features = [values(0.1, 1), values(0.2, 2), values(0.3, 3)].concat();
    features[0].value = FeatureValue::Missing;
    features[6].event_ms = Some(0);
    let body = body(&["1", "2", "3"]);
    let (found, _) = run(&pipeline, &body, Some(features), BadRows::FailAlone).unwrap();
    assert_eq!(found, [0.2, 2.0, 1.0]);
}

#[test]
fn defaults_stand_in_for_a_store_that_is_away_only_if_the_lookup_says_so() {
    let one = body(&["1"]);
    let pipeline = compile(SPEC).unwrap();
    assert!(run(&pipeline, &one, None, BadRows::FailRequest).is_err());

    let tolerant = SPEC.replace("max_age_s = 60", "on_unavailable = \"default\"");
    let problem = compile(&tolerant).unwrap_err();
    assert!(problem.contains("feature \"rate\""), "{problem}");
    let tolerant = tolerant.replace("\"conv_rate\" }", "\"conv_rate\", default = 0.25 }");
    let (found, _) = run(
        &compile(&tolerant).unwrap(),
        &one,
        None,
        BadRows::FailRequest,
    )
    .unwrap();
    assert_eq!(&found[..2], [0.25, 7.0]);
}

#[test]
fn samples_may_have_the_features_and_requests_may_not() {
    let pipeline = compile(SPEC).unwrap();
    let body = r#"{"instances": [{"driver": 1, "city": "Rome", "rate": 0.5}]}"#;
    let records = pipeline.read_with_features(body.as_bytes(), BadRows::FailRequest);
    let inputs = pipeline.before(records.unwrap()).unwrap().take_inputs();
    assert_eq!(&inputs[0].1.as_slice::<f64>().unwrap()[..2], [0.5, 7.0]);

    let refused = pipeline.read(body.as_bytes()).unwrap_err();
    assert!(
        refused.to_string().contains("field \"rate\" is unknown"),
        "{refused}"
    );
    let bare = r#"{"instances": [{"driver": 1, "city": "Rome"}]}"#;
    let records = pipeline.read_with_features(bare.as_bytes(), BadRows::FailRequest);
    let problem = records.unwrap_err().to_string();
    assert!(problem.contains("no store is asked here"), "{problem}");
    let records = pipeline.read(bare.as_bytes()).unwrap();
    let problem = pipeline.before(records).unwrap_err().to_string();
    assert!(problem.contains("were not looked up"), "{problem}");
}

#[test]
fn lookups_are_checked_when_they_are_compiled() {
    for (from, to, problem) in [
        (
            "field = \"driver\"",
            "field = \"drivr\"",
            "there is no field \"drivr\"",
        ),
        (
            "key = \"city\"",
            "key = \"city\", type = \"int32\"",
            "of type string",
        ),
        (
            "key = \"city\"",
            "key = \"driver_id\", field = \"city\"",
            "twice",
        ),
        (
            "default = 7",
            "default = 7.5",
            "its default is no whole number",
        ),
        (
            "default = 7",
            "default = \"x\"",
            "its default is of type string",
        ),
        ("name = \"rate\",", "name = \"city\",", "it is there twice"),
        ("max_age_s = 60", "max_age_s = 0", "at least 1"),
        ("max_age_s = 60", "timeout_ms = 0", "timeout_ms must be"),
        (
            "max_age_s = 60",
            "on_stale = \"default\"",
            "max_age_s, which it does not have",
        ),
        (
            "view = \"driver_stats\"",
            "view = \"\"",
            "a name, a store and a view",
        ),
    ] {
        let found = compile(&SPEC.replace(from, to)).unwrap_err();
        assert!(found.contains(problem), "{found}");
    }
    let large = SPEC.replace(
        "key = \"driver_id\",",
        "key = \"driver_id\", type = \"int32\",",
    );
    let pipeline = compile(&large).unwrap();
    let records = pipeline.read(body(&["3000000000"]).as_bytes()).unwrap();
    let looked_up = pipeline.lookups()[0].begin(&records);
    assert!(
        looked_up.query().entities.is_empty(),
        "no 32 bits are taken of a larger number"
    );
}
