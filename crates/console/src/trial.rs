//! The page to try a model: a form that sends a real request.

use maud::{Markup, html};

use crate::badge::{Tone, badge};
use crate::format::millis;
use crate::page::{Page, Part};
use crate::section::{Section, endpoint_path};

/// The page to try a model.
#[derive(Debug, Default)]
pub struct Trial {
    /// The models that can be chosen.
    pub models: Vec<String>,
    /// The chosen model.
    pub model: String,
    /// Whether the server has no such model.
    pub is_unknown: bool,
    /// The chosen version, by number or alias; the default version if empty.
    pub version: String,
    /// The versions and aliases that can be chosen.
    pub versions: Vec<String>,
    /// The body of the request.
    pub body: String,
    /// Where the body comes from, in words; empty if the user wrote it.
    pub source: String,
    /// The answer; `None` before a request was sent.
    pub answer: Option<TrialAnswer>,
}

/// The answer to a request.
#[derive(Debug)]
pub enum TrialAnswer {
    /// It was answered.
    Answered {
        /// Time from the complete request to the answer, in milliseconds.
        took_ms: f64,
        /// The answer's body.
        body: String,
        /// Whether the body is truncated.
        is_cut: bool,
    },
    /// It was refused.
    Refused {
        /// How long that took, in milliseconds.
        took_ms: f64,
        /// The HTTP status that a client gets.
        status: u16,
        /// The code of the error.
        code: &'static str,
        /// What was wrong.
        message: String,
        /// What the code means.
        meaning: &'static str,
        /// What a client can do.
        remedy: &'static str,
    },
}

impl Trial {
    /// The page.
    pub fn page(&self) -> Page {
        Page {
            title: "Try".to_owned(),
            section: Some(Section::Try),
            parts: vec![
                Part::fixed(self.head()),
                Part::fixed(self.form()),
                Part::fixed(self.answer()),
            ],
        }
    }

    fn head(&self) -> Markup {
        html! {
            div.head {
                h1 { "Try" }
                span.soft { "a real request; it counts in statistics" }
                @if !self.model.is_empty() { span.links { a href=(endpoint_path(&self.model)) { "Endpoint" } } }
            }
        }
    }

    fn form(&self) -> Markup {
        html! {
            section.card.stack aria-label="Request" {
                // GET, so that the chosen model is part of the address and other pages can link to
                // it.
                form.filter method="get" action=(Section::Try.path()) {
                    div {
                        label for="choose" { "Model" }
                        input #choose name="model" list="models" value=(self.model) required maxlength="256" autocomplete="off";
                        datalist #models { @for model in &self.models { option value=(model) {} } }
                    }
                    button type="submit" { "Show a sample" }
                }
                @if self.model.is_empty() { p.empty { "Choose a model." } }
                @else if self.is_unknown { p.message role="alert" { "There is no model " (self.model) "." } }
                @else {
                    form method="post" action=(Section::Try.path()) {
                        input type="hidden" name="model" value=(self.model);
                        div.fields {
                            div {
                                label for="version" { "Version" }
                                select #version name="version" {
                                    option value="" { "default version" }
                                    @for version in &self.versions { option value=(version) selected[*version == self.version] { (version) } }
                                }
                            }
                            div.whole {
                                label for="body" {
                                    "Body of " code { "POST /v2/models/" (self.model) "/infer" }
                                    @if !self.source.is_empty() { ", " (self.source) }
                                }
                                // No spelling check: browsers would underline most of a JSON text.
                                textarea #body name="body" rows="12" required spellcheck="false" { (self.body) }
                            }
                            div.whole { button.main type="submit" { "Send" } }
                        }
                    }
                }
            }
        }
    }

    fn answer(&self) -> Markup {
        html! {
            @match &self.answer {
                None => {},
                Some(TrialAnswer::Answered { took_ms, body, is_cut }) => {
                    section #answer.card {
                        div.title { h2 { "Answer" } (badge(Tone::Good, "200")) span.soft { "in " (millis(*took_ms)) } }
                        // What scrolls must be reachable by keyboard (WCAG 2.1, criterion 2.1.1).
                        pre tabindex="0" role="region" aria-label="Body of the answer" { (body) }
                        @if *is_cut { p.soft { "The rest of the answer is not shown." } }
                    }
                },
                Some(TrialAnswer::Refused { took_ms, status, code, message, meaning, remedy }) => {
                    section #answer.card {
                        div.title { h2 { "Refused" } (badge(Tone::Bad, &status.to_string())) span.soft { "in " (millis(*took_ms)) } }
                        p.message role="alert" { (message) }
                        dl.facts {
                            dt { "Code" } dd { code { (code) } }
                            dt { "Meaning" } dd { (meaning) }
                            dt { "What to do" } dd { (remedy) }
                        }
                    }
                },
            }
        }
    }
}
