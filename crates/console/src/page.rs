//! A page: the bar at the top, and parts that are updated while the page is open.

use maud::{DOCTYPE, Markup, html};

use crate::asset::{icon, script, style};
use crate::badge::{Tone, badge};
use crate::format::clock;
use crate::login::sign_out;
use crate::section::Section;

/// The state of the server that every page shows.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The product's version.
    pub version: &'static str,
    /// Whether it accepts traffic, in a word.
    pub state: &'static str,
    /// The tone of that state.
    pub tone: Tone,
    /// Alerts that fire and notify people.
    pub firing: usize,
    /// The time of this state, in Unix milliseconds.
    pub now_ms: u64,
    /// Who looks at the page; `None` if the server does not ask.
    pub user: Option<User>,
}

/// Who looks at a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name of the principal.
    pub name: String,
    /// Whether they have a session that they may end.
    pub may_sign_out: bool,
}

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// Its section.
    pub section: Option<Section>,
    /// Its parts, in order.
    pub parts: Vec<Part>,
}

/// Part of a page: one element.
#[derive(Debug)]
pub struct Part {
    /// The element's id, if it changes while the page is open.
    pub id: Option<&'static str>,
    /// The element.
    pub body: Markup,
}

impl Part {
    /// A part that does not change.
    pub(crate) fn fixed(body: Markup) -> Self {
        Self { id: None, body }
    }

    /// A part that changes; the element must have this id.
    pub(crate) fn live(id: &'static str, body: Markup) -> Self {
        Self { id: Some(id), body }
    }
}

impl Page {
    /// The parts that change, each with its id: what is sent to open pages.
    pub fn live_parts(self, frame: &Frame) -> Vec<(&'static str, String)> {
        let own = self
            .parts
            .into_iter()
            .filter_map(|part| Some((part.id?, part.body.into_string())));
        std::iter::once((STATE, state(frame).into_string()))
            .chain(own)
            .collect()
    }

    /// Identifies this build's pages: a page of another build reloads itself.
    pub fn build() -> String {
        format!("{}{}", style().tag, script().tag)
    }

    /// The whole page.
    pub fn render(&self, frame: &Frame) -> String {
        let is_live = self.parts.iter().any(|part| part.id.is_some());
        let page = html! {
            (DOCTYPE)
            html lang="en" data-build=(Self::build()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) " · Tidegate" }
                    link rel="icon" type="image/svg+xml" href=(icon().path);
                    link rel="stylesheet" href=(style().path);
                    // Deferred: a page is complete without the script, and must not wait for it.
                    script src=(script().path) defer {}
                }
                body {
                    a.skip href="#content" { "Skip to content" }
                    (self.bar(frame, is_live))
                    // The skip link moves the focus here, which takes an element that can have it.
                    main #content tabindex="-1" { @for part in &self.parts { (part.body) } }
                    footer { "Tidegate " (frame.version) ". All times are UTC." }
                }
            }
        };
        page.into_string()
    }

    fn bar(&self, frame: &Frame, is_live: bool) -> Markup {
        html! {
            header.bar {
                div.bar-inner {
                    // The icon has an empty `alt`: the name stands beside it and would be read
                    // twice.
                    a.brand href=(Section::Home.path()) { img src=(icon().path) alt=""; "Tidegate" }
                    nav aria-label="Console" {
                        ul {
                            @for section in Section::ALL {
                                @let is_here = self.section == Some(section);
                                li {
                                    a href=(section.path()) aria-current=[is_here.then_some("page")] { (section.label()) }
                                }
                            }
                        }
                    }
                    div.bar-state {
                        (state(frame))
                        // `role="status"`: the script writes here when updates stop, and screen
                        // readers say it.
                        @if is_live { span #live-state role="status" {} }
                        @if let Some(user) = &frame.user {
                            span.user title=(user.name) { (user.name) }
                            @if user.may_sign_out { (sign_out()) }
                        }
                    }
                }
            }
        }
    }
}

/// The id of the server's state in the bar.
const STATE: &str = "server-state";

fn state(frame: &Frame) -> Markup {
    html! {
        span #(STATE) {
            (badge(frame.tone, frame.state)) " "
            @if frame.firing > 0 {
                a href=(Section::Alerts.path()) { (frame.firing) @if frame.firing == 1 { " alert" } @else { " alerts" } } " "
            }
            span.clock { (clock(frame.now_ms)) " UTC" }
        }
    }
}
