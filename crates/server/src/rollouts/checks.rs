//! What rollouts compare: the metrics that there are, and the checks of a rollout that names none.

use tidegate_core::{DataType, Dim, Signature};
use tidegate_delivery::rollout::{Check, CheckAction, CheckKind, RolloutSpec};
use tidegate_delivery::sequential::{MAX_BINS, Unit};

use super::figures::LATENCY_GROWTH;

/// The share of requests that fail through a fault of the server.
pub(super) const ERRORS: &str = "errors";
/// The share of requests that fail otherwise, such as those whose inputs it does not take.
pub(super) const REJECTED: &str = "rejected";
/// The time of answers.
pub(super) const LATENCY: &str = "latency_ms";
/// The share of answers with outputs that are empty, infinite or NaN.
pub(super) const INVALID: &str = "invalid_outputs";
/// The share of copies whose answers differ from those that clients got.
pub(super) const DISAGREEMENT: &str = "disagreement";
/// The scores of an output, whose name follows it.
pub(super) const OUTPUT: &str = "output:";
/// The classes of an output, whose name follows it.
pub(super) const CLASS: &str = "class:";

/// The increase of the share of failed requests, and of invalid answers, that is accepted.
const SHARE_MIN_EFFECT: f64 = 0.001;
/// The increase of the p99 that is accepted, as a part of it.
const LATENCY_MIN_EFFECT: f64 = 0.25;
/// How much more or less often outputs may fall into a bin: a new version may differ, but a score that
/// was in one of ten bins may not be in it twice as often.
const OUTPUT_MIN_EFFECT: f64 = 1.0;
/// The bins of scores, which hold a tenth of the old version's scores each.
const SCORE_BINS: usize = 10;
/// Outputs that are compared where nobody names checks.
const MAX_OUTPUTS: usize = 4;

/// The checks of a rollout between versions with these outputs: failed and rejected requests, invalid outputs, the
/// p99, and the distribution of each output. The outputs of a version that is not loaded yet are not known:
/// then they are taken to be those of the version before.
pub(super) fn default_checks(from: &Signature, to: &Signature) -> Vec<Check> {
    let share = || CheckKind::Share {
        min_effect: SHARE_MIN_EFFECT,
        higher_is_better: false,
        unit: Unit::Request,
    };
    let latency = CheckKind::Quantile {
        quantile: 0.99,
        growth: LATENCY_GROWTH,
        min_effect: LATENCY_MIN_EFFECT,
        unit: Unit::Block,
    };
    let mut checks = vec![
        check(ERRORS, ERRORS, share()),
        check(REJECTED, REJECTED, share()),
        check(INVALID, INVALID, share()),
        check("p99", LATENCY, latency),
    ];
    let outputs = from.outputs.iter().filter(|output| {
        let same = to.outputs.iter().find(|other| other.name == output.name);
        to.outputs.is_empty() || same.is_some_and(|same| same.datatype == output.datatype)
    });
    for output in outputs.take(MAX_OUTPUTS) {
        let is_score = matches!(output.datatype, DataType::Fp32 | DataType::Fp64);
        if is_score {
            checks.push(distribution(OUTPUT, &output.name, SCORE_BINS));
        }
        if !is_score || has_many_classes(output.dims.as_deref()) {
            checks.push(distribution(CLASS, &output.name, MAX_BINS));
        }
    }
    checks
}

fn distribution(prefix: &str, output: &str, bins: usize) -> Check {
    let metric = format!("{prefix}{output}");
    let kind = CheckKind::Distribution {
        bins,
        classes: prefix == CLASS,
        min_effect: OUTPUT_MIN_EFFECT,
    };
    check(&metric, &metric, kind)
}

/// Whether each row has the scores of three classes or more.
fn has_many_classes(dims: Option<&[Dim]>) -> bool {
    let Some([_, Dim::Fixed(classes)]) = dims else {
        return false;
    };
    (3..=MAX_BINS).contains(classes)
}

fn check(name: &str, metric: &str, kind: CheckKind) -> Check {
    Check {
        name: name.to_owned(),
        metric: metric.to_owned(),
        kind,
        alpha: None,
        action: CheckAction::Abort,
    }
}

