//! The results of a load test.

mod csv;
mod html;
mod latency;
mod plot;
#[cfg(test)]
pub(crate) mod tests;
mod text;

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

pub use self::latency::{Latency, Quantile};
pub(crate) use self::text::time;
use crate::failure::FailureKind;
use crate::plan::{Pattern, Phase, Plan};
use crate::record::Window;
use crate::schedule::{Arrival, Arrivals};
use crate::slo::{Breach, Objective};
use crate::target::Protocol;

/// A request that left later than this after its time is counted as late.
const LATE: Duration = Duration::from_millis(1);
/// A generator with more late requests than this did not keep up.
const LATE_SHARE: f64 = 0.01;
/// A generator that sent less than its rate by more than this did not make the requested load.
const SHORTFALL: f64 = 0.05;

/// The results of a load test, with its settings.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of the generator.
    pub version: &'static str,
    /// The server.
    pub target: String,
    /// The protocol of the requests.
    pub protocol: Protocol,
    /// A description of the requests, for people.
    pub what: String,
    /// Threads that sent.
    pub threads: usize,
    /// How long the client waited for an answer.
    pub timeout_s: f64,
    /// The deadline that goodput is counted by.
    pub deadline_s: Option<f64>,
    /// The seed for the choice of requests and of gaps.
    pub seed: u64,
    /// The objectives that the runs are checked against.
    pub objectives: Vec<String>,
    /// The objectives that runs did not meet.
    pub breaches: Vec<Breach>,
    /// Whether the runs were made to find the highest rate that meets the objectives.
    pub is_search: bool,
    /// That rate, if one was found.
    pub highest_per_s: Option<f64>,
    /// Every run, in the order in which they were made.
    pub runs: Vec<Run>,
}

impl Report {
    /// A report on a plan, without runs yet.
    pub fn new(plan: &Plan, what: &str) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            target: plan.target.url(),
            protocol: plan.target.protocol(),
            what: what.to_owned(),
            threads: plan.threads,
            timeout_s: plan.timeout.as_secs_f64(),
            deadline_s: plan.deadline.map(|deadline| deadline.as_secs_f64()),
            seed: plan.seed,
            objectives: Vec::new(),
            breaches: Vec::new(),
            is_search: false,
            highest_per_s: None,
            runs: Vec::new(),
        }
    }

    /// Checks all runs against objectives.
    pub fn check(&mut self, objectives: &[Objective]) {
        self.objectives = objectives.iter().map(ToString::to_string).collect();
        self.breaches.clear();
        for run in &self.runs {
            let breaches = objectives
                .iter()
                .filter_map(|objective| objective.breach(run));
            self.breaches.extend(breaches);
        }
    }

    /// Whether the objectives are met: by every run, or in a search by one.
    pub fn is_met(&self) -> bool {
        if self.is_search {
            self.highest_per_s.is_some()
        } else {
            self.breaches.is_empty()
        }
    }

    /// The report as a table for a terminal.
    pub fn to_text(&self) -> String {
        text::render(self)
    }

    /// The report as CSV, one line a run.
    pub fn to_csv(&self) -> String {
        csv::render(self)
    }

    /// The report as a page with plots that needs nothing else.
    pub fn to_html(&self) -> String {
        html::render(self)
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("names and numbers become JSON")
    }
}

