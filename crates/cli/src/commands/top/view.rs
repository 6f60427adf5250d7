//! What `top` shows of a server, computed from its metrics and its API.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::history::{TimedMetrics, Unreachable};
use crate::client::{Alert, Event, IndexEntry, MetricSamples, Objective, ServerSnapshot, quantile};

const DURATION: &str = "tidegate_request_duration_seconds";
const SUCCESS: &str = "nv_inference_request_success";
const MODEL: &str = "model";
const FAILURE: &str = "nv_inference_request_failure";
const QUEUED: &str = "nv_inference_pending_request_count";
/// Events that the view keeps, newest first.
const MAX_EVENTS: usize = 100;

/// A server at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) server: String,
    /// Since when the server does not respond; the rest is then of the last snapshot.
    pub(super) unreachable: Option<Unreachable>,
    pub(super) header: Option<Header>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) objectives: Vec<Objective>,
    /// Firing and pending alerts, the worst first.
    pub(super) alerts: Vec<Alert>,
    /// The newest first.
    pub(super) events: Vec<Event>,
}

/// The server as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Header {
    pub(super) at_ms: u64,
    pub(super) version: String,
    /// `ready`, `degraded` or `not ready`.
    pub(super) state: &'static str,
    /// Why it is not ready, and other problems.
    pub(super) problems: Vec<String>,
    pub(super) up_s: Option<f64>,
    /// Processors in use.
    pub(super) processors: f64,
    pub(super) memory_bytes: f64,
    pub(super) memory_left_bytes: Option<f64>,
    pub(super) connections: f64,
    /// Successful requests per second, of all endpoints.
    pub(super) rate: f64,
}

/// The traffic of a model, or of a version of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Endpoint {
    pub(super) model: String,
    /// Empty for a model with all of its versions.
    pub(super) version: String,
    /// The state in the repository index; for a model, of its best version.
    pub(super) state: String,
    pub(super) aliases: Vec<String>,
    pub(super) memory_bytes: Option<u64>,
    /// Successful requests per second since the snapshot before.
    pub(super) rate: f64,
    /// Failed requests per second.
    pub(super) failing: f64,
    /// Latency of successful requests in the last minute; `None` if there were none.
    pub(super) p50_ms: Option<f64>,
    pub(super) p95_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    /// Queued requests.
    pub(super) waiting: f64,
    /// Mean rows per batch over the last minute.
    pub(super) batch: Option<f64>,
    /// Failures of the last minute by reason.
    pub(super) reasons: Vec<(String, f64)>,
    /// For a model: its versions, the newest first.
    pub(super) versions: Vec<Endpoint>,
}

impl View {
    /// The view of a snapshot, with the metrics of the one before and those of a minute ago.
    pub(super) fn new(
        snapshot: &ServerSnapshot,
        previous: &TimedMetrics,
        oldest: &TimedMetrics,
    ) -> Self {
        let elapsed_ms = snapshot.at_ms.saturating_sub(previous.at_ms);
        let comparison = Comparison {
            snapshot,
            now: &snapshot.metrics,
            previous: &previous.metrics,
            oldest: &oldest.metrics,
            // The first snapshot has none to be compared with.
            seconds: (previous.at_ms > 0).then_some(elapsed_ms as f64 / 1000.0),
        };
        Self {
            server: String::new(),
            unreachable: None,
            header: Some(comparison.header()),
            endpoints: comparison.endpoints(),
            objectives: snapshot.objectives.clone(),
            alerts: active_alerts(&snapshot.alerts),
            events: snapshot.events.iter().take(MAX_EVENTS).cloned().collect(),
        }
    }
}

/// Firing alerts before pending ones, pages before others, the oldest first.
fn active_alerts(alerts: &[Alert]) -> Vec<Alert> {
    let mut active: Vec<Alert> = alerts
        .iter()
        .filter(|alert| matches!(alert.state.as_str(), "firing" | "pending"))
        .cloned()
        .collect();
    active.sort_by_key(|alert| {
        let is_page = alert.severity == "page";
        (alert.state != "firing", !is_page, alert.since_ms)
    });
    active
}

/// Every model of the index or of the metrics, with its versions.
fn versions_by_model(snapshot: &ServerSnapshot) -> BTreeMap<String, BTreeSet<String>> {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in &snapshot.index {
        let model = versions.entry(entry.name.clone()).or_default();
        model.insert(entry.version.clone());
    }
    // Versions that were unloaded are in the metrics only.
    for series in snapshot.metrics.series(SUCCESS) {
        let model = versions.entry(series.label(MODEL).to_owned()).or_default();
        model.insert(series.label("version").to_owned());
    }
    versions
}

/// Metrics, of the whole server or of one model, and those that they are compared with.
struct Comparison<'a> {
    snapshot: &'a ServerSnapshot,
    now: &'a MetricSamples,
    /// Of the snapshot before.
    previous: &'a MetricSamples,
    /// How many seconds ago `previous` was taken; `None` if there is none.
    seconds: Option<f64>,
    /// Of a minute ago.
    oldest: &'a MetricSamples,
}