/// Checks that servers measure what the checks of a rollout want to see.
///
/// # Errors
/// What is not measured, or not so.
pub(super) fn check_metrics(spec: &RolloutSpec) -> Result<(), String> {
    for check in &spec.checks {
        let is_measured = match check.metric.as_str() {
            ERRORS | REJECTED | INVALID => matches!(check.kind, CheckKind::Share { .. }),
            LATENCY => is_latency(&check.kind),
            DISAGREEMENT => matches!(check.kind, CheckKind::Limit { .. }),
            metric if metric.starts_with(OUTPUT) => is_distribution(&check.kind, false),
            metric if metric.starts_with(CLASS) => is_distribution(&check.kind, true),
            _ => false,
        };
        if !is_measured {
            return Err(format!(
                "check {:?}: metric {:?} is not measured, or not in this form. There are \
                 {ERRORS}, {REJECTED} and {INVALID} (kind share), {LATENCY} (kind quantile, growth \
                 {LATENCY_GROWTH}), {DISAGREEMENT} (kind limit), {OUTPUT}NAME (kind distribution) and \
                 {CLASS}NAME (kind distribution, classes)",
                check.name, check.metric
            ));
        }
        let mut others = spec.checks.iter();
        let is_binned_twice =
            others.any(|other| other.metric == check.metric && form(other) != form(check));
        if is_binned_twice {
            return Err(format!(
                "the checks of {:?} have different bins",
                check.metric
            ));
        }
    }
    Ok(())
}

fn is_distribution(kind: &CheckKind, of_classes: bool) -> bool {
    matches!(kind, CheckKind::Distribution { classes, .. } if *classes == of_classes)
}

fn is_latency(kind: &CheckKind) -> bool {
    matches!(kind, CheckKind::Quantile { growth, .. } if (growth - LATENCY_GROWTH).abs() < 1e-9)
}

/// The bins that a check wants, and whether they are classes.
pub(super) fn form(check: &Check) -> Option<(usize, bool)> {
    match check.kind {
        CheckKind::Distribution { bins, classes, .. } => Some((bins, classes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::TensorSpec;
    use tidegate_delivery::policy::{Share, VersionName};
    use tidegate_delivery::rollout::Target;

    use super::*;

    fn signature(outputs: &[(&str, DataType, usize)]) -> Signature {
        let outputs = outputs.iter().map(|(name, datatype, classes)| TensorSpec {
            name: (*name).to_owned(),
            datatype: *datatype,
            dims: Some(vec![Dim::Any, Dim::Fixed(*classes)]),
            optional: false,
        });
        Signature {
            inputs: Vec::new(),
            outputs: outputs.collect(),
        }
    }

    fn spec(checks: Vec<Check>) -> RolloutSpec {
        let target = Target {
            endpoint: "m".to_owned(),
            from: VersionName::number(1),
            to: VersionName::number(2),
        };
        let mut spec = RolloutSpec::canary(target, &[Share::ALL]);
        spec.checks = checks;
        spec
    }

    #[test]
    fn outputs_that_both_versions_have_are_compared() {
        let from = signature(&[
            ("score", DataType::Fp32, 2),
            ("label", DataType::Int64, 1),
            ("logits", DataType::Fp32, 10),
        ]);
        let to = signature(&[("score", DataType::Fp32, 2), ("logits", DataType::Fp64, 10)]);
        let checks = default_checks(&from, &to);
        let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(names, [ERRORS, REJECTED, INVALID, "p99", "output:score"]);
        assert_eq!(form(&checks[4]), Some((10, false)));
        let checks = default_checks(&from, &from);
        let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
        let outputs = [
            "output:score",
            "class:label",
            "output:logits",
            "class:logits",
        ];
        assert_eq!(names[4..], outputs);
        assert_eq!(form(&checks[5]), Some((64, true)));
        assert_eq!(check_metrics(&spec(checks)), Ok(()));
    }

    #[test]
    fn what_nobody_measures_is_refused() {
        let kind = || CheckKind::Limit { limit: 0.5 };
        assert!(check_metrics(&spec(vec![check("c", "conversions", kind())])).is_err());
        assert!(check_metrics(&spec(vec![check("c", ERRORS, kind())])).is_err());
        assert_eq!(
            check_metrics(&spec(vec![check("c", DISAGREEMENT, kind())])),
            Ok(())
        );
        let bins = |bins| CheckKind::Distribution {
            bins,
            classes: false,
            min_effect: 0.0,
        };
        let checks = vec![
            check("a", "output:y", bins(10)),
            check("b", "output:y", bins(20)),
        ];
        assert!(check_metrics(&spec(checks)).is_err());
    }
}
