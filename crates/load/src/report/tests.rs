//! Reports of made-up runs.

use std::time::Instant;

use super::*;
use crate::failure::Failure;
use crate::mix::Mix;
use crate::payload::Payload;
use crate::record::{FinishedRequest, Recorder};
use crate::target::Target;

fn plan() -> Plan {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let target = Target::new(Protocol::RestJson, &address, &[]).unwrap();
    let payload = Payload::raw(&target, "/", None);
    Plan {
        mix: Mix::default().with("m", 1.0, vec![payload]),
        target,
        pattern: Pattern::Open(Arrivals::Rates {
            rates: vec![100.0],
            arrival: Arrival::Constant,
        }),
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

/// A second of an open loop whose answers took these times, all sent half a millisecond late, and
/// with errors.
pub(crate) fn run_of(latencies_us: &[u64], errors: u64) -> Run {
    let plan = plan();
    let mut recorder = Recorder::new(1, false, plan.deadline);
    let start = Instant::now();
    let mut record = |latency_us: u64, result: Result<u64, Failure>| {
        recorder.record(FinishedRequest {
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
    latencies_us
        .iter()
        .for_each(|latency_us| record(*latency_us, Ok(100)));
    (0..errors).for_each(|_| record(7, Err(Failure::http(500, b"oops"))));
    let window = recorder
        .take()
        .into_iter()
        .flatten()
        .next()
        .map_or_else(|| Window::new(1), |window| *window);
    let timeline = Point::new(1.0, Duration::from_secs(1), &window, 3)
        .into_iter()
        .collect();
    Run::new(
        &plan,
        plan.phases()[0],
        Duration::from_secs(1),
        &window,
        timeline,
        1,
        None,
    )
}

/// A report with these runs.
pub(crate) fn report_of(runs: Vec<(Vec<u64>, u64)>) -> Report {
    let mut report = Report::new(&plan(), "m, 1 row a request");
    report.runs = runs
        .iter()
        .map(|(latencies_us, errors)| run_of(latencies_us, *errors))
        .collect();
    report
}

#[test]
fn a_run_adds_up() {
    let run = run_of(&[10_000, 20_000, 80_000], 2);
    assert_eq!(
        (run.requests, run.answers, run.errors, run.refusals),
        (5, 3, 2, 0)
    );
    assert_eq!(
        (run.throughput_per_s, run.rows_per_s, run.goodput_per_s),
        (3.0, 6.0, Some(2.0))
    );
    assert_eq!((run.bytes_sent, run.bytes_received), (50, 300));
    let (latency, sent) = (run.latency_us.unwrap(), run.send_latency_us.unwrap());
    assert!(
        (latency.p50 - sent.p50 - 500.0).abs() < 20.0,
        "{latency:?} {sent:?}"
    );
    assert_eq!(
        (run.failures[0].status, run.failures[0].count),
        (Some(500), 2)
    );
    let generator = run.generator.unwrap();
    assert!(
        !generator.fell_behind && !generator.is_saturated && generator.late == 0,
        "{generator:?}"
    );
}

#[test]
fn objectives_are_met_by_every_run_or_in_a_search_by_one() {
    let mut report = report_of(vec![(vec![1000], 0), (vec![9000], 0)]);
    report.check(&crate::slo::objectives("p99<5ms,errors<1%").unwrap());
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
    assert_eq!(
        (cells[1][column("answers")], cells[2][column("errors")]),
        ("1", "2")
    );
    assert_eq!(cells[2][column("p50_us")], "");
}