impl Comparison<'_> {
    fn endpoints(&self) -> Vec<Endpoint> {
        // Grouped once: a server may have ten thousand models.
        let now = self.now.group_by(MODEL);
        let previous = self.previous.group_by(MODEL);
        let oldest = self.oldest.group_by(MODEL);
        let none = MetricSamples::default();
        versions_by_model(self.snapshot)
            .iter()
            .map(|(model, versions)| {
                let of_model = Comparison {
                    now: now.get(model).unwrap_or(&none),
                    previous: previous.get(model).unwrap_or(&none),
                    oldest: oldest.get(model).unwrap_or(&none),
                    ..*self
                };
                of_model.model(model, versions)
            })
            .collect()
    }

    /// The increase of a counter per second; 0 if there is nothing to compare with.
    fn rate(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        match self.seconds {
            Some(seconds) if seconds > 0.0 => {
                self.now.increase(self.previous, name, labels) / seconds
            }
            _ => 0.0,
        }
    }

    fn header(&self) -> Header {
        let snapshot = self.snapshot;
        let state = match (&snapshot.not_ready, snapshot.problems.is_empty()) {
            (Some(_), _) => "not ready",
            (None, false) => "degraded",
            (None, true) => "ready",
        };
        let problems = snapshot.not_ready.iter().chain(&snapshot.problems);
        Header {
            at_ms: snapshot.at_ms,
            version: snapshot.version.clone(),
            state,
            problems: problems.cloned().collect(),
            up_s: self.up_s(),
            processors: self.rate("tidegate_process_cpu_seconds_total", &[]),
            memory_bytes: self
                .now
                .value("process_resident_memory_bytes")
                .unwrap_or(0.0),
            memory_left_bytes: self.now.value("tidegate_memory_available_bytes"),
            connections: self.now.value("tidegate_open_connections").unwrap_or(0.0),
            rate: self.rate(SUCCESS, &[]),
        }
    }

    /// How long the server has been running, by its own clock.
    fn up_s(&self) -> Option<f64> {
        let start_s = self.now.value("process_start_time_seconds")?;
        let ahead_ms = self.snapshot.clock_ahead_ms.unwrap_or(0);
        let server_ms = self.snapshot.at_ms.saturating_add_signed(ahead_ms) as f64;
        // The estimate of the server's clock may be wrong by a second.
        Some((server_ms / 1000.0 - start_s).max(0.0))
    }

    fn model(&self, model: &str, versions: &BTreeSet<String>) -> Endpoint {
        let mut endpoint = self.endpoint(model, "");
        endpoint.versions = versions
            .iter()
            .filter(|version| !version.is_empty())
            .map(|version| self.endpoint(model, version))
            .collect();
        endpoint
            .versions
            // As numbers: version 10 is newer than 9.
            .sort_by_key(|version| Reverse(version.version.parse::<u64>().unwrap_or(0)));
        endpoint
    }

    /// The figures of a version, or of a model if that is empty.
    fn endpoint(&self, model: &str, version: &str) -> Endpoint {
        let mut labels = vec![("model", model)];
        if !version.is_empty() {
            labels.push(("version", version));
        }
        let entries = self.entries(model, version);
        let ready = entries.iter().find(|entry| entry.state == "READY");
        let state = ready.or(entries.first()).map(|entry| entry.stage());
        let mut aliases: Vec<String> = entries
            .iter()
            .flat_map(|entry| entry.aliases.clone())
            .collect();
        aliases.sort();
        Endpoint {
            model: model.to_owned(),
            version: version.to_owned(),
            // Its counters are still in the metrics, but the index lacks it: it was unloaded.
            state: state.unwrap_or_else(|| "gone".to_owned()),
            aliases,
            memory_bytes: total_memory(&entries),
            rate: self.rate(SUCCESS, &labels),
            failing: self.rate(FAILURE, &labels),
            p50_ms: self.percentile_ms(0.5, &labels),
            p95_ms: self.percentile_ms(0.95, &labels),
            p99_ms: self.percentile_ms(0.99, &labels),
            waiting: self.now.sum(QUEUED, &labels).unwrap_or(0.0),
            batch: self.mean_batch(&labels),
            reasons: self.failure_reasons(&labels),
            versions: Vec::new(),
        }
    }

    fn entries(&self, model: &str, version: &str) -> Vec<&IndexEntry> {
        self.snapshot
            .index
            .iter()
            .filter(|entry| entry.name == model)
            .filter(|entry| version.is_empty() || entry.version == version)
            .collect()
    }

    fn percentile_ms(&self, share: f64, labels: &[(&str, &str)]) -> Option<f64> {
        let seconds = quantile(share, self.now, self.oldest, DURATION, labels)?;
        Some(seconds * 1000.0)
    }

    /// Rows per executed batch, over the last minute.
    fn mean_batch(&self, labels: &[(&str, &str)]) -> Option<f64> {
        let batches = self.last_minute("nv_inference_exec_count", labels);
        let rows = self.last_minute("nv_inference_count", labels);
        (batches > 0.0).then(|| rows / batches)
    }

    /// Failures of the last minute, by reason.
    fn failure_reasons(&self, labels: &[(&str, &str)]) -> Vec<(String, f64)> {
        let mut reasons = Vec::new();
        for reason in self.now.label_values(FAILURE, "reason") {
            let mut labels = labels.to_vec();
            labels.push(("reason", &reason));
            let count = self.last_minute(FAILURE, &labels);
            if count > 0.0 {
                reasons.push((reason, count));
            }
        }
        reasons
    }

    fn last_minute(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.now.increase(self.oldest, name, labels)
    }
}

/// `None` if the server knows it of no version.
fn total_memory(entries: &[&IndexEntry]) -> Option<u64> {
    entries
        .iter()
        .filter_map(|entry| entry.memory_bytes)
        .reduce(|total, bytes| total + bytes)
}
