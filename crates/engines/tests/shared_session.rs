//! Instances of ONNX Runtime that share a session: exact results in many threads, and memory that is
//! given back.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::{EngineChoice, EngineOptions, Shape, Tensor};
use tidegate_engines::{Engines, LoadedArtifact};

/// A matrix product over `[rows, columns]` with something in between, on one thread an instance.
fn load(path: &Path) -> Arc<dyn LoadedArtifact> {
    let options = EngineOptions {
        instances: Some(4),
        intra_op_threads: Some(1),
        ..EngineOptions::default()
    };
    let engines = Engines::discover(None, EngineChoice::Named("onnxruntime".to_owned()));
    engines.load(path, &EngineChoice::Auto, &options).unwrap()
}

fn graph(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/{name}.onnx"))
}

fn batch(rows: usize, columns: usize, seed: usize) -> Vec<Option<Tensor>> {
    let values = (0..rows * columns).map(|at| ((at * 37 + seed * 101) % 1009) as f32 / 100.0);
    let shape = Shape::new(&[rows, columns]).unwrap();
    vec![Some(Tensor::from_vec(shape, values.collect()).unwrap())]
}

fn bytes(outputs: &[Tensor]) -> Vec<Vec<u8>> {
    let outputs = outputs.iter();
    outputs.map(|output| output.wire().to_vec()).collect()
}

/// Runs batches of many sizes in four threads at once, and compares each output with that of a run
/// alone.
fn run_in_threads(path: &Path, columns: usize) {
    let artifact = load(path);
    let cases: Vec<_> = (0..24).map(|at| batch(1 + at % 7, columns, at)).collect();
    let mut alone = artifact.instance().unwrap();
    let expected: Vec<_> = cases
        .iter()
        .map(|case| bytes(&alone.run(case).unwrap()))
        .collect();
    let instances: Vec<_> = (0..4).map(|_| artifact.instance().unwrap()).collect();
    std::thread::scope(|scope| {
        for (thread, mut instance) in instances.into_iter().enumerate() {
            let (cases, expected) = (&cases, &expected);
            scope.spawn(move || {
                for turn in 0..500 {
                    let at = (turn * (thread + 1)) % cases.len();
                    // Some return the arena's memory while others use it.
                    let outputs = match turn % 5 {
                        0 => instance.run_and_release(&cases[at]),
                        _ => instance.run(&cases[at]),
                    };
                    assert_eq!(bytes(&outputs.unwrap()), expected[at]);
                }
            });
        }
    });
}

#[test]
fn runs_of_one_session_at_the_same_time_are_exact_on_the_fast_path() {
    run_in_threads(&graph("gemm_relu_gemm"), 4);
}

#[test]
fn runs_of_one_session_at_the_same_time_are_exact_on_the_general_path() {
    // An output of the graph is its input, which the fast path cannot serve.
    run_in_threads(&graph("identity_fp32"), 2);
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_far_larger_than_usual_gives_its_memory_back() {
    assert!(held_after_large_runs(1, false) < 3 << 20);
}

#[test]
#[cfg(target_os = "linux")]
fn memory_of_large_runs_is_given_back_on_demand() {
    assert!(held_after_large_runs(3, true) < 3 << 20);
}

/// What the session holds after small runs and so many large ones, which take 17 MB each.
#[cfg(target_os = "linux")]
fn held_after_large_runs(large_runs: usize, release: bool) -> usize {
    let artifact = load(&graph("gemm_relu_gemm"));
    let mut instance = artifact.instance().unwrap();
    let (small, large) = (batch(1, 4, 0), batch(700_000, 4, 0));
    instance.run(&small).unwrap();
    let before = resident_bytes();
    // Kept, so that what is measured is the memory of the session alone.
    let mut outputs = Vec::new();
    for _ in 0..large_runs {
        outputs.extend(instance.run(&large).unwrap());
    }
    if release {
        instance.run_and_release(&small).unwrap();
    }
    let kept: usize = outputs.iter().map(Tensor::byte_len).sum();
    resident_bytes().saturating_sub(before + kept)
}

#[cfg(target_os = "linux")]
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
