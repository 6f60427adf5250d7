//! `tidegate inspect`.

use std::fmt::Write;

use anyhow::Result;
use tidegate_core::{EngineChoice, TensorSpec};
use tidegate_engines::{ArtifactSummary, Engines, OnnxRuntimeStatus};
use tidegate_serving::{VersionPlan, scan};

use crate::args::Inspect;

/// Prints what the models under a path are.
pub(crate) fn run(args: &Inspect) -> Result<()> {
    let engines = Engines::discover(None, EngineChoice::Auto);
    for (name, plans) in scan(&args.path)? {
        for plan in plans {
            let summary = Engines::summarize(&plan.artifact)?;
            print!("{}", describe(&name, &plan, &summary, &engines));
        }
    }
    Ok(())
}

fn describe(
    name: &str,
    plan: &VersionPlan,
    summary: &ArtifactSummary,
    engines: &Engines,
) -> String {
    let mut out = String::new();
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(out, "{label:<12}{value}");
    };
    line("model", &format!("{name}, version {}", plan.number));
    if !plan.manifest.description.is_empty() {
        line("", &plan.manifest.description);
    }
    line(
        "artifact",
        &format!(
            "{} ({})",
            plan.artifact.display(),
            bytes(summary.file_bytes)
        ),
    );
    if !summary.producer.is_empty() {
        line("made by", &summary.producer);
    }
    line("engine", &engine(plan.manifest.engine, engines));
    match &summary.signature {
        Ok(signature) => {
            signature
                .inputs
                .iter()
                .for_each(|spec| line("input", &tensor(spec)));
            signature
                .outputs
                .iter()
                .for_each(|spec| line("output", &tensor(spec)));
        }
        Err(problem) => line("signature", problem),
    }
    if summary.signature.is_ok() {
        line(
            "batch axis",
            if summary.batch_axis_is_dynamic() {
                "dynamic"
            } else {
                "fixed: requests run one by one"
            },
        );
    }
    let opsets = summary
        .opsets
        .iter()
        .map(|(domain, version)| format!("{domain} {version}"));
    line("opsets", &opsets.collect::<Vec<_>>().join(", "));
    let mut operators: Vec<(&String, &usize)> = summary.operators.iter().collect();
    operators.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let operators = operators
        .into_iter()
        .map(|(name, count)| format!("{name} x{count}"));
    line("operators", &operators.collect::<Vec<_>>().join(", "));
    line("weights", &bytes(summary.weight_bytes));
    line(
        "memory",
        &format!(
            "about {} per instance",
            bytes(summary.memory_estimate_bytes())
        ),
    );
    out.push('\n');
    out
}

fn engine(choice: EngineChoice, engines: &Engines) -> String {
    match (choice, engines.onnxruntime()) {
        (EngineChoice::Portable, _) => "portable".to_owned(),
        (_, OnnxRuntimeStatus::Loaded { library, version }) => {
            format!("onnxruntime {version} ({library})")
        }
        (EngineChoice::Auto, OnnxRuntimeStatus::Missing { .. }) => {
            "portable, for ONNX Runtime is not there".to_owned()
        }
        (EngineChoice::OnnxRuntime, OnnxRuntimeStatus::Missing { reason }) => {
            format!("onnxruntime, which is not there: {reason}")
        }
    }
}

/// A tensor as one line, such as `image FP32 [-1, 64]`.
pub(crate) fn tensor(spec: &TensorSpec) -> String {
    let optional = if spec.optional { ", optional" } else { "" };
    format!(
        "{} {} {:?}{optional}",
        spec.name,
        spec.datatype,
        spec.wire_shape()
    )
}

/// A number of bytes as people read it.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}
