//! What there is to see of a server: the figures of `/metrics` and `/api`, made into what people
//! read.

use std::collections::{BTreeMap, BTreeSet};

use super::watch::{Gone, Moment};
use crate::ask::{Alert, Event, Figures, Look, Objective, quantile};

const REQUEST: &str = "tidegate_request_duration_seconds";
const ANSWERED: &str = "nv_inference_request_success";
const MODEL: &str = "model";
const FAILURE: &str = "nv_inference_request_failure";

/// A server at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) server: String,
    /// Since when it does not answer; the rest is as it was before, then.
    pub(super) gone: Option<Gone>,
    pub(super) header: Option<Header>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) objectives: Vec<Objective>,
    /// Those that fire or are pending, the worst first.
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
    /// What is amiss.
    pub(super) problems: Vec<String>,
    pub(super) up_s: Option<f64>,
    /// Processors in use.
    pub(super) processors: f64,
    pub(super) memory_bytes: f64,
    pub(super) memory_left_bytes: Option<f64>,
    pub(super) connections: f64,
    /// Answered requests a second, of all endpoints.
    pub(super) rate: f64,
}

/// A model, or a version of one, and how its requests fare.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Endpoint {
    pub(super) model: String,
    /// Empty for a model with all of its versions.
    pub(super) version: String,
    /// Where it stands, as the repository index says; of a model the best of its versions.
    pub(super) state: String,
    pub(super) aliases: Vec<String>,
    pub(super) memory_bytes: Option<u64>,
    /// Answered requests a second since the look before.
    pub(super) rate: f64,
    /// Failed requests a second.
    pub(super) failing: f64,
    /// Percentiles of the last minute in milliseconds, where requests were answered.
    pub(super) p50_ms: Option<f64>,
    pub(super) p95_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) waiting: f64,
    /// Rows that ran together, on average over the last minute.
    pub(super) batch: Option<f64>,
    /// Failures of the last minute by reason.
    pub(super) reasons: Vec<(String, f64)>,
    /// Of a model: each of its versions.
    pub(super) versions: Vec<Endpoint>,
}

impl View {
    /// What a look shows, with the metrics of the look before and those of a minute ago.
    pub(super) fn of(
        server: &str,
        look: Option<&Look>,
        previous: &Moment,
        oldest: &Moment,
        gone: Option<Gone>,
    ) -> Self {
        let server = server.to_owned();
        let Some(look) = look else {
            return Self {
                server,
                gone,
                ..Self::default()
            };
        };
        let seconds =
            (previous.at_ms > 0).then(|| look.at_ms.saturating_sub(previous.at_ms) as f64 / 1000.0);
        let growths = |now, previous, oldest| Growths {
            look,
            now,
            previous,
            oldest,
            seconds,
        };
        let whole = growths(&look.figures, &previous.figures, &oldest.figures);
        let mut alerts: Vec<Alert> = look
            .alerts
            .iter()
            .filter(|alert| matches!(alert.state.as_str(), "firing" | "pending"))
            .cloned()
            .collect();
        alerts.sort_by_key(|alert| {
            (
                alert.state != "firing",
                alert.severity != "page",
                alert.since_ms,
            )
        });
        let (now, before) = (look.figures.split(MODEL), previous.figures.split(MODEL));
        let (oldest, nothing) = (oldest.figures.split(MODEL), Figures::default());
        let endpoints = names(look).into_iter().map(|(model, versions)| {
            let [now, before, oldest] =
                [&now, &before, &oldest].map(|parts| parts.get(&model).unwrap_or(&nothing));
            growths(now, before, oldest).model(&model, &versions)
        });
        Self {
            endpoints: endpoints.collect(),
            server,
            gone,
            header: Some(whole.header()),
            objectives: look.objectives.clone(),
            alerts,
            events: look.events.iter().take(100).cloned().collect(),
        }
    }
}

/// Every model that is known or counted, with its versions.
fn names(look: &Look) -> BTreeMap<String, BTreeSet<String>> {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in &look.index {
        names
            .entry(entry.name.clone())
            .or_default()
            .insert(entry.version.clone());
    }
    for series in look.figures.series(ANSWERED) {
        names
            .entry(series.label(MODEL).to_owned())
            .or_default()
            .insert(series.label("version").to_owned());
    }
    names
}

/// Metrics, of all or of one model, and what they are compared with.
struct Growths<'a> {
    look: &'a Look,
    now: &'a Figures,
    /// Those of the look before,
    previous: &'a Figures,
    /// which was so many seconds ago, if there was one.
    seconds: Option<f64>,
    /// Those of a minute ago.
    oldest: &'a Figures,
}

