//! The first page: whether everything is well, and where it is not.

use maud::{Markup, html};
use tidegate_observe::Event;
use tidegate_observe::alerting::TriagedAlert;

use crate::alert_table;
use crate::badge::{Tone, badge};
use crate::chart::spark;
use crate::event_table;
use crate::format::{NONE, count, millis, percent, rate};
use crate::listing::Listing;
use crate::meter;
use crate::page::{Page, Part};
use crate::section::{Section, endpoint_path};

/// How the server and its endpoints are.
#[derive(Debug)]
pub struct Home {
    /// When this was looked at, in Unix milliseconds.
    pub now_ms: u64,
    /// Whether it takes traffic.
    pub is_ready: bool,
    /// Whether it is still loading what it begins with.
    pub is_starting: bool,
    /// What is not as it should be, without alerts.
    pub problems: Vec<Problem>,
    /// The endpoints of this page, those in trouble first.
    pub endpoints: Vec<EndpointRow>,
    /// All endpoints.
    pub listing: Listing,
    /// Over how long rates and percentiles are taken, in words.
    pub window: String,
    /// What fires.
    pub alerts: Vec<TriagedAlert>,
    /// What has happened last, the newest first.
    pub events: Vec<Event>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug)]
pub struct Problem {
    /// How bad.
    pub tone: Tone,
    /// What.
    pub text: String,
}

/// How an endpoint is.
#[derive(Clone, Debug)]
pub struct EndpointRow {
    /// Its name.
    pub name: String,
    /// How good its state is.
    pub tone: Tone,
    /// Its state in a word.
    pub state: String,
    /// The version that answers; empty if none does.
    pub version: String,
    /// Requests a second.
    pub rate_per_s: f64,
    /// The 50th, 95th and 99th percentile of request times, in milliseconds.
    pub quantiles_ms: [Option<f64>; 3],
    /// The share of requests that the server did not fail.
    pub success: Option<f64>,
    /// Requests that wait.
    pub queued: usize,
    /// What is left of the budget of the objective that has least.
    pub budget: Option<f64>,
    /// Alerts that fire.
    pub firing: usize,
    /// Those of them that need somebody now.
    pub pages: usize,
    /// Requests a second over the last quarter of an hour.
    pub trend: Vec<Option<f64>>,
}

impl Home {
    /// The page.
    pub fn page(&self) -> Page {
        Page {
            title: "Home".to_owned(),
            section: Some(Section::Home),
            parts: vec![
                Part::fixed(html! { h1.hidden { "Home" } }),
                Part::live("verdict", self.verdict()),
                Part::fixed(
                    html! { @if self.listing.is_long() { (self.listing.filter(Section::Home.path(), "Endpoint")) } },
                ),
                Part::live("endpoints", self.endpoints()),
                Part::live("now", self.now()),
            ],
        }
    }

    fn verdict(&self) -> Markup {
        let told = || self.alerts.iter().filter(|triaged| triaged.is_notified());
        let pages = told()
            .filter(|triaged| triaged.alert.label("severity") == "page")
            .count();
        let worst = self.problems.iter().map(|problem| problem.tone).min();
        let (tone, headline) = match (self.is_ready, pages, worst) {
            _ if self.is_starting => (Tone::Busy, "Starting: models are being loaded"),
            (false, ..) => (Tone::Bad, "Not ready: no traffic should be sent here"),
            (true, 1.., _) => (Tone::Bad, "Somebody is needed now"),
            (true, 0, Some(Tone::Bad)) => (Tone::Bad, "Something is broken"),
            (true, 0, Some(_)) => (Tone::Notice, "Serving, and something is amiss"),
            (true, 0, None) if told().count() > 0 => {
                (Tone::Notice, "Serving, and something needs a look")
            }
            (true, 0, None) => (Tone::Good, "All is well"),
        };
        let word = match tone {
            Tone::Bad => "act now",
            Tone::Notice => "have a look",
            Tone::Busy | Tone::Off => "wait",
            Tone::Good => "well",
        };
        html! {
            section #verdict.card.verdict.(tone.class()) aria-label="Verdict" {
                (badge(tone, word))
                div {
                    h2 { (headline) }
                    @if tone == Tone::Good {
                        p.soft { "Everything that should answer does, and no alert fires." }
                    }
                    @if !self.problems.is_empty() || pages > 0 {
                        ul {
                            @for triaged in told().filter(|triaged| triaged.alert.label("severity") == "page").take(5) {
                                li.break { (triaged.alert.name()) @if !triaged.alert.label("endpoint").is_empty() { " on " (triaged.alert.label("endpoint")) } ": " (triaged.alert.annotation("summary")) }
                            }
                            @for problem in self.problems.iter().take(8) { li.break { (problem.text) } }
                            @if self.problems.len() > 8 { li { "and " (self.problems.len() - 8) " more" } }
                        }
                    }
                }
            }
        }
    }

    fn endpoints(&self) -> Markup {
        html! {
            section #endpoints.card {
                div.title { h2 { "Endpoints" } span.soft { "rates and times of the last " (self.window) } }
                @if self.endpoints.is_empty() {
                    p.empty { @if self.listing.query.is_empty() { "There is no model yet." } @else { "No endpoint has this in its name." } }
                } @else {
                    table.cards {
                        thead {
                            tr {
                                th scope="col" { "Endpoint" }
                                th scope="col" { "State" }
                                th.num scope="col" { "Rate" }
                                th scope="col" { "15 min" }
                                th.num scope="col" { "P50" }
                                th.num scope="col" { "P95" }
                                th.num scope="col" { "P99" }
                                th.num scope="col" { "Success" }
                                th.num scope="col" { "Queue" }
                                th.num scope="col" { "Budget left" }
                            }
                        }
                        tbody { @for row in &self.endpoints { (row.render()) } }
                    }
                    (self.listing.pager(Section::Home.path()))
                }
            }
        }
    }

    fn now(&self) -> Markup {
        html! {
            div #now.stack {
                section.card {
                    div.title { h2 { "Firing alerts" } span.links { a href=(Section::Alerts.path()) { "All alerts" } } }
                    @if self.alerts.is_empty() { p.empty { "None." } } @else { (alert_table::table(&self.alerts, self.now_ms)) }
                }
                section.card {
                    div.title { h2 { "Last events" } span.links { a href=(Section::Events.path()) { "All events" } } }
                    (event_table::table(&self.events, self.now_ms, true))
                }
            }
        }
    }
}

