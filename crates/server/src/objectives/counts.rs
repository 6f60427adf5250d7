//! Which requests are good for which objective.

use tidegate_observe::{Counts, Outcome, Slo};
use tidegate_serving::{Observation, Outcome as RequestOutcome};

/// Adds finished requests to the counts of objectives, which stand in the same order.
pub(super) fn count(slos: &[Slo], counts: &mut [Counts], finished: &[Observation]) {
    for one in finished {
        let outcome = match one.outcome {
            RequestOutcome::Answered => Outcome::Answered(one.total),
            RequestOutcome::Failed(code) => Outcome::Failed(code.name()),
            // The client went away: neither good nor bad.
            RequestOutcome::Abandoned => continue,
        };
        let model = one.version().map(|(model, _)| &**model);
        for (slo, counts) in slos.iter().zip(counts.iter_mut()) {
            let is_own = slo
                .endpoint()
                .is_none_or(|endpoint| model == Some(endpoint));
            if let Some(is_good) = slo.sli().classify(outcome).filter(|_| is_own) {
                counts.good += u64::from(is_good);
                counts.total += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_observe::{Objective, SliKind};
    use tidegate_serving::{ErrorCode, MetricRegistry, RequestMetrics};

    use super::*;

    fn slo(endpoint: &str, threshold_ms: Option<f64>) -> Slo {
        let sli = if threshold_ms.is_some() {
            SliKind::Latency
        } else {
            SliKind::Availability
        };
        let name = "x".to_owned();
        Objective {
            name,
            endpoint: endpoint.to_owned(),
            sli,
            threshold_ms,
            ..Objective::default()
        }
        .parse()
        .unwrap()
    }

    #[test]
    fn each_objective_counts_its_own() {
        let metrics = RequestMetrics::new(&MetricRegistry::new());
        let answered = |model: &str, micros| {
            metrics.example_observation(
                Some((model, "1")),
                RequestOutcome::Answered,
                Duration::from_micros(micros),
            )
        };
        let failed = |model: Option<&str>, code| {
            metrics.example_observation(
                model.map(|model| (model, "1")),
                RequestOutcome::Failed(code),
                Duration::ZERO,
            )
        };
        let finished = [
            answered("a", 100),
            answered("a", 101),
            answered("b", 50),
            failed(Some("a"), ErrorCode::QueueFull),
            failed(Some("a"), ErrorCode::UnknownInput),
            failed(None, ErrorCode::NotReady),
            failed(None, ErrorCode::MalformedJson),
            metrics.example_observation(
                Some(("a", "1")),
                RequestOutcome::Abandoned,
                Duration::ZERO,
            ),
        ];
        let slos = [
            slo("a", None),
            slo("a", Some(0.1)),
            slo("*", None),
            slo("c", None),
        ];
        let mut counts = [Counts::default(); 4];
        count(&slos, &mut counts, &finished);
        let counts = counts.map(|counts| (counts.good, counts.total));
        assert_eq!(
            counts[0],
            (2, 3),
            "wrong requests do not count, nor those whose client went away"
        );
        assert_eq!(counts[1], (1, 2));
        assert_eq!(
            counts[2],
            (3, 5),
            "requests that reached no version count for all of them"
        );
        assert_eq!(counts[3], (0, 0));
    }
}
