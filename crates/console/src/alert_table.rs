//! Alerts as a table.

use maud::{Markup, html};
use tidegate_observe::alerting::{Alert, Suppression, TriagedAlert};
use tidegate_observe::{ALL_ENDPOINTS, AlertState};

use crate::badge::{Tone, badge};
use crate::format::{ago, link, segment, span};
use crate::section::{Section, endpoint_path};

/// The tone of an alert's state.
pub(crate) fn tone(alert: &Alert) -> Tone {
    match alert.state {
        AlertState::Firing { .. } if alert.label("severity") == "page" => Tone::Bad,
        AlertState::Firing { .. } => Tone::Notice,
        AlertState::Pending { .. } => Tone::Busy,
        AlertState::Resolved { .. } => Tone::Good,
        AlertState::Inactive => Tone::Off,
    }
}

/// The name of a state.
pub(crate) fn state(state: AlertState) -> &'static str {
    match state {
        AlertState::Inactive => "inactive",
        AlertState::Pending { .. } => "pending",
        AlertState::Firing { .. } => "firing",
        AlertState::Resolved { .. } => "resolved",
    }
}

/// Alerts with their annotations and links.
pub(crate) fn table(alerts: &[TriagedAlert], now_ms: u64) -> Markup {
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "State" }
                    th scope="col" { "Alert" }
                    th scope="col" { "Endpoint" }
                    th scope="col" { "Since" }
                    th scope="col" { "Links" }
                }
            }
            tbody { @for triaged in alerts { (row(triaged, now_ms)) } }
        }
    }
}

fn row(triaged: &TriagedAlert, now_ms: u64) -> Markup {
    let alert = &triaged.alert;
    let (endpoint, version) = (alert.label("endpoint"), alert.label("version"));
    html! {
        tr {
            // On narrow screens rows become cards without a head: the style sheet then shows these
            // labels.
            td data-label="State" {
                span {
                    (badge(tone(alert), state(alert.state))) " "
                    span.tag { (alert.label("severity")) }
                }
            }
            td.name {
                div {
                    div.strong { (alert.name()) @for label in other_labels(alert) { " " span.tag { (label) } } }
                    @for text in [alert.annotation("summary"), alert.annotation("description")] {
                        @if !text.is_empty() { div.soft.small { (text) } }
                    }
                    @if let Some(why) = &triaged.suppression { div.small.text-notice { (suppression(why, now_ms)) } }
                }
            }
            td.break data-label="Endpoint" {
                @if endpoint == ALL_ENDPOINTS { "all" }
                @else if !endpoint.is_empty() { span { a href=(endpoint_path(endpoint)) { (endpoint) } @if !version.is_empty() { " v" (version) } } }
            }
            td.nowrap data-label="Since" { @if let Some(since_ms) = alert.since_ms() { (ago(since_ms, now_ms)) } }
            td.nowrap data-label="Links" {
                span.links-in {
                    // Rules of an operator may have no runbook or dashboard: then the cell has no
                    // dead links.
                    @for (name, text) in [("runbook_url", "Runbook"), ("dashboard_url", "Dashboard")] {
                        @let address = alert.annotation(name);
                        @if !address.is_empty() { span { (link(address, text)) } }
                    }
                    span { a href=(format!("{}?silence={}#silence", Section::Alerts.path(), segment(&alert.fingerprint()))) { "Silence" } }
                }
            }
        }
    }
}

/// The labels that no column shows, as `budget=all`: without them, alerts of one rule could not be
/// told apart.
fn other_labels(alert: &Alert) -> impl Iterator<Item = String> {
    const SHOWN: [&str; 4] = ["alertname", "severity", "endpoint", "version"];
    let labels = alert.labels.iter();
    labels
        .filter(|(name, value)| !SHOWN.contains(&name.as_str()) && !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
}

fn suppression(why: &Suppression, now_ms: u64) -> Markup {
    match why {
        Suppression::Silence { id } => html! { "not sent: silence " code { (id) } },
        Suppression::Inhibition { name, .. } => html! { "not sent: covered by " (name) },
        Suppression::Replica { name } => html! { "sent by replica " (name) },
        Suppression::DeployWindow { version, until_ms } => {
            let left = span(until_ms.saturating_sub(now_ms));
            html! { "not sent: held back for " (left) ", version " (version) " was deployed" }
        }
    }
}
