//! What came since the last look, out of counters that only grow, and that a version takes with it when it goes.

use std::collections::BTreeMap;

use tidegate_observe::{Counts, Outcome, Sli, Slo};
use tidegate_serving::{Metrics, Outcomes};

type Series = BTreeMap<(String, String), Outcomes>;

/// The counters as they were at the last look.
pub(super) struct Feed {
    last: Series,
}

impl Feed {
    /// Begins with what is there now.
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self { last: metrics.outcomes() }
    }

    /// What was counted since the last look, by model and version.
    pub(super) fn news(&mut self, metrics: &Metrics) -> Series {
        let now = metrics.outcomes();
        let nothing = Outcomes::default();
        let news = now.iter().map(|(key, now)| (key.clone(), since(now, self.last.get(key).unwrap_or(&nothing))));
        let news = news.collect();
        self.last = now;
        news
    }
}

fn since(now: &Outcomes, before: &Outcomes) -> Outcomes {
    // A counter that fell began anew: the version was unloaded and loaded again.
    let more = |now: u64, before: u64| if now >= before { now - before } else { now };
    let failed = now.failed.iter();
    Outcomes {
        answered: more(now.answered, before.answered),
        within: now
            .within
            .iter()
            .enumerate()
            .map(|(at, now)| more(*now, before.within.get(at).copied().unwrap_or(0)))
            .collect(),
        failed: failed
            .map(|(code, now)| (code.clone(), more(*now, before.failed.get(code).copied().unwrap_or(0))))
            .collect(),
    }
}

/// The requests of an objective among these.
pub(super) fn count(slo: &Slo, news: &Series) -> Counts {
    let own = news.iter().filter(|((model, _), _)| slo.endpoint().is_none_or(|endpoint| endpoint == model));
    own.fold(Counts::default(), |sum, (_, outcomes)| {
        let counts = judge(slo.sli(), outcomes);
        Counts { good: sum.good + counts.good, total: sum.total + counts.total }
    })
}

fn judge(sli: Sli, outcomes: &Outcomes) -> Counts {
    match sli {
        Sli::Latency(bound) => {
            Counts { good: outcomes.within.get(bound.index()).copied().unwrap_or(0), total: outcomes.answered }
        }
        Sli::Availability => {
            let faults = outcomes.failed.iter().filter(|(code, _)| sli.judge(Outcome::Failed(code)) == Some(false));
            let faults: u64 = faults.map(|(_, count)| count).sum();
            Counts { good: outcomes.answered, total: outcomes.answered + faults }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_observe::{Objective, SliKind};

    use super::*;

    fn outcomes(answered: u64, within: &[u64], failed: &[(&str, u64)]) -> Outcomes {
        let failed = failed.iter().map(|(code, count)| ((*code).to_owned(), *count)).collect();
        Outcomes { answered, within: within.to_vec(), failed }
    }

    fn slo(endpoint: &str, threshold_ms: Option<f64>) -> Slo {
        let sli = if threshold_ms.is_some() { SliKind::Latency } else { SliKind::Availability };
        let name = "x".to_owned();
        Objective { name, endpoint: endpoint.to_owned(), sli, threshold_ms, ..Objective::default() }.parse().unwrap()
    }

    #[test]
    fn each_objective_counts_its_own() {
        let key = |model: &str| (model.to_owned(), "1".to_owned());
        let news = BTreeMap::from([
            (key("a"), outcomes(10, &[4, 7, 9], &[("queue_full", 2), ("unknown_input", 5)])),
            (key("b"), outcomes(100, &[100, 100, 100], &[])),
            ((String::new(), String::new()), outcomes(0, &[], &[("not_ready", 3), ("malformed_json", 8)])),
        ]);
        let counts = |endpoint, threshold_ms| {
            let counts = count(&slo(endpoint, threshold_ms), &news);
            (counts.good, counts.total)
        };
        assert_eq!(counts("a", None), (10, 12), "wrong requests do not count");
        assert_eq!(counts("a", Some(0.05)), (7, 10));
        assert_eq!(counts("*", None), (110, 115), "requests that reached no version count for all of them");
        assert_eq!(counts("c", None), (0, 0));
    }

    #[test]
    fn a_counter_that_began_anew_counts_from_nothing() {
        let before = outcomes(100, &[50], &[("internal", 4)]);
        assert_eq!(since(&outcomes(103, &[51], &[("internal", 4)]), &before), outcomes(3, &[1], &[("internal", 0)]));
        assert_eq!(since(&outcomes(7, &[2], &[("internal", 1)]), &before), outcomes(7, &[2], &[("internal", 1)]));
    }
}
