//! The page of objectives: targets, status, remaining budgets and burn rates.

use maud::{Markup, html};
use tidegate_observe::{AlertState, BURN_ALERTS, BurnAlert, BurnWindow, Severity, Sli, Slo};

use crate::alert_table;
use crate::badge::{Tone, badge};
use crate::format::{NONE, ago, count, millis, number, percent};
use crate::listing::Listing;
use crate::meter;
use crate::page::{Page, Part};
use crate::section::{Section, endpoint_path};

/// The page of objectives.
#[derive(Debug)]
pub struct Objectives {
    /// The time of what is shown, in Unix milliseconds.
    pub now_ms: u64,
    /// The objectives of this page, those with least budget first.
    pub rows: Vec<ObjectiveRow>,
    /// All of them.
    pub listing: Listing,
}

/// An objective with its status.
#[derive(Clone, Debug)]
pub struct ObjectiveRow {
    /// Its name.
    pub name: String,
    /// The endpoint whose requests count; `None` for all.
    pub endpoint: Option<String>,
    /// Its target, in words.
    pub target: String,
    /// Good requests in its window.
    pub good: u64,
    /// All requests in its window that count.
    pub total: u64,
    /// The share of its budget that is left.
    pub remaining: f64,
    /// When the budget will be used up at the rate of the last hour, in Unix milliseconds.
    pub exhausted_ms: Option<u64>,
    /// The burn rate over each of [`BurnWindow::ALL`].
    pub burns: Vec<Option<f64>>,
    /// The state of each of [`BURN_ALERTS`].
    pub alerts: Vec<AlertState>,
}

/// The target of an objective, in words: `99.9 % within 204.8 ms over 30d`.
pub fn describe_target(slo: &Slo) -> String {
    let target = percent(slo.target());
    let what = match slo.sli() {
        Sli::Availability => "successful".to_owned(),
        Sli::Latency(bound) => format!("within {}", millis(bound.ms())),
        Sli::Freshness => "with fresh features".to_owned(),
    };
    format!("{target} {what} over {}", slo.window())
}

impl Objectives {
    /// The page.
    pub fn page(&self) -> Page {
        let head = html! {
            div.head { h1 { "Objectives" } }
            p.soft {
                "At a burn rate of 1 the error budget lasts exactly for the objective's window. An alert fires while the burn rate is \
                 above its factor in both a long and a short window."
            }
            @if self.listing.is_long() { (self.listing.filter(Section::Objectives.path(), "Objective or endpoint")) }
        };
        Page {
            title: "Objectives".to_owned(),
            section: Some(Section::Objectives),
            parts: vec![Part::fixed(head), Part::live("objectives", self.table())],
        }
    }

    fn table(&self) -> Markup {
        html! {
            section #objectives.card aria-label="Objectives" {
                @if self.rows.is_empty() {
                    p.empty {
                        @if self.listing.query.is_empty() { "No objectives yet: add " code { "[[slo]]" } " to the configuration." }
                        @else { "No objective matches the filter." }
                    }
                } @else {
                    table.cards {
                        thead {
                            tr {
                                th scope="col" { "Objective" } th scope="col" { "Status" } th scope="col" { "Target" }
                                th.num scope="col" { "Good requests" } th.num scope="col" { "Budget left" }
                                @for window in BurnWindow::ALL { th.num scope="col" { span.hidden { "Burn rate over " } (window.name()) } }
                            }
                        }
                        tbody { @for row in &self.rows { (row.render(self.now_ms)) } }
                    }
                    (self.listing.pager(Section::Objectives.path()))
                }
            }
        }
    }
}

impl ObjectiveRow {
    fn render(&self, now_ms: u64) -> Markup {
        html! {
            tr {
                td.name {
                    div {
                        div.strong { (self.name) }
                        @match &self.endpoint {
                            Some(endpoint) => a.small href=(endpoint_path(endpoint)) { (endpoint) },
                            None => span.soft.small { "all endpoints" },
                        }
                    }
                }
                td data-label="Status" { (self.status(now_ms)) }
                td data-label="Target" { (self.target) }
                td.num data-label="Good requests" { span { (count(self.good)) " of " (count(self.total)) } }
                td.num data-label="Budget left" { (meter::budget(self.remaining)) }
                @for (window, burn) in BurnWindow::ALL.into_iter().zip(&self.burns) {
                    td.num data-label=(format!("Burn rate, {}", window.name())) {
                        @match burn { None => span.soft { (NONE) }, Some(rate) => span.(class(window, *rate)) { (number(*rate)) } }
                    }
                }
            }
        }
    }

    fn status(&self, now_ms: u64) -> Markup {
        // Firing alerts first, then pending ones.
        let mut alerts: Vec<(&BurnAlert, AlertState)> = BURN_ALERTS
            .iter()
            .zip(self.alerts.iter().copied())
            .filter(|(_, state)| is_active(*state))
            .collect();
        // `false` sorts before `true`.
        alerts.sort_by_key(|(_, state)| matches!(state, AlertState::Pending { .. }));
        html! {
            div {
                @if alerts.is_empty() {
                    @if self.remaining <= 0.0 { (badge(Tone::Bad, "used up")) }
                    @else if self.total == 0 { (badge(Tone::Off, "no requests")) }
                    @else { (badge(Tone::Good, "met")) }
                }
                @for (alert, state) in alerts {
                    div { (badge(alert_tone(alert, state), &format!("{} {}", alert.id, alert_table::state(state)))) }
                }
                @if let Some(at_ms) = self.exhausted_ms {
                    @if at_ms > now_ms && self.remaining > 0.0 { div.small.soft { "used up " (ago(at_ms, now_ms)) } }
                }
            }
        }
    }
}

fn is_active(state: AlertState) -> bool {
    matches!(
        state,
        AlertState::Firing { .. } | AlertState::Pending { .. }
    )
}

fn alert_tone(alert: &BurnAlert, state: AlertState) -> Tone {
    match (alert.severity, state) {
        (Severity::Page, AlertState::Firing { .. }) => Tone::Bad,
        _ => Tone::Notice,
    }
}

/// The style of a burn rate: marked if it is above the factor of an alert over this window.
fn class(window: BurnWindow, rate: f64) -> &'static str {
    let exceeded: Vec<Severity> = BURN_ALERTS
        .iter()
        .filter(|alert| alert.long == window || alert.short == window)
        .filter(|alert| rate > alert.factor)
        .map(|alert| alert.severity)
        .collect();
    if exceeded.contains(&Severity::Page) {
        "text-bad"
    } else if exceeded.contains(&Severity::Ticket) {
        "text-notice"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_bad_above_the_factor_of_its_alert() {
        assert_eq!(class(BurnWindow::OneHour, 15.0), "text-bad");
        assert_eq!(class(BurnWindow::OneHour, 14.0), "");
        assert_eq!(class(BurnWindow::OneDay, 3.5), "text-notice");
        assert_eq!(class(BurnWindow::ThreeDays, 0.9), "");
    }
}
