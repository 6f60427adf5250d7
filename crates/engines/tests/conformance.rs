//! Both engines against the outputs of Python's onnxruntime, on graphs of every data type and shape
//! of output.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate_core::{
    DataType, EngineChoice, EngineOptions, Shape, Signature, SignatureError, StringArray, Tensor,
    TensorView, bf16, f16, with_element,
};
use tidegate_engines::{Engines, LoadError, ONNX_RUNTIME, PORTABLE};

/// Graphs that ONNX Runtime runs and that are not served, with what the refusal must say.
const REFUSED_BY_ONNXRUNTIME: &[(&str, &str)] = &[("sequence_output", "\"pieces\" is a Sequence")];

/// Graphs that the portable engine loads and that then fail in each run, with an error.
const FAILING_IN_PORTABLE: &[&str] = &["cast_from_string"];

/// Graphs that the portable engine does not take; each must be refused at load, not fail later.
const REFUSED_BY_PORTABLE: &[&str] = &[
    "cast_from_bf16",
    "cast_to_bf16",
    "gru",
    "identity_bf16",
    "identity_unknown_rank",
    "label_encoder",
    "lstm",
    "reshape_by_input",
    "sequence_output",
    "shape_output",
    "string_normalizer",
    "zipmap_int64",
    "zipmap_string",
];

fn data() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"))
}