/// One load, or one part of a load with several rates.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// What distinguishes this run, such as `concurrency=8`.
    pub label: String,
    /// Clients at once, in a closed loop.
    pub concurrency: Option<usize>,
    /// Requests per second that were meant to be sent, in an open loop with one rate.
    pub offered_per_s: Option<f64>,
    /// The spread of the gaps, in an open loop with one rate.
    pub arrival: Option<Arrival>,
    /// The time that was measured.
    pub length_s: f64,
    /// Requests that were meant to be sent: answers, refusals, errors, dropped and unsent together.
    pub requests: u64,
    /// Requests with a whole, successful answer.
    pub answers: u64,
    /// Requests that the server refused for now: 429, 503, 504 and the like.
    pub refusals: u64,
    /// Requests that failed in any other way.
    pub errors: u64,
    /// Requests that were not sent because `max_outstanding` were in flight.
    pub dropped: u64,
    /// Answers per second.
    pub throughput_per_s: f64,
    /// Rows answered per second.
    pub rows_per_s: f64,
    /// Answers per second within the deadline, if there is one.
    pub goodput_per_s: Option<f64>,
    /// Of answers, from when the request was meant to be sent.
    pub latency_us: Option<Latency>,
    /// Of answers, from when the request was sent; in an open loop only.
    pub send_latency_us: Option<Latency>,
    /// Of refusals, from when the request was meant to be sent.
    pub refusal_latency_us: Option<Latency>,
    /// Whether the generator itself kept up; in an open loop only.
    pub generator: Option<Generator>,
    /// Refusals and errors by kind, most frequent first.
    pub failures: Vec<FailureCount>,
    /// Answers by model.
    pub models: Vec<ModelCount>,
    /// Connections opened since the load began, over all its parts.
    pub connections_opened: u64,
    /// Bytes of the requests that ended, without the framing of HTTP/2.
    pub bytes_sent: u64,
    /// Bytes of the answers, without the framing of HTTP/2.
    pub bytes_received: u64,
    /// Why the load ended before its time.
    pub ended_early: Option<String>,
    /// The whole distribution of `latency_us`.
    pub quantiles: Vec<Quantile>,
    #[serde(skip)]
    latency: Histogram<u64>,
    /// The course of the run, interval by interval.
    pub timeline: Vec<Point>,
}

/// How exact an open loop was.
#[derive(Clone, Debug, Serialize)]
pub struct Generator {
    /// Requests that left more than a millisecond after their time.
    pub late: u64,
    /// Requests that were not sent because the generator was too late.
    pub unsent: u64,
    /// How much later than intended requests were sent.
    pub lateness_us: Option<Latency>,
    /// Whether more than one request in a hundred was late, or some were not sent. Lateness is part
    /// of the latency, so the figures are then worse than the server was.
    pub fell_behind: bool,
    /// Whether less than 95 % of the rate was sent, or some requests were never sent: the requested
    /// load was not made.
    pub is_saturated: bool,
}

/// Failures of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct FailureCount {
    /// How they failed.
    pub kind: FailureKind,
    /// The HTTP or gRPC status.
    pub status: Option<u16>,
    /// The server's code.
    pub code: Option<String>,
    /// How many.
    pub count: u64,
    /// The message of the first one.
    pub message: String,
}

/// Answers of one model.
#[derive(Clone, Debug, Serialize)]
pub struct ModelCount {
    /// The model.
    pub model: String,
    /// Its answers.
    pub answers: u64,
}

/// The figures of one interval.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The end of the interval, since measuring began.
    pub at_s: f64,
    /// Answers per second.
    pub answers_per_s: f64,
    /// Of the answers that arrived.
    pub p50_us: Option<f64>,
    /// Of the answers that arrived.
    pub p99_us: Option<f64>,
    /// The slowest answer that arrived.
    pub max_us: Option<f64>,
    /// Requests per second that were refused, failed otherwise, or were not sent.
    pub failures_per_s: f64,
    /// Requests in flight at its end.
    pub in_flight: u64,
}

impl Point {
    /// `None` for an interval that is too short for figures.
    pub(crate) fn new(
        at_s: f64,
        length: Duration,
        window: &Window,
        in_flight: u64,
    ) -> Option<Self> {
        // A few answers in a few milliseconds would be a peak or a gap in the plot.
        if length < Duration::from_millis(50) {
            return None;
        }
        let latency = Latency::of(&window.latency);
        let failures = window.refused() + window.errors() + window.dropped + window.unsent;
        Some(Self {
            at_s,
            answers_per_s: window.answers() as f64 / length.as_secs_f64(),
            p50_us: latency.as_ref().map(|latency| latency.p50),
            p99_us: latency.as_ref().map(|latency| latency.p99),
            max_us: latency.as_ref().map(|latency| latency.max),
            failures_per_s: failures as f64 / length.as_secs_f64(),
            in_flight,
        })
    }
}

