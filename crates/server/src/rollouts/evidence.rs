//! What a rollout is decided by: from what servers wrote down to evidence.

use std::collections::BTreeMap;

use tidegate_delivery::rollout::{Evidence, Fault, Measured, Rollout, Traffic, Window};
use tidegate_delivery::sequential::{Arms, Counts};
use tidegate_store::RolloutWindow;

use super::bins::bin_ends;
use super::checks::{DISAGREEMENT, ERRORS, INVALID, LATENCY, REJECTED, form};
use super::figures::{Figures, ServerFault};
use super::persisted::{RolloutNotes, target};

/// A server that wrote nothing for so long is gone, in seconds.
const GONE_S: i64 = 5;
/// Scores of the version before by which a bin is chosen.
const SCORES_PER_BIN: usize = 10;

/// What servers have written of the versions of a rollout.
pub(super) struct Seen {
    /// By second, in order.
    seconds: BTreeMap<i64, Arms<Figures>>,
    /// The newest of each server about the new version.
    newest: BTreeMap<String, (i64, Figures)>,
}

impl Seen {
    /// Reads the windows of a rollout up to a second.
    pub(super) fn new(rollout: &Rollout, windows: &[RolloutWindow], until: i64) -> Self {
        let target = target(rollout);
        let mut seen = Self {
            seconds: BTreeMap::new(),
            newest: BTreeMap::new(),
        };
        for window in windows.iter().filter(|one| one.endpoint == target.endpoint) {
            // What cannot be read is of a newer build, which knows more than this one.
            let Ok(figures) = serde_json::from_str::<Figures>(&window.figures) else {
                continue;
            };
            let is_new = window.version == target.to.as_str();
            if is_new {
                let server = window.server.clone();
                seen.newest.insert(server, (window.second, figures.clone()));
            }
            if window.second > until {
                continue;
            }
            let arms = seen.seconds.entry(window.second).or_default();
            match is_new {
                true => arms.candidate.add(&figures),
                false if window.version == target.from.as_str() => arms.control.add(&figures),
                false => {}
            }
        }
        seen
    }

    /// Whether both versions are ready on every server that there is.
    pub(super) fn is_ready(&self, now_s: i64) -> bool {
        let mut ready = self.present(now_s).map(|(_, figures)| figures.is_ready);
        ready
            .next()
            .is_some_and(|first| first && ready.all(|one| one))
    }

    /// The servers on which a version is not ready, in words.
    pub(super) fn unready(&self, now_s: i64) -> Vec<String> {
        let servers = self.present(now_s).filter(|(_, figures)| !figures.is_ready);
        servers
            .map(|(server, _)| format!("a version is not ready on {server}"))
            .collect()
    }

    /// What the servers that there are wrote last.
    fn present(&self, now_s: i64) -> impl Iterator<Item = (&str, &Figures)> {
        let servers = self.newest.iter();
        let present = servers.filter(move |(_, (at, _))| at + GONE_S >= now_s);
        present.map(|(server, (_, figures))| (server.as_str(), figures))
    }

    /// What servers say is wrong with the new version.
    pub(super) fn faults(&self, now_s: i64) -> Vec<Fault> {
        let servers = self
            .newest
            .iter()
            .filter(|(_, (at, _))| at + GONE_S >= now_s);
        let faults = servers.filter_map(|(server, (_, figures))| {
            let fault = figures.fault.as_ref()?;
            Some(match fault {
                ServerFault::NotLoaded(why) => Fault::LoadFailure(format!("{why} (on {server})")),
                ServerFault::BreakerOpen => Fault::BreakerOpen(format!("on {server}")),
                ServerFault::ObjectiveBurns(name) => Fault::ObjectiveBurn(name.clone()),
            })
        });
        faults.collect()
    }

    /// The seconds that a rollout has not seen.
    fn fresh(&self, rollout: &Rollout) -> impl Iterator<Item = (&i64, &Arms<Figures>)> {
        let first = rollout.last_window().cast_signed() + 1;
        self.seconds.range(first..)
    }

    /// Chooses the bins of scores once the version before has given enough of them.
    pub(super) fn choose_bins(&self, rollout: &Rollout, notes: &mut RolloutNotes) {
        for check in &rollout.spec.checks {
            let (metric, Some((bins, false))) = (&check.metric, form(check)) else {
                continue;
            };
            if notes.bins.contains_key(metric) {
                continue;
            }
            let scores = notes.scores.entry(metric.clone()).or_default();
            let seconds = self.fresh(rollout);
            for (_, arms) in seconds {
                scores.extend(arms.control.scores.get(metric).into_iter().flatten());
            }
            if scores.len() >= bins * SCORES_PER_BIN {
                let ends = bin_ends(std::mem::take(scores), bins);
                notes.bins.insert(metric.clone(), ends);
                notes.scores.remove(metric);
            }
        }
    }