impl Growths<'_> {
    /// How fast a counter grows per second; 0 before there is anything to compare with.
    fn rate(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let seconds = self.seconds.filter(|seconds| *seconds > 0.0);
        seconds.map_or(0.0, |seconds| {
            self.now.growth(self.previous, name, labels) / seconds
        })
    }

    fn header(&self) -> Header {
        let look = self.look;
        let figures = self.now;
        let state = match (&look.not_ready, look.problems.is_empty()) {
            (Some(_), _) => "not ready",
            (None, false) => "degraded",
            (None, true) => "ready",
        };
        let server_ms = look
            .at_ms
            .saturating_add_signed(look.clock_ahead_ms.unwrap_or(0)) as f64;
        let began = figures.value("process_start_time_seconds");
        Header {
            at_ms: look.at_ms,
            version: look.version.clone(),
            state,
            problems: look
                .not_ready
                .iter()
                .chain(&look.problems)
                .cloned()
                .collect(),
            up_s: began.map(|began| (server_ms / 1000.0 - began).max(0.0)),
            processors: self.rate("tidegate_process_cpu_seconds_total", &[]),
            memory_bytes: figures
                .value("process_resident_memory_bytes")
                .unwrap_or(0.0),
            memory_left_bytes: figures.value("tidegate_memory_available_bytes"),
            connections: figures.value("tidegate_open_connections").unwrap_or(0.0),
            rate: self.rate(ANSWERED, &[]),
        }
    }

    fn model(&self, model: &str, versions: &BTreeSet<String>) -> Endpoint {
        let mut own = self.endpoint(model, "");
        own.versions = versions
            .iter()
            .filter(|version| !version.is_empty())
            .map(|version| self.endpoint(model, version))
            .collect();
        own.versions
            .sort_by_key(|version| std::cmp::Reverse(version.version.parse::<u64>().unwrap_or(0)));
        own
    }

    /// The figures of a version, or of a model where that is empty.
    fn endpoint(&self, model: &str, version: &str) -> Endpoint {
        let mut labels = vec![("model", model)];
        if !version.is_empty() {
            labels.push(("version", version));
        }
        let percentile = |share| {
            let seconds = quantile(share, self.now, self.oldest, REQUEST, &labels);
            seconds.map(|seconds| seconds * 1000.0)
        };
        let grown = |name| self.now.growth(self.oldest, name, &labels);
        let batches = grown("nv_inference_exec_count");
        let entries = self.look.index.iter().filter(|entry| entry.name == model);
        let entries: Vec<_> = entries
            .filter(|entry| version.is_empty() || entry.version == version)
            .collect();
        let ready = entries
            .iter()
            .find(|entry| entry.state == "READY")
            .or(entries.first());
        let memory: Vec<u64> = entries
            .iter()
            .filter_map(|entry| entry.memory_bytes)
            .collect();
        let mut aliases: Vec<String> = entries
            .iter()
            .flat_map(|entry| entry.aliases.clone())
            .collect();
        aliases.sort();
        Endpoint {
            model: model.to_owned(),
            version: version.to_owned(),
            state: ready.map_or_else(|| "gone".to_owned(), |entry| entry.stage()),
            aliases,
            memory_bytes: (!memory.is_empty()).then(|| memory.iter().sum()),
            rate: self.rate(ANSWERED, &labels),
            failing: self.rate(FAILURE, &labels),
            p50_ms: percentile(0.5),
            p95_ms: percentile(0.95),
            p99_ms: percentile(0.99),
            waiting: self
                .now
                .sum("nv_inference_pending_request_count", &labels)
                .unwrap_or(0.0),
            batch: (batches > 0.0).then(|| grown("nv_inference_count") / batches),
            reasons: self.reasons(&labels),
            versions: Vec::new(),
        }
    }

    fn reasons(&self, labels: &[(&str, &str)]) -> Vec<(String, f64)> {
        let reasons = self
            .now
            .values_of(FAILURE, "reason")
            .into_iter()
            .map(|reason| {
                let labels: Vec<(&str, &str)> = labels
                    .iter()
                    .copied()
                    .chain([("reason", reason.as_str())])
                    .collect();
                let count = self.now.growth(self.oldest, FAILURE, &labels);
                (reason, count)
            });
        reasons.filter(|(_, count)| *count > 0.0).collect()
    }
}
