//! Alerts as a table.

use maud::{Markup, html};
use tidegate_observe::alerting::{Alert, Suppression, TriagedAlert};
use tidegate_observe::{ALL_ENDPOINTS, AlertState};

use crate::badge::{Tone, badge};
use crate::format::{ago, link, segment};
use crate::section::{Section, endpoint_path};

/// How good it is that an alert is in this state.
pub(crate) fn tone(alert: &Alert) -> Tone {
    match alert.state {
        AlertState::Firing { .. } if alert.label("severity") == "page" => Tone::Bad,
        AlertState::Firing { .. } => Tone::Notice,
        AlertState::Pending { .. } => Tone::Busy,
        AlertState::Resolved { .. } => Tone::Good,
        AlertState::Inactive => Tone::Off,
    }
}

/// The word for a state.
pub(crate) fn state(state: AlertState) -> &'static str {
    match state {
        AlertState::Inactive => "inactive",
        AlertState::Pending { .. } => "pending",
        AlertState::Firing { .. } => "firing",
        AlertState::Resolved { .. } => "resolved",
    }
}

/// Alerts with what they say and where to read on.
pub(crate) fn table(alerts: &[TriagedAlert], now_ms: u64) -> Markup {
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "State" }
                    th scope="col" { "Alert" }
                    th scope="col" { "Endpoint" }
                    th scope="col" { "Since" }
                    th scope="col" { "Next" }
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
            td data-label="State" {
                span {
                    (badge(tone(alert), state(alert.state))) " "
                    span.tag { (alert.label("severity")) }
                }
            }
            td.name {
                div {
                    div.strong { (alert.name()) }
                    @for text in [alert.annotation("summary"), alert.annotation("description")] {
                        @if !text.is_empty() { div.soft.small { (text) } }
                    }
                    @if let Some(why) = &triaged.suppression { div.small.text-notice { (suppressed(why, now_ms)) } }
                }
            }
            td.break data-label="Endpoint" {
                @if endpoint == ALL_ENDPOINTS { "all" }
                @else if !endpoint.is_empty() { span { a href=(endpoint_path(endpoint)) { (endpoint) } @if !version.is_empty() { " v" (version) } } }
            }
            td.nowrap data-label="Since" { @if let Some(since_ms) = alert.since_ms() { (ago(since_ms, now_ms)) } }
            td.nowrap data-label="Next" {
                span.links-in {
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

fn suppressed(why: &Suppression, now_ms: u64) -> Markup {
    match why {
        Suppression::Silence { id } => html! { "told to nobody: silence " code { (id) } },
        Suppression::Inhibition { .. } => html! { "told to nobody: another alert explains it" },
        Suppression::Replica { name } => html! { "told by the replica " (name) },
        Suppression::DeployWindow { version, until_ms } => {
            html! { "told to nobody: version " (version) " was deployed, held back until " (ago(*until_ms, now_ms)) }
        }
    }
}
