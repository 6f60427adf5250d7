//! What this server answers with the versions that rollouts compare.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_delivery::rollout::Rollout;
use tidegate_observe::SERVER_FAULTS;
use tidegate_serving::{
    Observation, Outcome, OutputValue, OutputWatch, Serving, ShadowReport, WatchedVersion,
};
use tidegate_store::NewRolloutWindow;

use super::checks::{CLASS, OUTPUT, form};
use super::figures::Figures;
use super::persisted::{PersistedRollouts, target};

/// Counts of the endpoints that have a rollout, since they were taken last.
#[derive(Debug, Default)]
pub(super) struct Counting {
    /// By endpoint.
    endpoints: BTreeMap<String, CountedEndpoint>,
}

/// The counts of an endpoint.
#[derive(Debug)]
struct CountedEndpoint {
    rollout: String,
    from: String,
    to: String,
    outputs: Vec<OutputMetric>,
    watch: Arc<OutputWatch>,
    /// Requests, by version.
    requests: BTreeMap<String, Figures>,
    /// The figures of copies that were taken before.
    copies_before: CopyCounts,
}

/// An output whose distribution is compared.
#[derive(Clone, Debug, PartialEq)]
struct OutputMetric {
    metric: String,
    bins: usize,
    classes: bool,
    /// The upper ends of the bins of scores, once they are chosen.
    ends: Option<Vec<f64>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct CopyCounts {
    compared: u64,
    disagreed: u64,
    failed: u64,
}

impl Counting {
    /// Counts the versions of these rollouts from now on, and no others.
    pub(super) fn follow(&mut self, persisted: &PersistedRollouts, serving: &Serving) {
        let mut before = std::mem::take(&mut self.endpoints);
        for rollout in &persisted.rollouts.active {
            let endpoint = target(rollout).endpoint.clone();
            let same = before.remove(&endpoint);
            let same = same.filter(|counted| counted.rollout == rollout.id);
            let mut counted = same.unwrap_or_else(|| CountedEndpoint::new(rollout));
            counted.outputs = output_metrics(rollout, persisted);
            self.endpoints.insert(endpoint, counted);
        }
        let watches = self.endpoints.iter();
        let watches = watches.map(|(endpoint, counted)| (endpoint.clone(), counted.watch.clone()));
        serving.traffic().watch_outputs(watches);
    }

    /// Adds finished requests whose version the policy has chosen. Runs beside the path of requests, and
    /// does nothing without a rollout.
    pub(super) fn add(&mut self, finished: &[Observation]) {
        if self.endpoints.is_empty() {
            return;
        }
        for one in finished {
            let Some((endpoint, version)) = one.chosen_version() else {
                continue;
            };
            if let Some(counted) = self.endpoints.get_mut(&**endpoint) {
                counted.add(version, one);
            }
        }
    }

    /// Takes the counts of an endpoint: of the version before, and of the new one.
    pub(super) fn take(&mut self, endpoint: &str, serving: &Serving) -> Option<[Figures; 2]> {
        let counted = self.endpoints.get_mut(endpoint)?;
        let mut reports = serving.traffic().shadow_reports(endpoint);
        let report = reports.remove(&counted.to).unwrap_or_default();
        let mut outputs = counted.watch.take();
        let versions = [counted.from.clone(), counted.to.clone()];
        let mut taken = versions.map(|version| {
            let mut figures = counted.requests.remove(&version).unwrap_or_default();
            let watched = outputs.remove(&version).unwrap_or_default();
            counted.add_outputs(&mut figures, &watched);
            figures
        });
        counted.add_copies(&mut taken[1], &report);
        Some(taken)
    }

