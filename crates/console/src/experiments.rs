//! The page of experiments.

use maud::{Markup, html};

use crate::badge::{Tone, badge};
use crate::format::{count, number};
use crate::page::{Page, Part};
use crate::section::{Section, endpoint_path};

/// The page of experiments.
#[derive(Debug)]
pub struct Experiments {
    /// The newest first.
    pub experiments: Vec<ExperimentView>,
}

/// An experiment.
#[derive(Clone, Debug)]
pub struct ExperimentView {
    /// Its name.
    pub name: String,
    /// The endpoint.
    pub endpoint: String,
    /// Whether it runs.
    pub is_running: bool,
    /// Whether its users get their arms.
    pub is_assigned: bool,
    /// Why it stopped.
    pub reason: Option<String>,
    /// What it says.
    pub conclusion: Option<String>,
    /// Its arms, the control first.
    pub arms: Vec<ExperimentArmView>,
}

/// An arm of an experiment.
#[derive(Clone, Debug)]
pub struct ExperimentArmView {
    /// Its version.
    pub version: String,
    /// Its share of the users.
    pub share: String,
    /// Its users.
    pub users: u64,
    /// Its metrics.
    pub metrics: Vec<ExperimentMetricView>,
}

/// A metric of an arm.
#[derive(Clone, Debug)]
pub struct ExperimentMetricView {
    /// Its name.
    pub name: String,
    /// Whether it only must not get worse.
    pub is_guardrail: bool,
    /// The mean of the users.
    pub mean: Option<f64>,
    /// The difference to the control, and where it lies at all times together: the estimate, the lower and
    /// the upper bound.
    pub difference: Option<[f64; 3]>,
    /// `better`, `worse`, `equivalent` or `undecided`; none of the control.
    pub verdict: Option<String>,
}

impl Experiments {
    /// The page.
    pub fn page(&self) -> Page {
        let head = html! { div.head { h1 { "Experiments" } span.soft { "which version is better for users" } } };
        Page {
            title: "Experiments".to_owned(),
            section: Some(Section::Experiments),
            parts: vec![Part::fixed(head), Part::live("experiments", self.body())],
        }
    }

    fn body(&self) -> Markup {
        html! {
            div #experiments.stack {
                @if self.experiments.is_empty() {
                    section.card {
                        p.empty { "There was no experiment yet: start one with " code { "tidegate experiment start" } "." }
                    }
                }
                @for experiment in &self.experiments { (experiment.card()) }
            }
        }
    }
}

impl ExperimentView {
    fn card(&self) -> Markup {
        let (tone, state) = match (self.is_running, self.is_assigned) {
            (true, true) => (Tone::Good, "running"),
            (true, false) => (Tone::Notice, "not assigned"),
            (false, _) => (Tone::Off, "stopped"),
        };
        html! {
            section.card {
                div.title {
                    h2 { (self.name) " on " a href=(endpoint_path(&self.endpoint)) { (self.endpoint) } }
                    (badge(tone, state))
                }
                @if let Some(conclusion) = &self.conclusion { p.break { (conclusion) } }
                @if let Some(reason) = &self.reason { p.break.soft { "Stopped: " (reason) } }
                @if self.is_running && !self.is_assigned {
                    p.break { "Its users get no arms: somebody has changed the traffic policy of the endpoint." }
                }
                @if !self.arms.is_empty() { (self.table()) }
            }
        }
    }

    fn table(&self) -> Markup {
        html! {
            table.cards {
                thead {
                    tr {
                        th scope="col" { "Version" } th.num scope="col" { "Share" } th.num scope="col" { "Users" }
                        th scope="col" { "Metric" } th.num scope="col" { "Mean" } th scope="col" { "Difference" }
                        th scope="col" { "Verdict" }
                    }
                }
                tbody {
                    @for arm in &self.arms {
                        @for metric in &arm.metrics { (row(arm, metric)) }
                    }
                }
            }
        }
    }
}

fn row(arm: &ExperimentArmView, metric: &ExperimentMetricView) -> Markup {
    let tone = match metric.verdict.as_deref() {
        Some("better") => Tone::Good,
        Some("worse") => Tone::Bad,
        _ => Tone::Off,
    };
    html! {
        tr {
            td data-label="Version" { (arm.version) }
            td.num data-label="Share" { (arm.share) }
            td.num data-label="Users" { (count(arm.users)) }
            td data-label="Metric" { (metric.name) @if metric.is_guardrail { span.soft { " guardrail" } } }
            td.num data-label="Mean" { @if let Some(mean) = metric.mean { (number(mean)) } @else { "–" } }
            td data-label="Difference" {
                @if let Some([estimate, low, high]) = metric.difference {
                    (number(estimate)) span.soft { " (" (number(low)) " to " (number(high)) ")" }
                } @else { "–" }
            }
            td data-label="Verdict" { @if let Some(verdict) = &metric.verdict { (badge(tone, verdict)) } }
        }
    }
}
