//! What a load test found.

mod csv;
mod html;
mod latency;
mod plot;
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

/// A whole load test: what was asked of whom, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of the generator.
    pub version: &'static str,
    /// The server.
    pub target: String,
    /// How requests travelled.
    pub protocol: Protocol,
    /// What was sent, for people.
    pub what: String,
    /// Threads that sent.
    pub threads: usize,
    /// How long the client waited for an answer.
    pub timeout_s: f64,
    /// The deadline that goodput is counted by.
    pub deadline_s: Option<f64>,
    /// What the choice of requests and of gaps began from.
    pub seed: u64,
    /// What the runs are held against.
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

    /// Holds all runs against objectives.
    pub fn hold_against(&mut self, objectives: &[Objective]) {
        self.objectives = objectives.iter().map(ToString::to_string).collect();
        let breaches = |run| objectives.iter().filter_map(move |objective: &Objective| objective.breach(run));
        self.breaches = self.runs.iter().flat_map(breaches).collect();
    }

    /// Whether the objectives are met: by every run, or in a search by one.
    pub fn is_met(&self) -> bool {
        if self.is_search { self.highest_per_s.is_some() } else { self.breaches.is_empty() }
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
    /// What tells this run from the others, such as `concurrency=8`.
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
    /// Requests that the server declined for now: 429, 503, 504 and their like.
    pub refusals: u64,
    /// Requests that failed in any other way.
    pub errors: u64,
    /// Requests that were not sent, for `max_outstanding` were under way.
    pub dropped: u64,
    /// Answers per second.
    pub throughput_per_s: f64,
    /// Rows answered per second.
    pub rows_per_s: f64,
    /// Answers per second within the deadline, where there is one.
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
    /// Bytes of the requests that ended, without what HTTP/2 adds.
    pub bytes_sent: u64,
    /// Bytes of the answers, without what HTTP/2 adds.
    pub bytes_received: u64,
    /// Why the load ended before its time.
    pub ended_early: Option<String>,
    /// The whole distribution of `latency_us`.
    pub quantiles: Vec<Quantile>,
    #[serde(skip)]
    latency: Histogram<u64>,
    /// How it went, piece by piece.
    pub timeline: Vec<Point>,
}

/// How exact an open loop was.
#[derive(Clone, Debug, Serialize)]
pub struct Generator {
    /// Requests that left more than a millisecond after their time.
    pub late: u64,
    /// Requests that were not sent at all, for the generator did not get to them in time.
    pub unsent: u64,
    /// How long after their time requests left.
    pub lateness_us: Option<Latency>,
    /// Whether more than one request in a hundred was late, or some were not sent. Lateness is part of the latency, so
    /// the figures are then worse than the server was.
    pub fell_behind: bool,
    /// Whether most requests were late, or some were not sent: the load that was asked for was not made.
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
    /// What the first of them said.
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

/// What happened within a moment.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The end of the moment, since measuring began.
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
    /// Requests under way at its end.
    pub in_flight: u64,
}

