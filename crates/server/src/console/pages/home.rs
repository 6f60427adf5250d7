//! The first page.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use tidegate_console::{EndpointRow, Home, Listing, Problem, Tone};
use tidegate_observe::Traffic;
use tidegate_observe::alerting::TriagedAlert;
use tidegate_serving::{IndexEntry, ModelState};

use super::state::{endpoint_state, queued};
use crate::console::Console;
use crate::console::answer::answer;
use crate::console::page_query::{Asked, ListQuery, asked};
use crate::console::visitor::Visitor;

const MINUTE_MS: u64 = 60_000;
/// The window of rates and percentiles.
const WINDOW_MS: u64 = 5 * MINUTE_MS;
/// How far back the small charts go.
const TREND_MS: u64 = 15 * MINUTE_MS;
const TREND_STEP_MS: u64 = 30_000;
const ALERTS: usize = 10;
const EVENTS: usize = 10;

/// The facts about an endpoint without its requests.
struct Known<'a> {
    name: &'a str,
    versions: Vec<&'a IndexEntry>,
    tone: Tone,
    state: String,
    /// Alerts that fire, and those of them that need somebody now.
    firing: (usize, usize),
    budget: Option<f64>,
}

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    query: Asked<ListQuery>,
    visitor: Visitor,
) -> Response {
    let listing = asked(query).listing();
    answer(console, &visitor, move |console, now_ms| {
        Ok(home(console, listing.clone(), now_ms).page())
    })
    .await
}

fn home(console: &Console, mut listing: Listing, now_ms: u64) -> Home {
    console.front_end.serving.metrics().observations().drain();
    let index = console.front_end.serving.known();
    let triaged = console.alerting.alerts();
    let (budgets, firing) = (budgets(console), firing(&triaged));
    let mut by_model: BTreeMap<&str, Vec<&IndexEntry>> = BTreeMap::new();
    for entry in index.iter().filter(|entry| listing.matches(&entry.name)) {
        by_model.entry(&entry.name).or_default().push(entry);
    }
    let known = by_model.into_iter().map(|(name, versions)| {
        let (tone, state) = endpoint_state(&versions);
        let (firing, budget) = (
            firing.get(name).copied().unwrap_or_default(),
            budgets.get(name).copied(),
        );
        Known {
            name,
            versions,
            tone,
            state,
            firing,
            budget,
        }
    });
    let mut known: Vec<Known<'_>> = known.collect();
    // By name, for the map was sorted; those in trouble first.
    known.sort_by_key(|known| !known.is_in_trouble());
    let endpoints = listing
        .page_of(known)
        .iter()
        .map(|known| row(console, known, now_ms))
        .collect();
    let notified = triaged.iter().filter(|triaged| triaged.is_notified());
    Home {
        now_ms,
        is_ready: console.front_end.lifecycle.is_ready(),
        is_starting: !console.front_end.lifecycle.has_started(),
        problems: problems(console, &index),
        endpoints,
        listing,
        window: "5 min".to_owned(),
        alerts: notified.take(ALERTS).cloned().collect(),
        events: console.events.newest(|_| true, EVENTS),
    }
}

impl Known<'_> {
    fn is_in_trouble(&self) -> bool {
        let is_spent = self.budget.is_some_and(|left| left <= 0.0);
        matches!(self.tone, Tone::Bad | Tone::Notice) || self.firing.0 > 0 || is_spent
    }
}

/// For each endpoint with objectives, the lowest remaining budget.
fn budgets(console: &Console) -> HashMap<String, f64> {
    let mut budgets = HashMap::new();
    for status in console.objectives.status() {
        if let Some(endpoint) = status.slo.endpoint() {
            let left = budgets.entry(endpoint.to_owned()).or_insert(f64::MAX);
            *left = left.min(status.slo_status.budget_remaining);
        }
    }
    budgets
}

/// How many alerts fire for each endpoint, and how many of them need somebody now.
fn firing(triaged: &[TriagedAlert]) -> HashMap<&str, (usize, usize)> {
    let mut firing: HashMap<&str, (usize, usize)> = HashMap::new();
    for triaged in triaged.iter().filter(|triaged| triaged.is_notified()) {
        let (all, pages) = firing.entry(triaged.alert.label("endpoint")).or_default();
        *all += 1;
        *pages += usize::from(triaged.alert.label("severity") == "page");
    }
    firing
}

/// What needs attention: the problems of the fleet, and models of folders that could not be loaded.
fn problems(console: &Console, index: &[IndexEntry]) -> Vec<Problem> {
    let fleet = console.front_end.serving.fleet();
    let of_fleet = fleet
        .into_iter()
        .flat_map(|fleet| fleet.problems())
        .map(|text| Problem {
            tone: Tone::Notice,
            text,
        });
    let of_folders = index
        .iter()
        .filter(|entry| !fleet.is_some_and(|fleet| fleet.manages(&entry.name)))
        .filter_map(|entry| match &entry.state {
            ModelState::Failed(reason) => Some(Problem {
                tone: Tone::Bad,
                text: format!("{} could not be loaded: {reason}", entry.name),
            }),
            ModelState::Stale(reason) => Some(Problem {
                tone: Tone::Notice,
                text: format!("{} still serves the old file: {reason}", entry.name),
            }),
            _ => None,
        });
    of_fleet.chain(of_folders).collect()
}

fn row(console: &Console, known: &Known<'_>, now_ms: u64) -> EndpointRow {
    let points = {
        let since_ms = (now_ms - TREND_MS).next_multiple_of(TREND_STEP_MS);
        console
            .history
            .read()
            .points(known.name, None, since_ms, now_ms + 1, TREND_STEP_MS)
    };
    let since_ms = now_ms.saturating_sub(WINDOW_MS);
    let mut last = Traffic::default();
    points
        .iter()
        .filter(|point| point.at_ms >= since_ms)
        .for_each(|point| last.merge(&point.traffic));
    // The first step of the window is whole, and none is older than the server: the rate is over
    // the time that was really counted, and over one second at least.
    let counted_ms = now_ms
        .saturating_sub(
            since_ms
                .next_multiple_of(TREND_STEP_MS)
                .max(console.started_ms),
        )
        .max(1000);
    let trend = (0..TREND_MS / TREND_STEP_MS).map(|step| {
        let at_ms = (now_ms / TREND_STEP_MS + step + 1) * TREND_STEP_MS - TREND_MS;
        let point = points.iter().find(|point| point.at_ms == at_ms);
        Some(point.map_or(0.0, |point| point.traffic.requests() as f64))
    });
    EndpointRow {
        name: known.name.to_owned(),
        tone: known.tone,
        state: known.state.clone(),
        version: known
            .versions
            .iter()
            .find(|entry| entry.is_default)
            .map(|entry| entry.version.clone())
            .unwrap_or_default(),
        rate_per_s: last.requests() as f64 * 1000.0 / counted_ms as f64,
        quantiles_ms: [0.5, 0.95, 0.99].map(|share| last.request.quantile_ms(share)),
        success: last.error_rate().map(|failed| 1.0 - failed),
        queued: queued(&console.front_end.serving, known.name),
        budget: known.budget,
        firing: known.firing.0,
        pages: known.firing.1,
        trend: trend.collect(),
    }
}
