//! What has happened.

use maud::{Markup, html};
use tidegate_observe::Event;

use crate::event_table;
use crate::format::segment;
use crate::page::{Page, Part};
use crate::section::Section;

/// The time line of events.
#[derive(Debug)]
pub struct Events {
    /// When this was looked at, in Unix milliseconds.
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

/// What the form offers: every name, and what they begin with.
const KINDS: [(&str, &str); 7] = [
    ("version", "versions"),
    ("alert", "alerts"),
    ("silence", "silences"),
    ("rollouts", "rollouts"),
    ("configuration", "configuration"),
    ("server", "starts"),
    ("cost", "costs"),
];

impl Events {
    /// The page.
    pub fn page(&self) -> Page {
        let list = self.list();
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
                        option value="" { "every kind" }
                        @for (prefix, words) in KINDS {
                            option value=(prefix) selected[prefix == self.name] { "all of " (words) }
                        }
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

    fn list(&self) -> Markup {
        let to = |before: Option<u64>| {
            let before = before.map(|id| format!("&before={id}")).unwrap_or_default();
            format!(
                "{}?name={}&model={}{before}",
                Section::Events.path(),
                segment(&self.name),
                segment(&self.model)
            )
        };
        html! {
            section #events.card aria-label="Events" {
                (event_table::table(&self.events, self.now_ms, false))
                @if !self.is_newest || self.older.is_some() {
                    nav.pager aria-label="Pages" {
                        @if !self.is_newest { a href=(to(None)) { "← Newest" } }
                        @if let Some(id) = self.older { a href=(to(Some(id))) rel="next" { "Older →" } }
                    }
                }
            }
        }
    }
}