fn graphs() -> Vec<String> {
    let files = std::fs::read_dir(data()).unwrap().flatten();
    let mut names: Vec<String> = files
        .filter_map(|file| {
            file.file_name()
                .to_string_lossy()
                .strip_suffix(".onnx")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(names.len() > 50, "the set was made: {}", names.len());
    names
}

fn cases(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(data().join(format!("{name}.json"))).unwrap()).unwrap()
}

fn float(value: &Value) -> f64 {
    match value.as_str() {
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        _ => value.as_f64().unwrap(),
    }
}

fn tensor(value: &Value) -> Tensor {
    let extents: Vec<usize> = value["shape"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e.as_u64().unwrap() as usize)
        .collect();
    let shape = Shape::new(&extents).unwrap();
    let datatype: DataType = value["datatype"].as_str().unwrap().parse().unwrap();
    let data = value["data"].as_array().unwrap();
    macro_rules! integers {
        ($rust:ty) => {
            Tensor::from_vec(
                shape,
                data.iter()
                    .map(|v| v.to_string().parse::<$rust>().unwrap())
                    .collect(),
            )
        };
    }
    let built = match datatype {
        DataType::Bytes => Tensor::from_strings(
            shape,
            data.iter()
                .map(|v| v.as_str().unwrap())
                .collect::<StringArray>(),
        ),
        DataType::Bool => {
            let bytes: Vec<u8> = data
                .iter()
                .map(|v| u8::from(v.as_bool() == Some(true) || v.as_u64() == Some(1)))
                .collect();
            Tensor::from_wire(datatype, shape, bytes.into())
        }
        DataType::Uint8 => integers!(u8),
        DataType::Uint16 => integers!(u16),
        DataType::Uint32 => integers!(u32),
        DataType::Uint64 => integers!(u64),
        DataType::Int8 => integers!(i8),
        DataType::Int16 => integers!(i16),
        DataType::Int32 => integers!(i32),
        DataType::Int64 => integers!(i64),
        DataType::Fp16 => Tensor::from_vec(
            shape,
            data.iter().map(|v| f16::from_f64(float(v))).collect(),
        ),
        DataType::Bf16 => Tensor::from_vec(
            shape,
            data.iter().map(|v| bf16::from_f64(float(v))).collect(),
        ),
        DataType::Fp32 => Tensor::from_vec(shape, data.iter().map(|v| float(v) as f32).collect()),
        DataType::Fp64 => Tensor::from_vec(shape, data.iter().map(float).collect()),
    };
    built.unwrap()
}

/// The inputs of a case, bound as those of a request are; `None` where the signature has no such
/// input.
fn inputs(signature: &Signature, case: &Value) -> Option<Vec<Option<Tensor>>> {
    let given = case["inputs"].as_array().unwrap();
    let given = given
        .iter()
        .map(|value| (value["name"].as_str().unwrap().to_owned(), tensor(value)));
    match signature.bind(given.collect()) {
        Ok(inputs) => Some(inputs),
        Err(SignatureError::UnknownInput { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Why an output differs from the expected one, if it does.
fn difference(output: &Tensor, expected: &Value, tolerance: f64) -> Option<String> {
    let wanted = tensor(expected);
    if output.datatype() != wanted.datatype() || output.shape() != wanted.shape() {
        let (datatype, shape) = (output.datatype(), output.shape());
        return Some(format!(
            "{datatype} {shape}, expected {} {}",
            wanted.datatype(),
            wanted.shape()
        ));
    }
    match (output.view(), wanted.view()) {
        (TensorView::Strings(one), TensorView::Strings(two)) => {
            (!one.iter().eq(two.iter())).then(|| "strings differ".to_owned())
        }
        _ if matches!(
            output.datatype(),
            DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64
        ) =>
        {
            let floats = |tensor: &Tensor| -> Vec<f64> {
                match tensor.datatype() {
                    DataType::Fp16 => tensor
                        .to_vec::<f16>()
                        .unwrap()
                        .into_iter()
                        .map(f64::from)
                        .collect(),
                    DataType::Bf16 => tensor
                        .to_vec::<bf16>()
                        .unwrap()
                        .into_iter()
                        .map(f64::from)
                        .collect(),
                    DataType::Fp32 => tensor
                        .to_vec::<f32>()
                        .unwrap()
                        .into_iter()
                        .map(f64::from)
                        .collect(),
                    _ => tensor.to_vec::<f64>().unwrap(),
                }
            };
            let close = |(got, want): (&f64, &f64)| {
                got == want
                    || (got.is_nan() && want.is_nan())
                    || (got - want).abs() <= tolerance * want.abs().max(1.0)
            };
            let (got, want) = (floats(output), floats(&wanted));
            (!got.iter().zip(&want).all(close)).then(|| format!("{got:?}, expected {want:?}"))
        }
        _ => (output.wire() != wanted.wire()).then(|| {
            with_element!(output.datatype(), T => {
                format!("{:?}, expected {:?}", output.to_vec::<T>(), wanted.to_vec::<T>())
            }, else => "values differ".to_owned())
        }),
    }
}

/// Everything in which an engine differs from the reference, and the graphs that it refused.
fn run(engines: &Engines, choice: &EngineChoice) -> (Vec<String>, BTreeMap<String, LoadError>) {
    let mut differences = Vec::new();
    let mut refused = BTreeMap::new();
    for name in graphs() {
        let path = data().join(format!("{name}.onnx"));
        let artifact = match engines.load(&path, choice, &EngineOptions::default()) {
            Ok(artifact) => artifact,
            Err(error) => {
                refused.insert(name, error);
                continue;
            }
        };
        let cases = cases(&name);
        let tolerance = cases["tolerance"].as_f64().unwrap();
        let mut instance = artifact.instance().unwrap();
        for (at, case) in cases["cases"].as_array().unwrap().iter().enumerate() {
            // An optional input that an engine does not take is refused before it reaches the
            // engine.
            let Some(inputs) = inputs(artifact.signature(), case) else {
                continue;
            };
            let outputs = instance.run(&inputs);
            if case["error"] == true {
                if outputs.is_ok() {
                    differences.push(format!("{name} case {at}: no error"));
                }
                continue;
            }
            let outputs = match outputs {
                Ok(outputs) => outputs,
                Err(error) => {
                    differences.push(format!("{name} case {at}: {error}"));
                    continue;
                }
            };
            for expected in case["outputs"].as_array().unwrap() {
                let place = artifact
                    .signature()
                    .output(expected["name"].as_str().unwrap())
                    .unwrap();
                if let Some(difference) = difference(&outputs[place], expected, tolerance) {
                    differences.push(format!(
                        "{name} case {at} output {}: {difference}",
                        expected["name"]
                    ));
                }
            }
        }
    }
    (differences, refused)
}

#[test]
fn onnxruntime_equals_the_reference_and_refuses_by_name_what_it_does_not_serve() {
    let engines = Engines::discover(None, EngineChoice::Auto);
    assert!(
        !engines.lacks(ONNX_RUNTIME),
        "`cargo xtask setup` fetches ONNX Runtime: {:?}",
        engines.status(ONNX_RUNTIME)
    );
    let (differences, refused) = run(&engines, &EngineChoice::from(ONNX_RUNTIME));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let refused: Vec<(String, String)> = refused
        .into_iter()
        .map(|(name, error)| (name, error.to_string()))
        .collect();
    assert_eq!(refused.len(), REFUSED_BY_ONNXRUNTIME.len(), "{refused:#?}");
    for ((name, message), (expected, needle)) in refused.iter().zip(REFUSED_BY_ONNXRUNTIME) {
        assert!(
            name == expected && message.contains(needle),
            "{name}: {message}"
        );
    }
}

#[test]
fn portable_equals_the_reference_or_refuses_at_load() {
    let (mut differences, refused) = run(&Engines::portable_only(), &EngineChoice::from(PORTABLE));
    for name in FAILING_IN_PORTABLE {
        let before = differences.len();
        differences.retain(|difference| {
            !(difference.starts_with(name) && difference.contains("the model failed"))
        });
        assert!(differences.len() < before, "{name} works by now");
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let names: Vec<&str> = refused.keys().map(String::as_str).collect();
    assert_eq!(names, REFUSED_BY_PORTABLE, "{refused:#?}");
}

#[test]
fn a_file_that_is_no_model_is_refused_by_both() {
    let folder = tempfile::tempdir().unwrap();
    for (file, bytes) in [
        ("empty.onnx", &b""[..]),
        ("text.onnx", b"not a model"),
        ("cut.onnx", b"\x08\x08\x12\xff"),
    ] {
        let path = folder.path().join(file);
        std::fs::write(&path, bytes).unwrap();
        for choice in [ONNX_RUNTIME, PORTABLE].map(EngineChoice::from) {
            let engines = Engines::discover(None, choice.clone());
            let error = engines
                .load(&path, &choice, &EngineOptions::default())
                .map(drop)
                .unwrap_err();
            assert!(
                matches!(error, LoadError::Engine { .. }),
                "{file} {choice:?}: {error}"
            );
        }
    }
    let missing = Engines::portable_only().load(
        Path::new("none.onnx"),
        &EngineChoice::Auto,
        &EngineOptions::default(),
    );
    assert!(matches!(missing.map(drop), Err(LoadError::Read { .. })));
}

#[test]
fn portable_refuses_trees_whose_labels_it_would_get_wrong() {
    let fraud =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/fraud/model.onnx");
    let refused = Engines::portable_only().load(
        &fraud,
        &EngineChoice::from(PORTABLE),
        &EngineOptions::default(),
    );
    let message = refused
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(
        message.contains("TreeEnsembleClassifier") && message.contains("ONNX Runtime"),
        "{message}"
    );
}

#[test]
fn an_engine_is_known_by_its_name() {
    let engines = Engines::portable_only();
    let path = data().join("identity_fp32.onnx");
    let load = |name: &str| {
        engines
            .load(&path, &EngineChoice::from(name), &EngineOptions::default())
            .map(drop)
            .map_err(|error| error.to_string())
    };
    load(PORTABLE).unwrap();
    load("auto").unwrap();
    assert_eq!(
        load("tensorflow").unwrap_err(),
        "engine \"tensorflow\" is unknown: use auto, onnxruntime, portable or remote"
    );
    assert_eq!(
        load(ONNX_RUNTIME).unwrap_err(),
        "engine \"onnxruntime\" is not available: it is switched off"
    );
}