impl Run {
    pub(crate) fn new(
        plan: &Plan,
        phase: Phase,
        length: Duration,
        window: &Window,
        timeline: Vec<Point>,
        connections_opened: u64,
        ended_early: Option<String>,
    ) -> Self {
        let length_s = length.as_secs_f64();
        let (answers, refusals, errors) = (window.answers(), window.refused(), window.errors());
        let (concurrency, arrival) = match &plan.pattern {
            Pattern::Closed { concurrency } => (Some(*concurrency), None),
            Pattern::Open(Arrivals::Rates { arrival, .. }) => (None, Some(*arrival)),
            Pattern::Open(Arrivals::Replay(_)) => (None, None),
        };
        Self {
            label: label(concurrency, phase.rate),
            concurrency,
            offered_per_s: phase.rate,
            arrival,
            length_s,
            // Also those that were not sent: the load asked for them.
            requests: answers + refusals + errors + window.dropped + window.unsent,
            answers,
            refusals,
            errors,
            dropped: window.dropped,
            throughput_per_s: per_s(window.completed, length_s),
            rows_per_s: per_s(window.completed_rows, length_s),
            // Without a deadline, goodput would only repeat the throughput.
            goodput_per_s: plan
                .deadline
                .map(|_| per_s(window.completed_good, length_s)),
            latency_us: Latency::of(&window.latency),
            send_latency_us: Latency::of(&window.send_latency),
            refusal_latency_us: Latency::of(&window.refusals),
            // In a closed loop, a request cannot be late: it is due when the last answer is there.
            generator: (!plan.is_closed()).then(|| Generator::new(window, length)),
            failures: failures(window),
            models: models(plan, window),
            connections_opened,
            bytes_sent: window.bytes_sent,
            bytes_received: window.bytes_received,
            ended_early,
            latency: window.latency.clone(),
            quantiles: latency::distribution(&window.latency),
            timeline,
        }
    }

    /// The time within which a share of the answers arrived, from when they were meant to be sent;
    /// in microseconds.
    pub fn quantile_us(&self, share: f64) -> Option<f64> {
        (!self.latency.is_empty()).then(|| self.latency.value_at_quantile(share) as f64 / 1000.0)
    }
}

impl Generator {
    fn new(window: &Window, length: Duration) -> Self {
        let sent = window.lateness.len();
        let late = sent
            - window
                .lateness
                .count_between(0, LATE.as_nanos() as u64)
                .min(sent);
        let fell_behind = window.unsent > 0 || late as f64 > LATE_SHARE * sent as f64;
        // Behind a rate that is missed by a share, the lateness grows evenly up to that share of
        // the length.
        let middle = Duration::from_nanos(window.lateness.value_at_quantile(0.5));
        let is_saturated = window.unsent > 0 || middle > LATE.max(length.mul_f64(SHORTFALL / 2.0));
        Self {
            late,
            unsent: window.unsent,
            lateness_us: Latency::of(&window.lateness),
            fell_behind,
            is_saturated,
        }
    }
}

fn per_s(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

fn label(concurrency: Option<usize>, rate: Option<f64>) -> String {
    match (concurrency, rate) {
        (Some(concurrency), _) => format!("concurrency={concurrency}"),
        (_, Some(rate)) => format!("rate={}", (rate * 10.0).round() / 10.0),
        _ => "replay".to_owned(),
    }
}

fn failures(window: &Window) -> Vec<FailureCount> {
    let mut failures = Vec::with_capacity(window.failures.len());
    for ((kind, status, code), (count, message)) in &window.failures {
        failures.push(FailureCount {
            kind: *kind,
            status: *status,
            code: code.clone(),
            count: *count,
            message: message.clone(),
        });
    }
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    failures
}

fn models(plan: &Plan, window: &Window) -> Vec<ModelCount> {
    let names = plan.mix.names().zip(&window.models);
    names
        .map(|(name, answers)| ModelCount {
            model: name.to_owned(),
            answers: *answers,
        })
        .collect()
}
