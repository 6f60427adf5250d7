//! The reference of `model.toml` has every field.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;

use tidegate_core::{
    Batching, BreakerSpec, DeclaredSignature, DeclaredTensor, EngineChoice, EngineInputSpec,
    EngineOptions, EntityFieldSpec, EntityKeyType, FeatureDefault, FieldSpec, FieldType, FileSpec,
    FlagInput, GraphMerge, GraphMergeSpec, GraphNodeSpec, GraphOptimization, GraphSpec, Lineage,
    LookedUpFeatureSpec, LookupPolicy, LookupSpec, Manifest, OutputSpec, PipelineSpec, QualitySpec,
    QualityTask, RemoteSpec, ResourceLimits, ResponseFieldSpec, SequenceSpec, StateSpec, StepSpec,
    UnknownFields, ViolationPolicy,
};

/// A manifest with a value for every field. It is written without `..`, so that a new field cannot
/// be left out.
fn full() -> Manifest {
    Manifest {
        schema: Manifest::SCHEMA,
        name: "iris".to_owned(),
        description: "a species".to_owned(),
        artifact: "iris.onnx".to_owned(),
        engine: EngineChoice::Auto,
        deterministic: false,
        engine_options: EngineOptions {
            instances: Some(1),
            intra_op_threads: Some(1),
            graph_optimization: GraphOptimization::All,
        },
        remote: Some(Box::new(remote())),
        graph: Some(Box::new(graph())),
        batching: Batching {
            max_batch_size: Some(1),
            max_queue_delay_us: 0,
            preferred_batch_sizes: Vec::new(),
            max_queue_requests: 1,
            default_timeout_us: 0,
            priority_levels: 1,
            default_priority: 0,
        },
        outputs: vec![OutputSpec {
            name: "scores".to_owned(),
            labels: Some("labels.txt".to_owned()),
        }],
        // What the registry reads of a bundle; docs/reference/bundle.md has it by these names.
        signature: DeclaredSignature {
            inputs: vec![DeclaredTensor::default()],
            ..DeclaredSignature::default()
        },
        limits: ResourceLimits {
            max_memory_bytes: Some(1),
            max_load_seconds: Some(1),
        },
        files: vec![FileSpec {
            path: "iris.onnx".to_owned(),
            sha256: "0".repeat(64),
            bytes: Some(1),
        }],
        warmup: Vec::new(),
        golden: Vec::new(),
        baseline: Some("baseline.json".to_owned()),
        quality: Some(QualitySpec {
            output: "scores".to_owned(),
            task: Some(QualityTask::Classes),
            positive: Some("a".to_owned()),
            threshold: 0.5,
        }),
        pipeline: Some(pipeline()),
        sequences: Some(Box::new(sequences())),
        lineage: Lineage {
            author: "ada".to_owned(),
            dataset_digest: "0".repeat(64),
            trigger: "drift-20261128T030000Z".to_owned(),
            ..Lineage::default()
        },
        license: "MIT".to_owned(),
        tags: BTreeMap::new(),
    }
}

fn pipeline() -> PipelineSpec {
    PipelineSpec {
        state: Some("state.json".to_owned()),
        on_violation: ViolationPolicy::Flag,
        unknown_fields: UnknownFields::Ignore,
        fields: vec![FieldSpec {
            name: "amount".to_owned(),
            field_type: FieldType::Number,
            optional: true,
            min: Some(0.0),
            max: Some(1.0),
            categories: Vec::new(),
            pattern: Some("a".to_owned()),
            min_length: Some(1),
            max_length: Some(1),
            on_violation: Some(ViolationPolicy::Clip),
            description: "a".to_owned(),
        }],
        lookups: vec![LookupSpec {
            name: "driver".to_owned(),
            store: "feast".to_owned(),
            view: "driver".to_owned(),
            entity: vec![EntityFieldSpec {
                key: "driver_id".to_owned(),
                field: Some("driver".to_owned()),
                key_type: Some(EntityKeyType::Int32),
            }],
            features: vec![LookedUpFeatureSpec {
                name: "rate".to_owned(),
                feature: Some("conv_rate".to_owned()),
                feature_type: FieldType::Number,
                default: Some(FeatureDefault::Number(0.0)),
                optional: true,
            }],
            max_age_s: Some(1),
            timeout_ms: 1,
            on_unavailable: LookupPolicy::Fail,
            on_stale: LookupPolicy::Fail,
        }],
        // What steps have is held against the page below.
        before: Vec::new(),
        inputs: vec![EngineInputSpec {
            name: "x".to_owned(),
            columns: vec!["amount".to_owned()],
        }],
        after: Vec::new(),
        response: vec![ResponseFieldSpec {
            name: "score".to_owned(),
            from: Some("x".to_owned()),
            description: "a".to_owned(),
        }],
    }
}

