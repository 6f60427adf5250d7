//! The contract of a bundle, held against the artifact on this machine's engine.

mod declared;
mod golden;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tidegate_core::{Signature, Tensor};
use tidegate_engines::{Engines, Instance};

use crate::version::DEFAULT_MAX_BATCH_ROWS;
use crate::{VersionPlan, sample, source, warmup};

/// What a check of a bundle found, in the order in which it looked.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// The model's name.
    pub model: String,
    /// Each thing that was looked at.
    pub cases: Vec<CheckCase>,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct CheckCase {
    /// What it is, such as `golden sample golden.json`.
    pub name: String,
    /// What was found.
    pub outcome: CheckOutcome,
    /// How long it took.
    pub took: Duration,
}

impl CheckCase {
    /// What failed and why, if it did.
    fn failure(self) -> Option<String> {
        match self.outcome {
            CheckOutcome::Failed(why) => Some(format!("{}: {why}", self.name)),
            CheckOutcome::Passed | CheckOutcome::Skipped(_) => None,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// It is as it must be.
    Passed,
    /// It is not: why.
    Failed(String),
    /// There was nothing to look at: why.
    Skipped(String),
}

impl CheckReport {
    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        !self
            .cases
            .iter()
            .any(|case| matches!(case.outcome, CheckOutcome::Failed(_)))
    }

    /// Looks at one more thing; an error is a failure.
    pub fn look<T>(
        &mut self,
        name: impl Into<String>,
        work: impl FnOnce() -> Result<T, String>,
    ) -> Option<T> {
        let started = Instant::now();
        let (outcome, value) = match work() {
            Ok(value) => (CheckOutcome::Passed, Some(value)),
            Err(problem) => (CheckOutcome::Failed(problem), None),
        };
        self.cases.push(CheckCase {
            name: name.into(),
            outcome,
            took: started.elapsed(),
        });
        value
    }

    fn skip(&mut self, name: &str, why: impl Into<String>) {
        let outcome = CheckOutcome::Skipped(why.into());
        self.cases.push(CheckCase {
            name: name.to_owned(),
            outcome,
            took: Duration::ZERO,
        });
    }
}

/// Checks a version before it is served: its files are there, its weights are numbers, the engine
/// takes every operator, the signature is as declared, two runs give the same, rows in a batch give
/// what they give alone, and samples get the answers that they must. What comes after a failure
/// that it needs is left out. Blocks.
pub fn check(model: &str, plan: &VersionPlan, engines: &Engines) -> CheckReport {
    let mut report = CheckReport {
        model: model.to_owned(),
        cases: Vec::new(),
    };
    let folder = folder(plan);
    report.look("files", || files(plan, &folder));
    report.look("weights", || weights(&plan.artifact));
    let loaded = report.look("load", || {
        let manifest = &plan.manifest;
        let loaded = engines.load(&plan.artifact, manifest.engine, &manifest.engine_options);
        let loaded = loaded.map_err(|error| error.to_string())?;
        let mut signature = loaded.signature().clone();
        if let Some(config) = &plan.triton {
            source::triton::check_declared(config, &mut signature)
                .map_err(|error| error.to_string())?;
        }
        Ok((
            signature,
            loaded.instance().map_err(|error| error.to_string())?,
        ))
    });
    let Some((signature, mut instance)) = loaded else {
        return report;
    };
    let asked = plan.manifest.batching.max_batch_size;
    batch(&mut report, &signature, &mut instance, asked);
    samples(&mut report, plan, &signature, &mut *instance);
    report
}

/// Holds a version that is about to be served against its contract, on the engine that will serve
/// it: the first thing that is not as it must be. Whether rows may share a run was found out
/// before. Blocks.
pub(crate) fn contract(
    plan: &VersionPlan,
    signature: &Signature,
    instance: &mut dyn Instance,
) -> Result<(), String> {
    let mut report = CheckReport {
        model: String::new(),
        cases: Vec::new(),
    };
    samples(&mut report, plan, signature, instance);
    match report.cases.into_iter().find_map(CheckCase::failure) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// What needs a loaded instance: the signature is as declared, two runs give the same, samples get
/// the answers that they must.
fn samples(
    report: &mut CheckReport,
    plan: &VersionPlan,
    signature: &Signature,
    instance: &mut dyn Instance,
) {
    let folder = folder(plan);
    report.look("signature", || {
        declared::check(&plan.manifest.signature, signature)
    });
    deterministic(report, signature, instance, plan, &folder);
    for sample in &plan.manifest.warmup {
        report.look(format!("warm-up sample {}", sample.file), || {
            let sample = read(&folder, &sample.file)?;
            run(signature, instance, sample.inputs).map(|_| ())
        });
    }
    for sample in &plan.manifest.golden {
        report.look(format!("golden sample {}", sample.file), || {
            let read = read(&folder, &sample.file)?;
            let found = run(signature, instance, read.inputs)?;
            golden::compare(signature, &found, &read.outputs, sample.tolerance)
        });
    }
}

/// What can be held against the contract before an engine loads anything: the files are there,
/// weights are numbers.
pub(crate) fn files_and_weights(plan: &VersionPlan) -> Result<(), String> {
    files(plan, &folder(plan))?;
    weights(&plan.artifact)
}

/// The folder that the manifest's paths are relative to.
pub(crate) fn folder(plan: &VersionPlan) -> PathBuf {
    let depth = Path::new(&plan.manifest.artifact).components().count();
    plan.artifact
        .ancestors()
        .nth(depth)
        .unwrap_or(Path::new("."))
        .to_owned()
}

fn files(plan: &VersionPlan, folder: &Path) -> Result<(), String> {
    let root = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    for file in plan.manifest.named_files() {
        source::inside(root, file).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn weights(artifact: &Path) -> Result<(), String> {
    let summary = Engines::summarize(artifact).map_err(|error| error.to_string())?;
    match summary.nan_weights.as_slice() {
        [] => Ok(()),
        names => Err(format!("not a number: weights of {}", names.join(", "))),
    }
}

fn batch(
    report: &mut CheckReport,
    signature: &Signature,
    instance: &mut Box<dyn Instance>,
    asked: Option<usize>,
) {
    const NAME: &str = "batch";
    if asked == Some(0) {
        return report.skip(NAME, "batching.max_batch_size is 0");
    }
    let started = Instant::now();
    let outcome = match warmup::run(
        signature,
        std::slice::from_mut(instance),
        asked,
        DEFAULT_MAX_BATCH_ROWS,
    ) {
        Err(error) => CheckOutcome::Failed(error.to_string()),
        Ok(warm) => match warm.not_batched {
            Some(why) => CheckOutcome::Skipped(format!("requests run one by one: {why}")),
            None => CheckOutcome::Passed,
        },
    };
    report.cases.push(CheckCase {
        name: NAME.to_owned(),
        outcome,
        took: started.elapsed(),
    });
}

fn deterministic(
    report: &mut CheckReport,
    signature: &Signature,
    instance: &mut dyn Instance,
    plan: &VersionPlan,
    folder: &Path,
) {
    const NAME: &str = "determinism";
    let samples = plan.manifest.golden.iter().map(|sample| &sample.file);
    let mut samples = samples.chain(plan.manifest.warmup.iter().map(|sample| &sample.file));
    let real = samples
        .next()
        .and_then(|file| read(folder, file).ok())
        .and_then(|sample| signature.bind(sample.inputs).ok());
    let real = real.and_then(|inputs| instance.run(&inputs).ok().map(|outputs| (inputs, outputs)));
    let Some((inputs, one)) = real.or_else(|| warmup::synthetic(signature, instance)) else {
        return report.skip(
            NAME,
            "the model does not take synthetic samples, and the bundle has no others",
        );
    };
    report.look(NAME, || {
        let two = instance.run(&inputs).map_err(|error| error.to_string())?;
        for ((spec, one), two) in signature.outputs.iter().zip(&one).zip(&two) {
            if one.shape() != two.shape() || one.wire() != two.wire() {
                return Err(format!(
                    "output \"{}\" differs between two runs over the same inputs",
                    spec.name
                ));
            }
        }
        Ok(())
    });
}

fn read(folder: &Path, file: &str) -> Result<sample::Sample, String> {
    let root = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let path = source::inside(root, file).map_err(|error| error.to_string())?;
    sample::read(&path)
}

fn run(
    signature: &Signature,
    instance: &mut dyn Instance,
    inputs: Vec<(String, Tensor)>,
) -> Result<Vec<Tensor>, String> {
    let inputs = signature.bind(inputs).map_err(|error| error.to_string())?;
    instance.run(&inputs).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