impl Point {
    /// `None` for a moment too short to say anything.
    pub(crate) fn new(at_s: f64, length: Duration, window: &Window, in_flight: u64) -> Option<Self> {
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
        let per_s = |count: u64| if length_s > 0.0 { count as f64 / length_s } else { 0.0 };
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
            requests: answers + refusals + errors + window.dropped + window.unsent,
            answers,
            refusals,
            errors,
            dropped: window.dropped,
            throughput_per_s: per_s(window.completed),
            rows_per_s: per_s(window.completed_rows),
            goodput_per_s: plan.deadline.map(|_| per_s(window.completed_good)),
            latency_us: Latency::of(&window.latency),
            send_latency_us: Latency::of(&window.send_latency),
            refusal_latency_us: Latency::of(&window.refusals),
            generator: (!plan.is_closed()).then(|| Generator::new(window)),
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

    /// The time in which a share of the answers was there, from when they were meant to be sent; in microseconds.
    pub fn quantile_us(&self, share: f64) -> Option<f64> {
        (!self.latency.is_empty()).then(|| self.latency.value_at_quantile(share) as f64 / 1000.0)
    }
}

impl Generator {
    fn new(window: &Window) -> Self {
        let sent = window.lateness.len();
        let late = sent - window.lateness.count_between(0, LATE.as_nanos() as u64).min(sent);
        let fell_behind = window.unsent > 0 || late as f64 > LATE_SHARE * sent as f64;
        let is_saturated = window.unsent > 0 || late > sent / 2;
        Self { late, unsent: window.unsent, lateness_us: Latency::of(&window.lateness), fell_behind, is_saturated }
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
    let count = |((kind, status, code), (count, message)): (&crate::record::FailureKey, &(u64, String))| FailureCount {
        kind: *kind,
        status: *status,
        code: code.clone(),
        count: *count,
        message: message.clone(),
    };
    let mut failures: Vec<FailureCount> = window.failures.iter().map(count).collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    failures
}

fn models(plan: &Plan, window: &Window) -> Vec<ModelCount> {
    let names = plan.mix.names().zip(&window.models);
    names.map(|(name, answers)| ModelCount { model: name.to_owned(), answers: *answers }).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Instant;

    use super::*;
    use crate::failure::Failure;
    use crate::mix::Mix;
    use crate::payload::Payload;
    use crate::record::{Ended, Recorder};
    use crate::target::Target;

    fn plan() -> Plan {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let target = Target::new(Protocol::RestJson, &address, &[]).unwrap();
        let payload = Payload::raw(&target, "/", None);
        Plan {
            mix: Mix::default().with("m", 1.0, vec![payload]),
            target,
            pattern: Pattern::Open(Arrivals::Rates { rates: vec![100.0], arrival: Arrival::Constant }),
            duration: Some(Duration::from_secs(1)),
            requests: None,
            warmup: Duration::ZERO,
            timeout: Duration::from_secs(1),
            deadline: Some(Duration::from_millis(50)),
            threads: 1,
            connections: 1,
            max_outstanding: 10,
            seed: 1,
        }
    }

    /// A second of an open loop whose answers took these times, all sent half a millisecond late, and with errors.
    pub(crate) fn run_of(latencies_us: &[u64], errors: u64) -> Run {
        let plan = plan();
        let mut recorder = Recorder::new(1, false, plan.deadline);
        let start = Instant::now();
        let mut record = |latency_us: u64, result: Result<u64, Failure>| {
            recorder.record(Ended {
                phase: Some(0),
                end_phase: Some(0),
                intended: start,
                sent: start + Duration::from_micros(500),
                end: start + Duration::from_micros(latency_us),
                elapsed: Duration::from_micros(latency_us),
                model: 0,
                rows: 2,
                bytes_sent: 10,
                result,
            });
        };
        latencies_us.iter().for_each(|latency_us| record(*latency_us, Ok(100)));
        (0..errors).for_each(|_| record(7, Err(Failure::http(500, b"oops"))));
        let window = recorder.take().into_iter().flatten().next().map_or_else(|| Window::new(1), |window| *window);
        let timeline = Point::new(1.0, Duration::from_secs(1), &window, 3).into_iter().collect();
        Run::new(&plan, plan.phases()[0], Duration::from_secs(1), &window, timeline, 1, None)
    }

    /// A report with these runs.
    pub(crate) fn report_of(runs: Vec<(Vec<u64>, u64)>) -> Report {
        let mut report = Report::new(&plan(), "m, 1 row a request");
        report.runs = runs.iter().map(|(latencies_us, errors)| run_of(latencies_us, *errors)).collect();
        report
    }

    #[test]
    fn a_run_adds_up() {
        let run = run_of(&[10_000, 20_000, 80_000], 2);
        assert_eq!((run.requests, run.answers, run.errors, run.refusals), (5, 3, 2, 0));
        assert_eq!((run.throughput_per_s, run.rows_per_s, run.goodput_per_s), (3.0, 6.0, Some(2.0)));
        assert_eq!((run.bytes_sent, run.bytes_received), (50, 300));
        let (latency, sent) = (run.latency_us.unwrap(), run.send_latency_us.unwrap());
        assert!((latency.p50 - sent.p50 - 500.0).abs() < 20.0, "{latency:?} {sent:?}");
        assert_eq!((run.failures[0].status, run.failures[0].count), (Some(500), 2));
        let generator = run.generator.unwrap();
        assert!(!generator.fell_behind && !generator.is_saturated && generator.late == 0, "{generator:?}");
    }

    #[test]
    fn objectives_are_met_by_every_run_or_in_a_search_by_one() {
        let mut report = report_of(vec![(vec![1000], 0), (vec![9000], 0)]);
        report.hold_against(&crate::slo::objectives("p99<5ms,errors<1%").unwrap());
        assert_eq!(report.breaches.len(), 1);
        assert!(!report.is_met());
        report.is_search = true;
        report.highest_per_s = Some(100.0);
        assert!(report.is_met());
    }

    #[test]
    fn csv_has_a_line_a_run_and_a_cell_a_column() {
        let report = report_of(vec![(vec![1000], 0), (vec![], 2)]);
        let csv = report.to_csv();
        let cells: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(cells.len(), 3);
        let column = |name: &str| cells[0].iter().position(|cell| *cell == name).unwrap();
        assert!(cells.iter().all(|row| row.len() == cells[0].len()));
        assert_eq!((cells[1][column("answers")], cells[2][column("errors")]), ("1", "2"));
        assert_eq!(cells[2][column("p50_us")], "");
    }
}