    /// The windows of both versions of an endpoint.
    pub(super) fn windows(&self, endpoint: &str, figures: &[Figures; 2]) -> Vec<NewRolloutWindow> {
        let Some(counted) = self.endpoints.get(endpoint) else {
            return Vec::new();
        };
        let versions = [&counted.from, &counted.to].into_iter().zip(figures);
        let windows = versions.map(|(version, figures)| NewRolloutWindow {
            endpoint: endpoint.to_owned(),
            version: version.clone(),
            figures: serde_json::to_string(figures).unwrap_or_default(),
        });
        windows.collect()
    }
}

impl CountedEndpoint {
    fn new(rollout: &Rollout) -> Self {
        Self {
            rollout: rollout.id.clone(),
            from: target(rollout).from.to_string(),
            to: target(rollout).to.to_string(),
            outputs: Vec::new(),
            watch: Arc::default(),
            requests: BTreeMap::new(),
            copies_before: CopyCounts::default(),
        }
    }

    fn add(&mut self, version: &str, one: &Observation) {
        if version != self.from && version != self.to {
            return;
        }
        let figures = self.requests.entry(version.to_owned()).or_default();
        figures.requests += 1;
        if !one.is_evidence {
            return;
        }
        figures.sampled += 1;
        match (one.outcome, &one.fallback) {
            // Another choice has answered because this version failed.
            (Outcome::Answered, Some(fallback)) if is_fault(fallback.reason.name()) => {
                figures.errors += 1;
            }
            (Outcome::Answered, Some(_)) => figures.rejected += 1,
            // What the cache gives says nothing of how fast a version is.
            (Outcome::Answered, None) if was_cached(one) => {}
            // A client that gave up has waited at least so long.
            (Outcome::Answered, None) | (Outcome::Abandoned, _) => figures.count_time(one.total),
            (Outcome::Failed(code), _) if is_fault(code.name()) => figures.errors += 1,
            (Outcome::Failed(_), _) => figures.rejected += 1,
        }
    }

    fn add_outputs(&self, figures: &mut Figures, watched: &WatchedVersion) {
        figures.answers += watched.answers;
        figures.invalid += watched.invalid;
        for output in &self.outputs {
            let metric = &output.metric;
            let name = metric.strip_prefix(OUTPUT).or(metric.strip_prefix(CLASS));
            let mut outputs = watched.outputs.iter();
            let watched = outputs.find(|watched| Some(watched.name.as_str()) == name);
            if let Some(watched) = watched {
                output.add(figures, &watched.values);
            }
        }
    }

    fn add_copies(&mut self, figures: &mut Figures, report: &ShadowReport) {
        let now = CopyCounts {
            compared: report.compared,
            disagreed: report.compared - report.agreed,
            failed: report.failed,
        };
        let mut before = std::mem::replace(&mut self.copies_before, now);
        if now.compared < before.compared || now.failed < before.failed {
            // The report began anew with another policy.
            before = CopyCounts::default();
        }
        figures.compared += now.compared - before.compared;
        figures.disagreed += now.disagreed.saturating_sub(before.disagreed);
        figures.failed_copies += now.failed - before.failed;
    }
}

impl OutputMetric {
    fn add(&self, figures: &mut Figures, values: &[OutputValue]) {
        let metric = &self.metric;
        if !self.classes && self.ends.is_none() {
            let scores = values.iter().filter_map(|value| value.score);
            let all = figures.scores.entry(metric.clone()).or_default();
            all.extend(scores);
            return;
        }
        let bins = figures.outputs.entry(metric.clone()).or_default();
        for bin in values.iter().filter_map(|value| self.bin(value)) {
            *bins.entry(bin).or_default() += 1;
        }
    }

