//! Class names, compared with how many classes the model gives.

use tidegate_core::{Signature, Tensor};
use tidegate_engines::Instance;

use super::{CheckReport, folder};
use crate::{VersionPlan, source, warmup};

/// Checks that each class of an output has its name. A model that cannot run on made-up inputs is
/// not checked: nothing else says how many classes it has.
pub(super) fn check(
    report: &mut CheckReport,
    plan: &VersionPlan,
    signature: &Signature,
    instance: &mut dyn Instance,
) {
    let outputs = &plan.manifest.outputs;
    let mut labelled = outputs
        .iter()
        .filter_map(|output| Some((&output.name, output.labels.as_ref()?)))
        .peekable();
    if labelled.peek().is_none() {
        return;
    }
    let Some((_, found)) = warmup::synthetic(signature, instance) else {
        return report.skip("labels", "the model does not run on synthetic inputs");
    };
    for (name, file) in labelled {
        report.run(format!("labels {file}"), || {
            let labels = source::read_labels(&folder(plan), file);
            let labels = labels.map_err(|error| error.to_string())?;
            compare(name, labels.len(), signature, &found)
        });
    }
}

fn compare(
    name: &str,
    labels: usize,
    signature: &Signature,
    found: &[Tensor],
) -> Result<(), String> {
    let at = signature.outputs.iter().position(|spec| spec.name == *name);
    let output = at.and_then(|at| found.get(at));
    let output = output.ok_or_else(|| format!("the model has no output \"{name}\""))?;
    // As the classification extension reads it: the classes are the last axis.
    let classes = output.shape().last().copied().unwrap_or(0);
    match labels < classes {
        true => Err(format!(
            "{labels} class names for the {classes} classes of output \"{name}\""
        )),
        false => Ok(()),
    }
}
