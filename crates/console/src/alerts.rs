//! The page of alerts and silences.

use maud::{Markup, html};
use tidegate_observe::alerting::{Silence, TriagedAlert};

use crate::alert_table;
use crate::badge::{Tone, badge};
use crate::format::{ago, segment};
use crate::listing::Listing;
use crate::page::{Page, Part};
use crate::section::Section;

/// The durations that the form offers for a silence: seconds, and their label.
const DURATIONS: [(u64, &str); 6] = [
    (1800, "30 minutes"),
    (7200, "2 hours"),
    (28_800, "8 hours"),
    (86_400, "1 day"),
    (259_200, "3 days"),
    (604_800, "1 week"),
];

/// The page of alerts and silences.
#[derive(Debug)]
pub struct Alerts {
    /// The time of what is shown, in Unix milliseconds.
    pub now_ms: u64,
    /// The alerts of this page: those that fire first.
    pub alerts: Vec<TriagedAlert>,
    /// All of them.
    pub listing: Listing,
    /// Active, pending and recently expired silences, the newest first.
    pub silences: Vec<Silence>,
    /// How many more silences there are.
    pub more_silences: usize,
    /// The initial values of the form.
    pub new: NewSilence,
}

/// The values of the form for a new silence.
#[derive(Clone, Debug, Default)]
pub struct NewSilence {
    /// One matcher a line.
    pub matchers: String,
    /// How long it lasts, in seconds.
    pub duration_s: u64,
    /// Who asks for it.
    pub author: String,
    /// The reason.
    pub comment: String,
    /// Why the last attempt was refused; empty if there was none.
    pub problem: String,
}

impl Alerts {
    /// The page.
    pub fn page(&self) -> Page {
        let head = html! {
            div.head { h1 { "Alerts" } }
            @if self.listing.is_long() { (self.listing.filter(Section::Alerts.path(), "Alert or endpoint")) }
        };
        Page {
            title: "Alerts".to_owned(),
            section: Some(Section::Alerts),
            parts: vec![
                Part::fixed(head),
                Part::live("alerts", self.table()),
                Part::live("silences", self.silences()),
                // Never sent again: an update would throw away what somebody is typing.
                Part::fixed(self.form()),
            ],
        }
    }

    fn table(&self) -> Markup {
        html! {
            section #alerts.card {
                h2 { "Pending, firing, and resolved in the last 15 minutes" }
                @if self.alerts.is_empty() { p.empty { "None." } }
                @else {
                    (alert_table::table(&self.alerts, self.now_ms))
                    (self.listing.pager(Section::Alerts.path()))
                }
            }
        }
    }

    fn silences(&self) -> Markup {
        html! {
            section #silences.card {
                h2 { "Silences" }
                @if self.silences.is_empty() { p.empty { "None." } }
                @else {
                    table.cards {
                        thead {
                            tr {
                                th scope="col" { "State" } th scope="col" { "Matchers" } th scope="col" { "Until" }
                                th scope="col" { "Author and comment" } th scope="col" { span.hidden { "End" } }
                            }
                        }
                        tbody { @for silence in &self.silences { (self.silence(silence)) } }
                    }
                    @if self.more_silences > 0 { p.soft { "and " (self.more_silences) " more: " code { "tidegate silence list" } } }
                }
            }
        }
    }

    fn silence(&self, silence: &Silence) -> Markup {
        let state = silence.state(self.now_ms);
        let tone = if state == "active" {
            Tone::Notice
        } else {
            Tone::Off
        };
        let expire = format!("/console/silences/{}/expire", segment(&silence.id));
        html! {
            tr {
                td data-label="State" { (badge(tone, state)) }
                td.break { span { @for matcher in &silence.matchers { code { (matcher.to_string()) } " " } } }
                td.nowrap data-label="Until" { (ago(silence.until_ms, self.now_ms)) }
                td.break { div { (silence.comment) div.soft.small { (silence.author) ", silence " code { (silence.id) } } } }
                td.num {
                    @if state != "expired" {
                        // A form, so that ending a silence works without scripts, as everything of
                        // the console does.
                        form method="post" action=(expire) {
                            // The label has the id: a list of buttons that all say "End now" tells
                            // a screen reader nothing.
                            button.small type="submit" aria-label=(format!("End silence {}", silence.id)) { "End now" }
                        }
                    }
                }
            }
        }
    }

    fn form(&self) -> Markup {
        let new = &self.new;
        html! {
            section #silence.card {
                h2 { "Silence alerts" }
                @if !new.problem.is_empty() { p.message role="alert" { (new.problem) } }
                form method="post" action="/console/silences" {
                    div.fields {
                        div.whole {
                            label for="matchers" { "Matchers, one per line; an alert must match all" }
                            textarea #matchers name="matchers" rows="3" required placeholder="endpoint=\"fraud\"" { (new.matchers) }
                        }
                        div {
                            label for="duration_s" { "Duration" }
                            select #duration_s name="duration_s" {
                                @for (seconds, words) in DURATIONS {
                                    option value=(seconds) selected[seconds == new.duration_s] { (words) }
                                }
                            }
                        }
                        div {
                            label for="author" { "Author" }
                            input #author name="author" required maxlength="200" autocomplete="username" value=(new.author);
                        }
                        div {
                            label for="comment" { "Comment" }
                            input #comment name="comment" required maxlength="1000" autocomplete="off" value=(new.comment);
                        }
                        div.whole { button.main type="submit" { "Silence" } }
                    }
                }
            }
        }
    }
}