impl EndpointRow {
    fn render(&self) -> Markup {
        html! {
            tr {
                td.name {
                    span {
                        a.strong href=(endpoint_path(&self.name)) { (self.name) }
                        @if !self.version.is_empty() { " " span.soft.small { "v" (self.version) } }
                    }
                }
                td data-label="State" {
                    span {
                        (badge(self.tone, &self.state))
                        @if self.firing > 0 { " " (badge(if self.pages > 0 { Tone::Bad } else { Tone::Notice }, &format!("{} firing", self.firing))) }
                    }
                }
                td.num data-label="Rate" { (rate(self.rate_per_s)) }
                td data-label="15 min" { (spark(&self.trend)) }
                @for (name, ms) in ["P50", "P95", "P99"].into_iter().zip(self.quantiles_ms) {
                    td.num data-label=(name) { (ms.map_or_else(|| NONE.to_owned(), millis)) }
                }
                td.num data-label="Success" {
                    @match self.success {
                        None => (NONE),
                        Some(share) => span.(success_class(share)) { (percent(share)) },
                    }
                }
                td.num data-label="Queue" { (count(self.queued as u64)) }
                td.num data-label="Budget left" { @match self.budget { None => span.soft { (NONE) }, Some(left) => (meter::budget(left)) } }
            }
        }
    }
}

/// The class of a success rate: a thousandth that fails should be looked at, a hundredth is bad.
fn success_class(share: f64) -> &'static str {
    match share {
        share if share < 0.99 => "text-bad",
        share if share < 0.999 => "text-notice",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Home {
        let mut listing = Listing::new(String::new(), 1, 50);
        listing.page_of(vec![0]);
        Home {
            now_ms: 1_000_000,
            is_ready: true,
            is_starting: false,
            problems: Vec::new(),
            endpoints: Vec::new(),
            listing,
            window: "5 min".to_owned(),
            alerts: Vec::new(),
            events: Vec::new(),
        }
    }

    fn verdict(home: &Home) -> String {
        home.verdict().into_string()
    }

    #[test]
    fn the_verdict_is_that_of_the_worst() {
        assert!(verdict(&home()).contains("All is well"));
        let problem = |tone| {
            vec![Problem {
                tone,
                text: "x <b>".to_owned(),
            }]
        };
        let amiss = verdict(&Home {
            problems: problem(Tone::Notice),
            ..home()
        });
        assert!(
            amiss.contains("something is amiss") && amiss.contains("x &lt;b&gt;"),
            "{amiss}"
        );
        assert!(
            verdict(&Home {
                problems: problem(Tone::Bad),
                ..home()
            })
            .contains("Something is broken")
        );
        assert!(
            verdict(&Home {
                is_ready: false,
                ..home()
            })
            .contains("no traffic should be sent")
        );
        assert!(
            verdict(&Home {
                is_ready: false,
                is_starting: true,
                ..home()
            })
            .contains("Starting")
        );
    }
}