fn sequences() -> SequenceSpec {
    let flag = Some(FlagInput {
        input: "START".to_owned(),
        off: 0.0,
        on: 1.0,
    });
    SequenceSpec {
        states: vec![StateSpec {
            input: "state_in".to_owned(),
            output: "state_out".to_owned(),
            initial: "state.bin".to_owned(),
            shape: Some(vec![-1, 2]),
            answered: true,
        }],
        start: flag.clone(),
        end: flag.clone(),
        ready: flag,
        correlation_id: Some("CORRID".to_owned()),
        max_sequences: 1,
        max_state_bytes: 1,
        idle_timeout_ms: 1,
        replaced_timeout_ms: 1,
    }
}

fn graph() -> GraphSpec {
    GraphSpec {
        nodes: vec![GraphNodeSpec {
            name: "a".to_owned(),
            model: "a".to_owned(),
            version: Some("1".to_owned()),
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
            when: Some("a".to_owned()),
            else_of: Some("a".to_owned()),
        }],
        merges: vec![GraphMergeSpec {
            tensor: "a".to_owned(),
            merge: GraphMerge::First,
            of: vec!["a".to_owned()],
            weights: vec![1.0],
        }],
    }
}

fn remote() -> RemoteSpec {
    RemoteSpec {
        endpoints: vec!["http://a".to_owned()],
        model: "iris".to_owned(),
        version: "1".to_owned(),
        bearer_token_file: Some("a".to_owned()),
        ca_file: Some("a".to_owned()),
        connect_timeout_ms: 1,
        request_timeout_ms: 1,
        load_timeout_ms: 1,
        max_in_flight: 1,
        max_answer_bytes: 1,
        health_interval_ms: 1,
        ejection_failures: 1,
        ejection_ms: 1,
        ejection_max_ms: 1,
        panic_percent: 1,
        max_retries: 1,
        retry_budget_percent: 1,
        retry_backoff_ms: 1,
        hedge: true,
        breaker: BreakerSpec {
            window_ms: 1,
            min_requests: 1,
            failure_percent: 1,
            slow_request_ms: 1,
            slow_percent: 1,
            open_ms: 1,
        },
    }
}

/// The paths of all values: `batching.max_batch_size`, `outputs.name`.
fn paths(prefix: &str, table: &toml::Table) -> Vec<String> {
    let path = |key: &String| {
        if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        }
    };
    let below = |(key, value): (&String, &toml::Value)| {
        let list = value.as_array().and_then(|list| list.first());
        match list.unwrap_or(value).as_table() {
            Some(table) => paths(&path(key), table),
            None => vec![path(key)],
        }
    };
    table.iter().flat_map(below).collect()
}

#[test]
fn every_field_is_in_the_reference() {
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/");
    let page = std::fs::read_to_string(format!("{reference}model-toml.md")).unwrap();
    let bundle = std::fs::read_to_string(format!("{reference}bundle.md")).unwrap();
    let fields = paths("", &toml::Table::try_from(full()).unwrap());
    assert!(
        fields.iter().any(|field| field == "outputs.labels"),
        "{fields:?}"
    );
    for field in fields {
        let whole = field.split('.').next().unwrap();
        let told = page.contains(&format!("\n| `{field}` |"))
            || [field.as_str(), whole]
                .iter()
                .any(|name| bundle.contains(&format!("`{name}`")))
            || bundle.contains(&format!("`{whole}."));
        assert!(
            told,
            "{field} is neither in docs/reference/model-toml.md nor in bundle.md"
        );
    }
}

#[test]
fn every_step_of_a_pipeline_is_in_the_reference_with_its_parameters() {
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/");
    let page = std::fs::read_to_string(format!("{reference}model-toml.md")).unwrap();
    let schema = serde_json::to_value(schemars::schema_for!(StepSpec)).unwrap();
    let steps = schema["oneOf"].as_array().unwrap();
    assert!(steps.len() > 20);
    for step in steps {
        let name = step["properties"]["step"]["const"].as_str().unwrap();
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")));
        let line = line.unwrap_or_else(|| panic!("{name} is not in docs/reference/model-toml.md"));
        for parameter in step["properties"].as_object().unwrap().keys() {
            let is_told = line.contains(&format!("`{parameter}`"));
            // The text above the table tells of those that nearly all steps have.
            let is_common = ["step", "output"].contains(&parameter.as_str());
            assert!(is_told || is_common, "{name}: {parameter} is missing");
        }
    }
}
