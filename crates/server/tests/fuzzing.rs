//! The fuzz targets' entry points, over their seeds, changed seeds and noise: what a fuzzer does at
//! length, every test run does for a moment.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use tidegate_server::fuzzing;

/// A change to a seed: at a place of it, so many bytes give way to others.
#[derive(Clone, Debug)]
struct Change {
    at: Index,
    removed: usize,
    put: Vec<u8>,
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

fn change() -> impl Strategy<Value = Change> {
    let pieces = vec![
        "\"",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        "-",
        "null",
        "1e999",
        "9223372036854775808",
        "\\ud800",
        "\"shape\": [",
    ];
    let put = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..5),
        prop::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
    ];
    (any::<Index>(), 0usize..9, put).prop_map(|(at, removed, put)| Change { at, removed, put })
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for Change { at, removed, put } in changes {
        let from = at.index(bytes.len() + 1);
        let to = (from + removed).min(bytes.len());
        bytes.splice(from..to, put.iter().copied());
    }
    bytes
}

/// Every seed is taken; changed seeds and noise break no promise.
fn hold(target: &str, entry: fn(&[u8]) -> bool) {
    let seeds = seeds(target);
    assert!(
        !seeds.is_empty() && seeds.iter().all(|seed| entry(seed)),
        "a seed of {target} is refused"
    );
    let inputs = prop_oneof![
        9 => (prop::sample::select(seeds), prop::collection::vec(change(), 1..6))
            .prop_map(|(seed, changes)| changed(seed, &changes)),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ];
    let config = ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest::test_runner::TestRunner::new(config)
        .run(&inputs, |bytes| {
            entry(&bytes);
            Ok(())
        })
        .unwrap();
}

#[test]
fn infer_json() {
    hold("infer_json", fuzzing::infer_json);
}

#[test]
fn json_readers() {
    hold("json_readers", fuzzing::json_readers);
}

#[test]
fn infer_binary() {
    hold("infer_binary", fuzzing::infer_binary);
}

#[test]
fn grpc_message() {
    hold("grpc_message", fuzzing::grpc_message);
}

#[test]
fn config_pbtxt() {
    hold("config_pbtxt", fuzzing::config_pbtxt);
}

#[test]
fn model_toml() {
    hold("model_toml", fuzzing::model_toml);
}

#[test]
fn image() {
    hold("image", fuzzing::image);
}

#[test]
fn sound() {
    hold("sound", fuzzing::sound);
}

#[test]
fn upstream_answer() {
    hold("upstream_answer", fuzzing::upstream_answer);
}
