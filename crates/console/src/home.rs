//! The home page: whether the server is healthy, and what is wrong if it is not.

use maud::{Markup, html};
use tidegate_observe::Event;
use tidegate_observe::alerting::{Alert, TriagedAlert};

use crate::alert_table;
use crate::badge::{Tone, badge};
use crate::chart::spark;
use crate::event_table;
use crate::format::{NONE, count, millis, percent, rate};
use crate::listing::Listing;
use crate::meter;
use crate::page::{Page, Part};
use crate::section::{Section, endpoint_path};

/// Alerts and problems that are listed under the headline; the pages have all of them.
const MAX_ALERTS: usize = 5;
const MAX_PROBLEMS: usize = 8;

/// The home page: health of the server and its endpoints.
#[derive(Debug)]
pub struct Home {
    /// The time of what is shown, in Unix milliseconds.
    pub now_ms: u64,
    /// Whether it takes traffic.
    pub is_ready: bool,
    /// Whether it is still loading its first models.
    pub is_starting: bool,
    /// Problems that no alert reports.
    pub problems: Vec<Problem>,
    /// The endpoints of this page, those with problems first.
    pub endpoints: Vec<EndpointRow>,
    /// All endpoints.
    pub listing: Listing,
    /// The window of rates and percentiles, in words.
    pub window: String,
    /// Firing alerts.
    pub alerts: Vec<TriagedAlert>,
    /// The last events, the newest first.
    pub events: Vec<Event>,
}

/// A problem of the server.
#[derive(Clone, Debug)]
pub struct Problem {
    /// How serious it is.
    pub tone: Tone,
    /// What is wrong.
    pub text: String,
}

/// A row of the table of endpoints.
#[derive(Clone, Debug)]
pub struct EndpointRow {
    /// Its name.
    pub name: String,
    /// The tone of its state.
    pub tone: Tone,
    /// Its state in a word.
    pub state: String,
    /// The default version; empty if none is serving.
    pub version: String,
    /// Requests a second.
    pub rate_per_s: f64,
    /// The 50th, 95th and 99th percentile of request times, in milliseconds.
    pub quantiles_ms: [Option<f64>; 3],
    /// The share of requests without a server fault.
    pub success: Option<f64>,
    /// Requests in the queue.
    pub queued: usize,
    /// The lowest remaining error budget of its objectives.
    pub budget: Option<f64>,
    /// Firing alerts.
    pub firing: usize,
    /// Those of them that are pages.
    pub pages: usize,
    /// Requests a second over the last 15 minutes.
    pub trend: Vec<Option<f64>>,
}

impl Home {
    /// The page.
    pub fn page(&self) -> Page {
        Page {
            title: "Home".to_owned(),
            section: Some(Section::Home),
            parts: vec![
                // The headline is an `h2` of a part that changes; screen readers look for an `h1`
                // on every page.
                Part::fixed(html! { h1.hidden { "Home" } }),
                Part::live("health", self.health()),
                Part::fixed(
                    html! { @if self.listing.is_long() { (self.listing.filter(Section::Home.path(), "Endpoint")) } },
                ),
                Part::live("endpoints", self.endpoints()),
                Part::live("now", self.now()),
            ],
        }
    }

