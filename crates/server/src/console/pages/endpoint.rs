//! The page of an endpoint.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;
use tidegate_console::{Endpoint, ObjectiveTrend, Range, VersionTraffic, describe_target};
use tidegate_observe::alerting::TriagedAlert;
use tidegate_observe::{AlertState, Event, Point};
use tidegate_serving::IndexEntry;

use super::state::{endpoint_state, queued, version_state};
use crate::console::Console;
use crate::console::answer::answer;
use crate::console::page_query::{Asked, asked};
use crate::console::visitor::Visitor;

/// The events that charts mark.
const MARKED: [&str; 5] = [
    "version.ready",
    "version.reloaded",
    "version.load_failed",
    "alert.firing",
    "alert.resolved",
];
const EVENTS: usize = 26;

/// The range of time.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RangeQuery {
    range: String,
}

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    Path(name): Path<String>,
    query: Asked<RangeQuery>,
    visitor: Visitor,
) -> Response {
    let range = Range::named(&asked(query).range);
    answer(console, &visitor, move |console, now_ms| {
        // Not an error: an old link or a typing error should still show a page.
        let age_ms = now_ms.saturating_sub(console.started_ms);
        let range = range.unwrap_or_else(|| Range::of_age(age_ms));
        Ok(endpoint(console, &name, range, now_ms)?.page())
    })
    .await
}

fn endpoint(console: &Console, name: &str, range: Range, now_ms: u64) -> Result<Endpoint, String> {
    // Someone who has just sent a request expects to see it.
    console.front_end.serving.metrics().observations().drain();
    let index = console.front_end.serving.known();
    let entries: Vec<&IndexEntry> = index.iter().filter(|entry| entry.name == name).collect();
    let asked = console.history.read().versions(name);
    if entries.is_empty() && asked.is_empty() {
        return Err(format!("There is no endpoint {name}."));
    }
    let (tone, state) = endpoint_state(&entries);
    let since_ms = now_ms.saturating_sub(range.ms());
    let step_ms = console
        .history
        .read()
        .step_ms(name, None, since_ms, range.step_ms());
    let charted = Charted {
        console,
        name,
        since_ms,
        step_ms,
        now_ms,
    };
    // In the order of their numbers, the newest first.
    let numbers: BTreeSet<(u64, &str)> = entries
        .iter()
        .map(|entry| entry.version.as_str())
        .chain(asked.iter().map(|version| &**version))
        .filter(|version| !version.is_empty())
        .map(|version| (version.parse().unwrap_or(u64::MAX), version))
        .collect();
    let versions = numbers.into_iter().rev().map(|(_, version)| {
        let entry = entries.iter().find(|entry| entry.version == version);
        charted.version(version, entry.copied())
    });
    Ok(Endpoint {
        name: name.to_owned(),
        range,
        step_ms,
        started_ms: console.started_ms,
        now_ms,
        tone,
        state,
        queued: queued(&console.front_end.serving, name),
        points: charted.points(None),
        versions: versions.collect(),
        events: charted.events(),
        alerts: active_alerts(console, name),
        objectives: objectives(console, name, range, now_ms),
    })
}

/// An endpoint, and the time that its charts show.
struct Charted<'a> {
    console: &'a Console,
    name: &'a str,
    since_ms: u64,
    step_ms: u64,
    now_ms: u64,
}

impl Charted<'_> {
    /// The traffic of one version, or of all. The history's lock is taken for each call alone, so
    /// that the counting of requests never waits for a whole page.
    fn points(&self, version: Option<&str>) -> Vec<Point> {
        // The end is exclusive, and this moment belongs to the chart.
        let until_ms = self.now_ms + 1;
        let history = self.console.history.read();
        history.points(self.name, version, self.since_ms, until_ms, self.step_ms)
    }

    fn version(&self, version: &str, entry: Option<&IndexEntry>) -> VersionTraffic {
        let serving = &self.console.front_end.serving;
        VersionTraffic {
            version: version.to_owned(),
            state: entry.map(|entry| version_state(&entry.state)),
            is_default: entry.is_some_and(|entry| entry.is_default),
            aliases: entry.map(|entry| entry.aliases.clone()).unwrap_or_default(),
            queued: serving
                .version(self.name, Some(version))
                .map_or(0, |version| version.scheduler().queued()),
            points: self.points(Some(version)),
        }
    }

    fn events(&self) -> Vec<Event> {
        self.console.events.newest(
            |event| {
                event.model == self.name
                    && event.at_ms >= self.since_ms
                    && MARKED.contains(&event.name.as_str())
            },
            EVENTS,
        )
    }
}

fn active_alerts(console: &Console, endpoint: &str) -> Vec<TriagedAlert> {
    let triaged = console.alerting.alerts();
    let active = triaged.iter().filter(|triaged| {
        triaged.alert.label("endpoint") == endpoint
            && !matches!(
                triaged.alert.state,
                AlertState::Resolved { .. } | AlertState::Inactive
            )
    });
    active.cloned().collect()
}

fn objectives(console: &Console, name: &str, range: Range, now_ms: u64) -> Vec<ObjectiveTrend> {
    let since_ms = now_ms
        .saturating_sub(range.ms())
        .next_multiple_of(range.step_ms());
    let burn_downs = console
        .objectives
        .burn_downs(name, since_ms, now_ms, range.step_ms());
    let trends = burn_downs
        .into_iter()
        .map(|(slo, burn_down)| ObjectiveTrend {
            name: slo.name().to_owned(),
            target: match slo.endpoint() {
                Some(_) => describe_target(&slo),
                None => format!("{}, all endpoints together", describe_target(&slo)),
            },
            remaining: burn_down.last().map_or(1.0, |point| point.remaining),
            burn_down,
        });
    trends.collect()
}
