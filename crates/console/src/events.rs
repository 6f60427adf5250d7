//! The page of events.

use maud::{Markup, html};
use tidegate_observe::Event;

use crate::event_table;
use crate::format::segment;
use crate::page::{Page, Part};
use crate::section::Section;

/// The page of events, the newest first.
#[derive(Debug)]
pub struct Events {
    /// The time of what is shown, in Unix milliseconds.
    pub now_ms: u64,
    /// Events, the newest first.
    pub events: Vec<Event>,
    /// Only events of this name, or of names that begin with it; every one if empty.
    pub name: String,
    /// Only events about this model; every one if empty.
    pub model: String,
    /// The number of the event from which older ones are shown next, where there are any.
    pub older: Option<u64>,
    /// Whether these are the newest.
    pub is_newest: bool,
}

/// Groups of events that the form offers, by the prefix of their names.
const KINDS: [(&str, &str); 7] = [
    ("version", "versions"),
    ("alert", "alerts"),
    ("silence", "silences"),
    ("rollouts", "rollouts"),
    ("configuration", "configuration"),
    ("server", "server"),
    ("cost", "cost"),
];

impl Events {
    /// The page.
    pub fn page(&self) -> Page {
        let list = self.list();
        // Older pages have no live part, so that what somebody reads does not move when events are
        // added.
        let list = if self.is_newest {
            Part::live("events", list)
        } else {
            Part::fixed(list)
        };
        Page {
            title: "Events".to_owned(),
            section: Some(Section::Events),
            parts: vec![Part::fixed(self.head()), list],
        }
    }

    fn head(&self) -> Markup {
        html! {
            div.head { h1 { "Events" } }
            form.filter method="get" action=(Section::Events.path()) role="search" {
                div {
                    label for="name" { "Kind" }
                    select #name name="name" {
                        option value="" { "all kinds" }
                        @for (prefix, words) in KINDS {
                            option value=(prefix) selected[prefix == self.name] { (words) " (all)" }
                        }
                        // After the groups, because most questions are about a whole group.
                        @for (name, _) in Event::NAMES { option value=(name) selected[name == self.name] { (name) } }
                    }
                }
                div {
                    label for="model" { "Model" }
                    input #model type="search" name="model" value=(self.model) maxlength="256" autocomplete="off";
                }
                button type="submit" { "Filter" }
                @if !self.name.is_empty() || !self.model.is_empty() { a href=(Section::Events.path()) { "Show all" } }
            }
        }
    }

    /// The address of this page with the same filter, for events older than one of them.
    fn address(&self, before: Option<u64>) -> String {
        let before = before.map(|id| format!("&before={id}")).unwrap_or_default();
        format!(
            "{}?name={}&model={}{before}",
            Section::Events.path(),
            segment(&self.name),
            segment(&self.model)
        )
    }

    fn list(&self) -> Markup {
        html! {
            section #events.card aria-label="Events" {
                (event_table::table(&self.events, self.now_ms, false))
                @if !self.is_newest || self.older.is_some() {
                    nav.pager aria-label="Pages" {
                        @if !self.is_newest { a href=(self.address(None)) { "← Newest" } }
                        @if let Some(id) = self.older { a href=(self.address(Some(id))) rel="next" { "Older →" } }
                    }
                }
            }
        }
    }
}
