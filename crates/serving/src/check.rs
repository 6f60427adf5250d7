//! The checks of a bundle, run on this machine's engine: its files are there, its weights are
//! numbers, its signature is as declared, and its samples give what they must.

mod declared;
mod golden;
mod graph;
mod labels;
mod records;
mod report;

use std::path::{Path, PathBuf};
use std::time::Instant;

use tidegate_core::{Manifest, Signature, Tensor};
use tidegate_engines::{Engines, Instance};
use tidegate_pipeline::Pipeline;

pub(crate) use self::declared::check as declared_signature;
pub use self::report::{CheckCase, CheckOutcome, CheckReport};
use crate::sample::{self, AnySample, Sample};
use crate::sequences::Wiring;
use crate::version::{DEFAULT_MAX_BATCH_ROWS, compile_pipeline};
use crate::{VersionPlan, source, warmup};

/// Why a check is skipped that compares runs.
const IS_RANDOM: &str = "the model is declared with deterministic = false";

/// What the checks of samples have to know of a model.
#[derive(Clone, Copy)]
pub(crate) struct CheckedModel<'a> {
    pub(crate) signature: &'a Signature,
    pub(crate) pipeline: Option<&'a Pipeline>,
    pub(crate) wiring: Option<&'a Wiring>,
}

/// Inputs and outputs of a run.
type Run = (Vec<Option<Tensor>>, Vec<Tensor>);

/// Checks a version before it is served: its files are there, its weights are numbers, the engine
/// supports every operator, rows in a batch give what they give alone, the signature is as
/// declared, two runs give the same, and samples give what they must. A failed check skips those
/// that depend on it. Blocks.
pub fn check(model: &str, plan: &VersionPlan, engines: &Engines) -> CheckReport {
    let mut report = CheckReport::new(model);
    let folder = folder(plan);
    report.run("files", || files(plan, &folder));
    if plan.is_graph() {
        return graph::check(report, plan);
    }
    if !plan.is_remote() {
        report.run("weights", || weights(&plan.artifact));
    }
    // After files and weights: an engine may crash the process on a broken file.
    let loaded = report.run("load", || load(plan, engines));
    let Some((mut signature, mut instance)) = loaded else {
        return report;
    };
    let wiring = match &plan.manifest.sequences {
        None => None,
        Some(_) => match report.run("sequences", || Wiring::of(plan, &mut signature)) {
            Some(wiring) => wiring,
            // Samples leave the states to their section.
            None => return report,
        },
    };
    // What records become are the inputs of clients alone.
    let visible = wiring.as_ref().map(|wiring| wiring.visible(&signature));
    let visible = visible.as_ref().unwrap_or(&signature);
    let pipeline = match &plan.manifest.pipeline {
        None => None,
        Some(_) => match report.run("pipeline", || compile_pipeline(plan, visible)) {
            Some(pipeline) => pipeline,
            // Samples may be records, which nothing could run.
            None => return report,
        },
    };
    match plan.is_remote() {
        false => batch(&mut report, &signature, &mut instance, &plan.manifest),
        true => report.skip("batch", "the upstream servers form batches"),
    }
    let model = CheckedModel {
        signature: &signature,
        pipeline: pipeline.as_ref(),
        wiring: wiring.as_ref(),
    };
    samples(&mut report, plan, model, &mut *instance);
    labels::check(&mut report, plan, &signature, &mut *instance);
    report
}