    fn bin(&self, value: &OutputValue) -> Option<usize> {
        if self.classes {
            return usize::try_from(value.class % self.bins as u64).ok();
        }
        let score = value.score?;
        let ends = self.ends.as_ref()?;
        Some(ends.partition_point(|end| *end < score))
    }
}

/// The outputs that the checks of a rollout compare, each once.
fn output_metrics(rollout: &Rollout, persisted: &PersistedRollouts) -> Vec<OutputMetric> {
    let chosen = persisted.notes.get(&rollout.id).map(|notes| &notes.bins);
    let mut metrics: Vec<OutputMetric> = Vec::new();
    for check in &rollout.spec.checks {
        let Some((bins, classes)) = form(check) else {
            continue;
        };
        let metric = check.metric.clone();
        if metrics.iter().all(|known| known.metric != metric) {
            let ends = chosen.and_then(|chosen| chosen.get(&metric)).cloned();
            metrics.push(OutputMetric {
                metric,
                bins,
                classes,
                ends,
            });
        }
    }
    metrics
}

fn was_cached(one: &Observation) -> bool {
    one.timing.queue.is_zero() && one.timing.compute_infer.is_zero()
}

fn is_fault(code: &str) -> bool {
    SERVER_FAULTS.contains(&code)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_delivery::policy::{Share, VersionName};
    use tidegate_delivery::rollout::{RolloutSpec, Target};
    use tidegate_serving::{ErrorCode, MetricRegistry, RequestMetrics};

    use super::*;

    fn counted() -> CountedEndpoint {
        let target = Target {
            endpoint: "m".to_owned(),
            from: VersionName::number(1),
            to: VersionName::number(2),
        };
        let spec = RolloutSpec::canary(target, &[Share::ALL]);
        CountedEndpoint::new(&Rollout::new("m-1", spec, 0))
    }

    #[test]
    fn failures_count_against_the_version_that_was_chosen() {
        let metrics = RequestMetrics::new(&MetricRegistry::new());
        let of = |version, outcome| {
            let took = Duration::from_millis(1);
            let one = metrics.example_observation(Some(("m", version)), outcome, took);
            one.as_chosen()
        };
        let named = metrics.example_observation(
            Some(("m", "2")),
            Outcome::Failed(ErrorCode::ExecutionFailed),
            Duration::ZERO,
        );
        let mut counting = Counting::default();
        counting.endpoints.insert("m".to_owned(), counted());
        counting.add(&[
            of("1", Outcome::Answered),
            of("2", Outcome::Failed(ErrorCode::ExecutionFailed)),
            of("2", Outcome::Failed(ErrorCode::UnknownInput)),
            of("2", Outcome::Abandoned),
            of("3", Outcome::Answered),
            named,
        ]);
        let requests = &counting.endpoints["m"].requests;
        let of = |version: &str| {
            let figures = &requests[version];
            [
                figures.requests,
                figures.sampled,
                figures.errors,
                figures.rejected,
            ]
        };
        assert_eq!(of("1"), [1, 1, 0, 0]);
        assert_eq!(of("2"), [3, 3, 1, 1]);
        let waited: u64 = requests["2"].latencies.values().sum();
        assert_eq!(waited, 1, "by the client that gave up");
        assert!(!requests.contains_key("3"));
    }

    #[test]
    fn scores_are_kept_until_their_bins_are_chosen() {
        let value = |score| OutputValue {
            score: Some(score),
            class: 0,
        };
        let mut output = OutputMetric {
            metric: "output:y".to_owned(),
            bins: 3,
            classes: false,
            ends: None,
        };
        let mut figures = Figures::default();
        output.add(&mut figures, &[value(0.1), value(0.9)]);
        assert_eq!(figures.scores["output:y"], [0.1, 0.9]);
        output.ends = Some(vec![0.2, 0.5]);
        output.add(
            &mut figures,
            &[value(0.2), value(0.3), value(0.6), value(7.0)],
        );
        assert_eq!(figures.output_histogram("output:y", 3), [1, 1, 2]);
    }

    #[test]
    fn copies_count_once_also_if_their_report_begins_anew() {
        let mut endpoint = counted();
        let report = |compared, agreed| ShadowReport {
            compared,
            agreed,
            ..ShadowReport::default()
        };
        let mut figures = Figures::default();
        for (compared, agreed) in [(5, 4), (7, 5), (1, 0)] {
            endpoint.add_copies(&mut figures, &report(compared, agreed));
        }
        assert_eq!((figures.compared, figures.disagreed), (8, 3));
    }
}
