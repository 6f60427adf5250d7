//! Three days of recorded requests, replayed under simulated time: percentiles, rates, budgets and
//! burn rates are what NumPy makes of the same requests (`data/make_three_days.py`).

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use tidegate_observe::{
    Burn, BurnWindow, FinishedRequest, History, Ledger, Objective, RequestOutcome, SKETCH_ERROR,
    Slo, SloStatus,
};

const REQUESTS: &[u8] = include_bytes!("data/three_days.bin");
const EXPECTED: &str = include_str!("data/three_days.json");
const REQUEST_BYTES: usize = 9;
const MINUTE_MS: u64 = 60_000;
/// A moment at the beginning of a day.
const START_MS: u64 = 20_000 * 24 * 60 * MINUTE_MS;

/// What is to be.
#[derive(Deserialize)]
struct Expected {
    objective: f64,
    spans: Vec<Span>,
    burns: Vec<Burns>,
}

/// What the requests of a span came to; times count from the beginning.
#[derive(Deserialize)]
struct Span {
    since_ms: u64,
    until_ms: u64,
    /// Answered, failed by the server's fault, and the client's mistakes.
    counts: [u64; 3],
    quantiles_us: BTreeMap<String, Option<f64>>,
}

/// Burn rates at a moment, by window; `None` without requests.
#[derive(Deserialize)]
struct Burns {
    at_ms: u64,
    windows: BTreeMap<String, Option<f64>>,
}

/// When a request ended, and how.
fn requests() -> impl Iterator<Item = (u64, FinishedRequest)> {
    REQUESTS.chunks_exact(REQUEST_BYTES).map(|bytes| {
        let number =
            |at: usize| u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
        let outcome = [
            RequestOutcome::Answered,
            RequestOutcome::Failed,
            RequestOutcome::ClientError,
        ][usize::from(bytes[8])];
        (
            number(0),
            FinishedRequest {
                outcome,
                total_ns: number(4) * 1000,
                ..FinishedRequest::default()
            },
        )
    })
}

#[test]
fn percentiles_and_rates_are_numpys() {
    let expected: Expected = serde_json::from_str(EXPECTED).unwrap();
    let (model, version): (Arc<str>, Arc<str>) = ("fraud".into(), "1".into());
    let mut history = History::new(usize::MAX);
    let mut arriving = requests().peekable();
    let mut compared = 0;
    for span in &expected.spans {
        while let Some((at_ms, request)) = arriving.next_if(|(at_ms, _)| *at_ms < span.until_ms) {
            history.count(&model, &version, START_MS + at_ms, [&request]);
        }
        let total = history.total(
            "fraud",
            None,
            START_MS + span.since_ms,
            START_MS + span.until_ms,
        );
        assert_eq!(
            [total.answered, total.failed, total.client_errors],
            span.counts,
            "{} ms",
            span.until_ms
        );
        for (quantile, exact) in &span.quantiles_us {
            let found = total.request.quantile(quantile.parse().unwrap());
            let (Some(found), Some(exact)) = (found, exact.map(|us| us * 1000.0)) else {
                assert!(found.is_none() && exact.is_none());
                continue;
            };
            assert!(
                (found - exact).abs() <= SKETCH_ERROR * exact * (1.0 + 1e-9),
                "{found} for {exact}"
            );
            compared += 1;
        }
    }
    assert!(compared > 800, "{compared} quantiles were compared");
}

#[test]
fn budgets_and_burn_rates_are_numpys() {
    let expected: Expected = serde_json::from_str(EXPECTED).unwrap();
    let slo = slo(expected.objective);
    let mut ledger = Ledger::default();
    let mut arriving = requests()
        .filter(|(_, request)| request.outcome != RequestOutcome::ClientError)
        .peekable();
    let mut compared = 0;
    for burns in &expected.burns {
        while let Some((at_ms, request)) = arriving.next_if(|(at_ms, _)| *at_ms < burns.at_ms) {
            ledger.add(
                START_MS + at_ms,
                u64::from(request.outcome == RequestOutcome::Answered),
                1,
            );
        }
        let now_ms = START_MS + burns.at_ms;
        for (name, rate) in &burns.windows {
            let window = BurnWindow::ALL
                .into_iter()
                .find(|window| window.name() == name)
                .unwrap();
            let found = Burn::of(&slo, &ledger, window, now_ms);
            assert_eq!(
                found.rate.is_some(),
                rate.is_some(),
                "{name} at {}",
                burns.at_ms
            );
            let (Some(found), Some(rate)) = (found.rate, rate) else {
                continue;
            };
            assert!(
                (found - rate).abs() <= 1e-9 * rate.max(1.0),
                "{name} at {}: {found} for {rate}",
                burns.at_ms
            );
            compared += 1;
        }
        if let Some(Some(whole)) = burns.windows.get("3d") {
            let left = SloStatus::of(&slo, &ledger, now_ms).budget_remaining;
            assert!(
                (left - (1.0 - whole)).abs() <= 1e-9 * whole.max(1.0),
                "{left} is left, {whole} burnt"
            );
        }
    }
    assert!(compared > 400, "{compared} burn rates were compared");
}

fn slo(objective: f64) -> Slo {
    let text =
        format!("name = \"fraud\"\nendpoint = \"fraud\"\ntarget = {objective}\nwindow = \"3d\"");
    toml::from_str::<Objective>(&text).unwrap().parse().unwrap()
}
