//! A rollout of this crate on simulated traffic.

use tidegate_delivery::policy::{Share, VersionName};
use tidegate_delivery::rollout::{
    Check, CheckAction, CheckKind, Evidence, Measured, Phase, Rollout, RolloutSpec, Target, Window,
    decide,
};
use tidegate_delivery::sequential::{Arms, Counts, Unit};

use crate::traffic::{LATENCY_GROWTH, SCORE_BINS, Second, Traffic};

pub(crate) const CHECKS: [&str; 4] = ["errors", "missing", "latency", "scores"];

/// How a rollout goes, and how long it is watched.
pub(crate) struct Plan {
    spec: RolloutSpec,
    seconds: u64,
}

/// How a rollout ended.
pub(crate) struct Outcome {
    /// The check that aborted it.
    pub(crate) aborted_by: Option<String>,
    /// The requests that the new version answered.
    pub(crate) bad_requests: u64,
    /// Whether a z-test of the errors so far, made every minute, ever rejected at 5 %.
    pub(crate) z_test_rejects: bool,
}

impl Plan {
    /// All steps: 5 minutes at 1 %, then 10 minutes each.
    pub(crate) fn steps(alpha: f64, unit: Unit) -> Self {
        let weights = [1000, 5000, 25_000, 50_000, 100_000]
            .map(|parts| Share::from_parts(parts).unwrap_or_default());
        let mut plan = Self {
            spec: spec(&weights, alpha, unit),
            seconds: 45 * 60,
        };
        for (step, minutes) in plan.spec.steps.iter_mut().zip([5, 10, 10, 10, 10]) {
            step.min_duration_s = minutes * 60;
        }
        plan
    }

    /// 5 % alone, for at most so long.
    pub(crate) fn only(alpha: f64, seconds: u64, unit: Unit) -> Self {
        let weights = [5000, 100_000].map(|parts| Share::from_parts(parts).unwrap_or_default());
        let mut plan = Self {
            spec: spec(&weights, alpha, unit),
            seconds,
        };
        plan.spec.steps[0].min_duration_s = seconds + 1;
        plan
    }

    pub(crate) fn watched_for(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }

    pub(crate) fn run(&self, traffic: &mut Traffic) -> Outcome {
        let mut rollout = Rollout::new("simulated", self.spec.clone(), 0);
        let mut evidence = Evidence {
            is_ready: true,
            ..Evidence::default()
        };
        let mut bad_requests = 0;
        let mut errors = Arms::<Counts>::default();
        let mut z_test_rejects = false;
        for second in 1..=self.seconds {
            let (next, actions) = decide(&rollout, &evidence, second * 1000);
            rollout = next;
            evidence.done_action = actions
                .last()
                .map_or(evidence.done_action, |action| action.number);
            if rollout.is_over() && !matches!(rollout.phase, Phase::Promoted) {
                break;
            }
            let measured = traffic.next_second(rollout.traffic().answers.parts());
            bad_requests += measured.requests.candidate;
            errors.add_counts(measured.errors);
            if second % 60 == 0 {
                z_test_rejects |= z_statistic(errors).abs() > 1.96;
            }
            evidence.windows = vec![window(second, measured)];
        }
        let aborted_by = match &rollout.phase {
            Phase::Aborted { reason } => {
                Some(reason.split(' ').nth(1).unwrap_or_default().to_owned())
            }
            _ => None,
        };
        Outcome {
            aborted_by,
            bad_requests,
            z_test_rejects,
        }
    }
}

fn spec(weights: &[Share], alpha: f64, unit: Unit) -> RolloutSpec {
    let target = Target {
        endpoint: "fraud".into(),
        from: VersionName::number(7),
        to: VersionName::number(8),
    };
    let mut spec = RolloutSpec::canary(target, weights);
    let share = || CheckKind::Share {
        min_effect: 0.0,
        higher_is_better: false,
        unit: Unit::Request,
    };
    let latency = CheckKind::Quantile {
        quantile: 0.99,
        growth: LATENCY_GROWTH,
        min_effect: 0.0,
        unit,
    };
    let scores = CheckKind::Distribution {
        bins: SCORE_BINS,
        classes: false,
        min_effect: 0.0,
    };
    spec.alpha = alpha;
    spec.checks = CHECKS
        .into_iter()
        .zip([share(), share(), latency, scores])
        .map(|(name, kind)| Check {
            name: name.to_owned(),
            metric: name.to_owned(),
            kind,
            alpha: None,
            action: CheckAction::Abort,
        })
        .collect();
    spec
}

fn window(second: u64, measured: Second) -> Window {
    let metrics = [
        ("errors", Measured::Share(measured.errors)),
        ("missing", Measured::Share(measured.missing)),
        ("latency", Measured::Histogram(measured.latency)),
        ("scores", Measured::Histogram(measured.scores)),
    ];
    Window {
        number: second,
        start_ms: second * 1000,
        requests: measured.requests,
        metrics: metrics
            .into_iter()
            .map(|(name, measured)| (name.to_owned(), measured))
            .collect(),
    }
}

/// The test of two proportions that most people would make.
fn z_statistic(counts: Arms<Counts>) -> f64 {
    let (Some(candidate), Some(control)) = (counts.candidate.share(), counts.control.share())
    else {
        return 0.0;
    };
    let requests = counts.requests().map(|count| count as f64);
    let events = (counts.candidate.events + counts.control.events) as f64;
    let pooled = events / (requests.candidate + requests.control);
    let error =
        (pooled * (1.0 - pooled) * (1.0 / requests.candidate + 1.0 / requests.control)).sqrt();
    if error == 0.0 {
        0.0
    } else {
        (candidate - control) / error
    }
}
