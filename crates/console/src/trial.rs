//! A form to try a prediction with.

use maud::{Markup, html};

use crate::badge::{Tone, badge};
use crate::format::millis;
use crate::page::{Page, Part};
use crate::section::{Section, endpoint_path};

/// A prediction that is tried.
#[derive(Debug, Default)]
pub struct Trial {
    /// The models that can be asked.
    pub models: Vec<String>,
    /// The model that is asked.
    pub model: String,
    /// The version that is asked, by number or alias; the one that answers for the model if empty.
    pub version: String,
    /// The versions and aliases that can be asked.
    pub versions: Vec<String>,
    /// The body of the request.
    pub body: String,
    /// Where the body comes from, in words; empty if somebody wrote it.
    pub source: String,
    /// What came of it; `None` before it is asked.
    pub answer: Option<TrialAnswer>,
}

/// What came of a request.
#[derive(Debug)]
pub enum TrialAnswer {
    /// It was answered.
    Answered {
        /// From when the server had the request to when it had the answer, in milliseconds.
        took_ms: f64,
        /// The answer's body.
        body: String,
        /// Whether the body is cut off here.
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
                span.soft { "a request that goes the way of every other one, and counts" }
                @if !self.model.is_empty() { span.links { a href=(endpoint_path(&self.model)) { "Endpoint" } } }
            }
        }
    }

    fn form(&self) -> Markup {
        html! {
            section.card.stack aria-label="Request" {
                form.filter method="get" action=(Section::Try.path()) {
                    div {
                        label for="choose" { "Model" }
                        input #choose name="model" list="models" value=(self.model) required maxlength="256" autocomplete="off";
                        datalist #models { @for model in &self.models { option value=(model) {} } }
                    }
                    button type="submit" { "Show a sample" }
                }
                @if self.model.is_empty() { p.empty { "Choose a model." } }
                @else {
                    form method="post" action=(Section::Try.path()) {
                        input type="hidden" name="model" value=(self.model);
                        div.fields {
                            div {
                                label for="version" { "Version" }
                                select #version name="version" {
                                    option value="" { "the one that answers" }
                                    @for version in &self.versions { option value=(version) selected[*version == self.version] { (version) } }
                                }
                            }
                            div.whole {
                                label for="body" {
                                    "Body of " code { "POST /v2/models/" (self.model) "/infer" }
                                    @if !self.source.is_empty() { ", " (self.source) }
                                }
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
                        pre tabindex="0" role="region" aria-label="Body of the answer" { (body) }
                        @if *is_cut { p.soft { "The rest is not shown." } }
                    }
                },
                Some(TrialAnswer::Refused { took_ms, status, code, message, meaning, remedy }) => {
                    section #answer.card {
                        div.title { h2 { "Refused" } (badge(Tone::Bad, &status.to_string())) span.soft { "in " (millis(*took_ms)) } }
                        p.message role="alert" { (message) }
                        dl.facts {
                            dt { "Code" } dd { code { (code) } }
                            dt { "It means" } dd { (meaning) }
                            dt { "What to do" } dd { (remedy) }
                        }
                    }
                },
            }
        }
    }
}