    fn health(&self) -> Markup {
        let (tone, headline) = self.headline();
        html! {
            section #health.card.health.(tone.class()) aria-label="Health" {
                (badge(tone, advice(tone)))
                div {
                    h2 { (headline) }
                    @if tone == Tone::Good { p.soft { "All endpoints are serving, and no alert is firing." } }
                    (self.causes())
                }
            }
        }
    }

    /// The worst state of the server, with a sentence about it.
    fn headline(&self) -> (Tone, String) {
        let pages = self.notified("page").count();
        let tickets = self.notified("ticket").count();
        let problems = plural(self.problems.len(), "problem");
        // Tones are ordered from the worst to the best.
        let worst = self.problems.iter().map(|problem| problem.tone).min();
        match (self.is_ready, pages, worst) {
            // Not ready is normal while starting, so this comes first.
            _ if self.is_starting => (Tone::Busy, "Starting: models are loading".to_owned()),
            (false, ..) => (Tone::Bad, "Not ready: do not send traffic".to_owned()),
            (true, 1.., _) => (Tone::Bad, format!("{} firing", plural(pages, "page"))),
            (true, 0, Some(tone @ Tone::Bad)) => (tone, problems),
            (true, 0, Some(_)) => (Tone::Notice, format!("Serving, with {problems}")),
            (true, 0, None) if tickets > 0 => {
                let tickets = plural(tickets, "ticket");
                (Tone::Notice, format!("Serving, with {tickets} firing"))
            }
            (true, 0, None) => (Tone::Good, "Healthy".to_owned()),
        }
    }

    /// The causes of the headline: firing alerts, pages first, and problems.
    fn causes(&self) -> Markup {
        let alerts = self.notified("page").chain(self.notified("ticket"));
        let alerts: Vec<&Alert> = alerts.take(MAX_ALERTS).collect();
        let more = self.problems.len().saturating_sub(MAX_PROBLEMS);
        html! {
            @if !alerts.is_empty() || !self.problems.is_empty() {
                ul {
                    @for alert in alerts { (cause(alert)) }
                    @for problem in self.problems.iter().take(MAX_PROBLEMS) { li.break { (problem.text) } }
                    @if more > 0 { li { "and " (more) " more" } }
                }
            }
        }
    }

    /// Firing alerts of a severity that notify people: a silenced alert does not make a server
    /// unhealthy.
    fn notified<'a>(&'a self, severity: &'a str) -> impl Iterator<Item = &'a Alert> {
        self.alerts
            .iter()
            .filter(|triaged| triaged.is_notified())
            .map(|triaged| &triaged.alert)
            .filter(move |alert| alert.label("severity") == severity)
    }

    fn endpoints(&self) -> Markup {
        html! {
            section #endpoints.card {
                div.title { h2 { "Endpoints" } span.soft { "rates and latencies of the last " (self.window) } }
                @if self.endpoints.is_empty() {
                    p.empty { @if self.listing.query.is_empty() { "No models yet." } @else { "No endpoint matches the filter." } }
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
                    div.title { h2 { "Latest events" } span.links { a href=(Section::Events.path()) { "All events" } } }
                    (event_table::table(&self.events, self.now_ms, true))
                }
            }
        }
    }
}

/// What to do about a tone, in a word or two.
fn advice(tone: Tone) -> &'static str {
    match tone {
        Tone::Bad => "act now",
        Tone::Notice => "check",
        Tone::Busy | Tone::Off => "wait",
        Tone::Good => "ok",
    }
}

fn cause(alert: &Alert) -> Markup {
    let endpoint = alert.label("endpoint");
    html! {
        li.break {
            (alert.name())
            @if !endpoint.is_empty() { " on " (endpoint) }
            ": " (alert.annotation("summary"))
        }
    }
}

/// `1 page`, `2 pages`.
fn plural(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
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

/// The style of a success rate: below 99.9 % it is marked, below 99 % it is bad.
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

    fn health(home: &Home) -> String {
        home.health().into_string()
    }

    #[test]
    fn the_headline_is_about_the_worst_problem() {
        assert!(health(&home()).contains("Healthy"));
        let problem = |tone| {
            vec![Problem {
                tone,
                text: "x <b>".to_owned(),
            }]
        };
        let degraded = health(&Home {
            problems: problem(Tone::Notice),
            ..home()
        });
        assert!(
            degraded.contains("Serving, with 1 problem") && degraded.contains("x &lt;b&gt;"),
            "{degraded}"
        );
        assert!(
            health(&Home {
                problems: problem(Tone::Bad),
                ..home()
            })
            .contains("act now")
        );
        assert!(
            health(&Home {
                is_ready: false,
                ..home()
            })
            .contains("do not send traffic")
        );
        assert!(
            health(&Home {
                is_ready: false,
                is_starting: true,
                ..home()
            })
            .contains("Starting")
        );
    }
}
