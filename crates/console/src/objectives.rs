//! Every objective: what it promises, what is left of its budget, how fast it burns.

use maud::{Markup, html};
use tidegate_observe::{AlertState, BURN_ALERTS, BurnWindow, Sli, Slo};

use crate::alert_table;
use crate::badge::{Tone, badge};
use crate::format::{NONE, ago, count, millis, number, percent};
use crate::listing::Listing;
use crate::meter;
use crate::page::{Page, Part};
use crate::section::{Section, endpoint_path};

/// The objectives of a server.
#[derive(Debug)]
pub struct Objectives {
    /// When this was looked at, in Unix milliseconds.
    pub now_ms: u64,
    /// The objectives of this page, those with least budget first.
    pub rows: Vec<ObjectiveRow>,
    /// All of them.
    pub listing: Listing,
}

/// An objective, and how it stands.
#[derive(Clone, Debug)]
pub struct ObjectiveRow {
    /// Its name.
    pub name: String,
    /// The endpoint whose requests count; `None` for all.
    pub endpoint: Option<String>,
    /// What it promises, in words.
    pub target: String,
    /// Good requests in its window.
    pub good: u64,
    /// All requests in its window that count.
    pub total: u64,
    /// What is left of its budget.
    pub remaining: f64,
    /// When the budget will be spent if the last hour goes on, in Unix milliseconds.
    pub exhausted_ms: Option<u64>,
    /// The burn rate over each of [`BurnWindow::ALL`].
    pub burns: Vec<Option<f64>>,
    /// The state of each of [`BURN_ALERTS`].
    pub alerts: Vec<AlertState>,
}

/// What an objective promises, in words: `99.9 % within 204.8 ms, over 30d`.
pub fn describe_target(slo: &Slo) -> String {
    let target = percent(slo.target());
    let what = match slo.sli() {
        Sli::Availability => "answered".to_owned(),
        Sli::Latency(bound) => format!("within {}", millis(bound.ms())),
    };
    format!("{target} {what}, over {}", slo.window())
}

impl Objectives {
    /// The page.
    pub fn page(&self) -> Page {
        let head = html! {
            div.head { h1 { "Objectives" } }
            p.soft {
                "A burn rate of 1 spends the error budget in exactly the objective's window. An alert fires while the rate is above \
                 its factor over a long and a short window."
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
                        @if self.listing.query.is_empty() { "None is set: add " code { "[[slo]]" } " to the configuration." }
                        @else { "No objective has this in its name." }
                    }
                } @else {
                    table.cards {
                        thead {
                            tr {
                                th scope="col" { "Objective" } th scope="col" { "Status" } th scope="col" { "Promise" }
                                th.num scope="col" { "Good of all" } th.num scope="col" { "Budget left" }
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
                td data-label="Promise" { (self.target) }
                td.num data-label="Good of all" { span { (count(self.good)) " of " (count(self.total)) } }
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
        let alerts = || BURN_ALERTS.iter().zip(&self.alerts);
        let firing = alerts().filter(|(_, state)| matches!(state, AlertState::Firing { .. }));
        let pending = alerts().filter(|(_, state)| matches!(state, AlertState::Pending { .. }));
        let (firing, pending): (Vec<_>, Vec<_>) = (firing.collect(), pending.collect());
        html! {
            div {
                @if firing.is_empty() && pending.is_empty() {
                    @if self.remaining <= 0.0 { (badge(Tone::Bad, "spent")) }
                    @else if self.total == 0 { (badge(Tone::Off, "no requests")) }
                    @else { (badge(Tone::Good, "kept")) }
                }
                @for (alert, state) in firing.iter().chain(&pending) {
                    @let is_page = alert.severity.name() == "page" && matches!(state, AlertState::Firing { .. });
                    div { (badge(if is_page { Tone::Bad } else { Tone::Notice }, &format!("{} {}", alert.id, alert_table::state(**state)))) }
                }
                @if let Some(at_ms) = self.exhausted_ms {
                    @if at_ms > now_ms && self.remaining > 0.0 { div.small.soft { "spent " (ago(at_ms, now_ms)) } }
                }
            }
        }
    }
}

/// How bad a burn rate is: above the factor of an alert that looks at this window.
fn class(window: BurnWindow, rate: f64) -> &'static str {
    let above = |severity: &str| {
        let looks =
            |alert: &&tidegate_observe::BurnAlert| alert.long == window || alert.short == window;
        BURN_ALERTS
            .iter()
            .filter(looks)
            .any(|alert| alert.severity.name() == severity && rate > alert.factor)
    };
    match (above("page"), above("ticket")) {
        (true, _) => "text-bad",
        (false, true) => "text-notice",
        (false, false) => "",
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