    /// What a rollout is decided by, of the windows that it has not seen.
    pub(super) fn evidence(&self, rollout: &Rollout, now_s: i64) -> Evidence {
        let fresh = self.fresh(rollout);
        let traffic = rollout.traffic();
        Evidence {
            // Each decision is one transaction: nobody decides from a state that is not the last one.
            epoch: rollout.epoch,
            windows: fresh
                .map(|(second, arms)| window(*second, arms, rollout, traffic))
                .collect(),
            is_ready: self.is_ready(now_s),
            faults: self.faults(now_s),
            ..Evidence::default()
        }
    }
}

fn window(second: i64, arms: &Arms<Figures>, rollout: &Rollout, traffic: Traffic) -> Window {
    let gets_copies = traffic.copies > tidegate_delivery::policy::Share::NONE;
    let mut requests = arms.as_ref().map(|figures| figures.requests);
    let mut errors = arms
        .as_ref()
        .map(|figures| Counts::new(figures.errors, figures.sampled));
    let rejected = arms
        .as_ref()
        .map(|figures| Counts::new(figures.rejected, figures.sampled));
    if gets_copies {
        let copies = &arms.candidate;
        requests.candidate = copies.compared + copies.failed_copies;
        errors.candidate = Counts::new(copies.failed_copies, requests.candidate);
    }
    let invalid = arms
        .as_ref()
        .map(|figures| Counts::new(figures.invalid, figures.answers));
    let latencies = arms.as_ref().map(Figures::latency_histogram);
    let pairs = Counts::new(arms.candidate.disagreed, arms.candidate.compared);
    let mut metrics = BTreeMap::from([
        (ERRORS.to_owned(), Measured::Share(errors)),
        (REJECTED.to_owned(), Measured::Share(rejected)),
        (INVALID.to_owned(), Measured::Share(invalid)),
        (LATENCY.to_owned(), Measured::Histogram(latencies)),
        (DISAGREEMENT.to_owned(), Measured::Pairs(pairs)),
    ]);
    for check in &rollout.spec.checks {
        if let Some((bins, _)) = form(check) {
            let metric = &check.metric;
            let outputs = arms
                .as_ref()
                .map(|figures| figures.output_histogram(metric, bins));
            metrics.insert(metric.clone(), Measured::Histogram(outputs));
        }
    }
    Window {
        number: second.cast_unsigned(),
        // It was written at the end of what it counts.
        start_ms: second.cast_unsigned().saturating_sub(1) * 1000,
        requests,
        metrics,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_delivery::policy::{Share, VersionName};
    use tidegate_delivery::rollout::{RolloutSpec, Target};

    use super::*;

    fn rollout() -> Rollout {
        let target = Target {
            endpoint: "m".to_owned(),
            from: VersionName::number(1),
            to: VersionName::number(2),
        };
        let spec = RolloutSpec::canary(target, &[Share::ALL]);
        Rollout::new("m-1", spec, 0)
    }

    fn written(second: i64, server: &str, version: &str, figures: &Figures) -> RolloutWindow {
        RolloutWindow {
            second,
            endpoint: "m".to_owned(),
            version: version.to_owned(),
            server: server.to_owned(),
            figures: serde_json::to_string(figures).unwrap(),
        }
    }

    fn ready(requests: u64) -> Figures {
        Figures {
            requests,
            is_ready: true,
            ..Figures::default()
        }
    }

    #[test]
    fn servers_add_up_second_by_second() {
        let windows = [
            written(10, "a", "1", &ready(90)),
            written(10, "a", "2", &ready(10)),
            written(10, "b", "2", &ready(5)),
            written(11, "b", "2", &ready(1)),
        ];
        let rollout = rollout();
        let seen = Seen::new(&rollout, &windows, 10);
        let evidence = seen.evidence(&rollout, 11);
        assert_eq!(evidence.windows.len(), 1, "second 11 may not be complete");
        assert_eq!(evidence.windows[0].requests, Arms::new(15, 90));
        assert!(evidence.is_ready);
    }

    #[test]
    fn every_server_that_is_there_must_be_ready() {
        let windows = [
            written(10, "a", "2", &ready(0)),
            written(2, "gone", "2", &Figures::default()),
        ];
        assert!(Seen::new(&rollout(), &windows, 10).is_ready(10));
        let unready = [&windows[..], &[written(10, "b", "2", &Figures::default())]].concat();
        assert!(!Seen::new(&rollout(), &unready, 10).is_ready(10));
        assert!(
            !Seen::new(&rollout(), &[], 10).is_ready(10),
            "nobody said so"
        );
    }
}