/// Checks a version that is about to be served, on the instance that will serve it. Returns the
/// first failure. Warm-up has checked before whether rows can share a run. Blocks.
pub(crate) fn contract(
    plan: &VersionPlan,
    model: CheckedModel<'_>,
    instance: &mut dyn Instance,
) -> Result<(), String> {
    let mut report = CheckReport::new("");
    samples(&mut report, plan, model, instance);
    match report.cases.into_iter().find_map(CheckCase::failure) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// The checks that need no engine: the files are there, and the weights are numbers.
pub(crate) fn files_and_weights(plan: &VersionPlan) -> Result<(), String> {
    files(plan, &folder(plan))?;
    if plan.has_no_artifact() {
        return Ok(());
    }
    weights(&plan.artifact)
}

/// The folder that the manifest's paths are relative to.
pub(crate) fn folder(plan: &VersionPlan) -> PathBuf {
    // The artifact may lie in a folder of the bundle, such as `1/model.onnx`.
    let depth = Path::new(plan.manifest.artifact_file())
        .components()
        .count();
    plan.artifact
        .ancestors()
        .nth(depth)
        .unwrap_or(Path::new("."))
        .to_owned()
}

fn load(plan: &VersionPlan, engines: &Engines) -> Result<(Signature, Box<dyn Instance>), String> {
    let manifest = &plan.manifest;
    let loaded = engines
        .load(&plan.artifact, &manifest.engine, &manifest.engine_options)
        .map_err(|error| error.to_string())?;
    let mut signature = loaded.signature().clone();
    if let Some(config) = &plan.triton {
        source::triton::check_declared(config, &mut signature)
            .map_err(|error| error.to_string())?;
    }
    let instance = loaded.instance().map_err(|error| error.to_string())?;
    Ok((signature, instance))
}

/// The checks that need a loaded instance: the signature is as declared, two runs give the same,
/// and samples give what they must.
fn samples(
    report: &mut CheckReport,
    plan: &VersionPlan,
    model: CheckedModel<'_>,
    instance: &mut dyn Instance,
) {
    let folder = folder(plan);
    report.run("signature", || {
        declared::check(&plan.manifest.signature, model.signature)
    });
    determinism(report, model, instance, plan, &folder);
    for sample in &plan.manifest.warmup {
        report.run(format!("warm-up sample {}", sample.file), || {
            match read(&folder, &sample.file)? {
                AnySample::Tensors(sample) => run(model, instance, sample.inputs).map(|_| ()),
                AnySample::Records(sample) => records::run(model, instance, &sample).map(|_| ()),
            }
        });
    }
    for sample in &plan.manifest.golden {
        report.run(format!("golden sample {}", sample.file), || {
            match read(&folder, &sample.file)? {
                AnySample::Tensors(read) => {
                    let found = run(model, instance, read.inputs)?;
                    golden::compare(model.signature, &found, &read.outputs, sample.tolerance)
                }
                AnySample::Records(read) => {
                    let found = records::run(model, instance, &read)?;
                    records::compare(&found, &read, sample.tolerance)
                }
            }
        });
    }
}

fn files(plan: &VersionPlan, folder: &Path) -> Result<(), String> {
    // Triton has initial states in another folder: their section says if one is missing. An ensemble
    // of Triton has its graph in its `config.pbtxt`.
    let mut elsewhere = Vec::new();
    if plan.triton.is_some() {
        elsewhere.push(Manifest::FILE);
        elsewhere.extend(plan.manifest.sequences.iter().flat_map(|spec| spec.files()));
    }
    let named = plan.manifest.named_files();
    for file in named.filter(|file| !elsewhere.contains(file)) {
        source::inside(root(folder), file).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn weights(artifact: &Path) -> Result<(), String> {
    let summary = Engines::summarize(artifact).map_err(|error| error.to_string())?;
    match summary.nan_weights.as_slice() {
        [] => Ok(()),
        names => Err(format!("weights contain NaN: {}", names.join(", "))),
    }
}

fn batch(
    report: &mut CheckReport,
    signature: &Signature,
    instance: &mut Box<dyn Instance>,
    manifest: &Manifest,
) {
    const NAME: &str = "batch";
    if !manifest.deterministic {
        return report.skip(NAME, IS_RANDOM);
    }
    let max_batch_size = manifest.batching.max_batch_size;
    if max_batch_size == Some(0) {
        return report.skip(NAME, "batching.max_batch_size is 0");
    }
    let started = Instant::now();
    let warmup = warmup::run(
        signature,
        std::slice::from_mut(instance),
        max_batch_size,
        DEFAULT_MAX_BATCH_ROWS,
    );
    let outcome = match warmup.map(|warmup| warmup.not_batched) {
        Ok(None) => CheckOutcome::Passed,
        // Not a failure: the version is served, only slower.
        Ok(Some(why)) => CheckOutcome::Skipped(format!("requests run one by one: {why}")),
        Err(error) => CheckOutcome::Failed(error.to_string()),
    };
    report.cases.push(CheckCase {
        name: NAME.to_owned(),
        outcome,
        took: started.elapsed(),
    });
}

fn determinism(
    report: &mut CheckReport,
    model: CheckedModel<'_>,
    instance: &mut dyn Instance,
    plan: &VersionPlan,
    folder: &Path,
) {
    const NAME: &str = "determinism";
    if !plan.manifest.deterministic {
        return report.skip(NAME, IS_RANDOM);
    }
    // The bundle's samples first: synthetic ones may not reach every part of the model.
    let first_run = first_sample(plan, folder)
        .and_then(|sample| run_sample(model, instance, sample))
        .or_else(|| warmup::synthetic(model.signature, instance));
    let Some((inputs, first)) = first_run else {
        return report.skip(
            NAME,
            "the model does not accept synthetic samples, and the bundle has no samples",
        );
    };
    report.run(NAME, || {
        // On the same instance, so that state which a run leaves behind shows.
        let second = instance.run(&inputs).map_err(|error| error.to_string())?;
        compare_runs(model.signature, &first, &second)
    });
}

fn first_sample(plan: &VersionPlan, folder: &Path) -> Option<Sample> {
    let golden = plan.manifest.golden.iter().map(|sample| &sample.file);
    let warmup = plan.manifest.warmup.iter().map(|sample| &sample.file);
    // Samples of records are for the pipeline; this one is for the engine.
    golden
        .chain(warmup)
        .find_map(|file| match read(folder, file) {
            Ok(AnySample::Tensors(sample)) => Some(sample),
            _ => None,
        })
}

fn run_sample(model: CheckedModel<'_>, instance: &mut dyn Instance, sample: Sample) -> Option<Run> {
    let inputs = model.bind(sample.inputs).ok()?;
    let outputs = instance.run(&inputs).ok()?;
    Some((inputs, outputs))
}

fn compare_runs(signature: &Signature, first: &[Tensor], second: &[Tensor]) -> Result<(), String> {
    for ((spec, first), second) in signature.outputs.iter().zip(first).zip(second) {
        // Bit by bit: the same input must give the same answer, not a similar one.
        if first.shape() != second.shape() || first.wire() != second.wire() {
            return Err(format!(
                "output \"{}\" differs between two runs over the same inputs; if that is meant, set deterministic = false in model.toml",
                spec.name
            ));
        }
    }
    Ok(())
}

fn read(folder: &Path, file: &str) -> Result<AnySample, String> {
    sample::read(root(folder), file)
}

/// The operating system does not take an empty path for the current folder.
pub(crate) fn root(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}

impl CheckedModel<'_> {
    /// The inputs of a sample. States and flags that it leaves out are those of the first request of a
    /// sequence.
    fn bind(self, mut inputs: Vec<(String, Tensor)>) -> Result<Vec<Option<Tensor>>, String> {
        if let Some(wiring) = self.wiring {
            wiring.complete(self.signature, &mut inputs);
        }
        self.signature
            .bind(inputs)
            .map_err(|error| error.to_string())
    }
}

fn run(
    model: CheckedModel<'_>,
    instance: &mut dyn Instance,
    inputs: Vec<(String, Tensor)>,
) -> Result<Vec<Tensor>, String> {
    let inputs = model.bind(inputs)?;
    instance.run(&inputs).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
