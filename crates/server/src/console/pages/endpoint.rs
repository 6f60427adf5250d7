//! The page of an endpoint.

use std::collections::BTreeSet;

use tidegate_console::{Endpoint, ObjectiveTrend, Range, VersionTraffic, describe_target};
use tidegate_observe::AlertState;
use tidegate_serving::IndexEntry;

use super::{endpoint_state, queued, version_state};
use crate::console::Console;

/// What charts mark.
const MARKED: [&str; 5] = [
    "version.ready",
    "version.reloaded",
    "version.load_failed",
    "alert.firing",
    "alert.resolved",
];
const EVENTS: usize = 26;

pub(crate) fn endpoint(
    console: &Console,
    name: &str,
    range: Range,
    now_ms: u64,
) -> Result<Endpoint, String> {
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
    let points = |version: Option<&str>| {
        console
            .history
            .read()
            .points(name, version, since_ms, now_ms + 1, step_ms)
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
        VersionTraffic {
            version: version.to_owned(),
            state: entry.map(|entry| version_state(&entry.state)),
            is_default: entry.is_some_and(|entry| entry.is_default),
            aliases: entry.map(|entry| entry.aliases.clone()).unwrap_or_default(),
            queued: console
                .front_end
                .serving
                .version(name, Some(version))
                .map_or(0, |version| version.scheduler().queued()),
            points: points(Some(version)),
        }
    });
    let is_marked = |event: &tidegate_observe::Event| {
        event.model == name && event.at_ms >= since_ms && MARKED.contains(&event.name.as_str())
    };
    let is_shown = |alert: &tidegate_observe::alerting::Alert| {
        alert.label("endpoint") == name
            && !matches!(
                alert.state,
                AlertState::Resolved { .. } | AlertState::Inactive
            )
    };
    Ok(Endpoint {
        name: name.to_owned(),
        range,
        step_ms,
        started_ms: console.started_ms,
        now_ms,
        tone,
        state,
        queued: queued(&console.front_end.serving, name),
        points: points(None),
        versions: versions.collect(),
        events: console.events.newest(is_marked, EVENTS),
        alerts: console
            .alerting
            .alerts()
            .iter()
            .filter(|triaged| is_shown(&triaged.alert))
            .cloned()
            .collect(),
        objectives: objectives(console, name, range, now_ms),
    })
}

fn objectives(console: &Console, name: &str, range: Range, now_ms: u64) -> Vec<ObjectiveTrend> {
    let since_ms = now_ms
        .saturating_sub(range.ms())
        .next_multiple_of(range.step_ms());
    let burn_downs = console
        .objectives
        .burn_downs(name, since_ms, now_ms, range.step_ms());
    let trend = |(slo, burn_down): (tidegate_observe::Slo, Vec<tidegate_observe::BudgetAt>)| {
        ObjectiveTrend {
            name: slo.name().to_owned(),
            target: describe_target(&slo),
            remaining: burn_down.last().map_or(1.0, |point| point.remaining),
            burn_down,
        }
    };
    burn_downs.into_iter().map(trend).collect()
}
