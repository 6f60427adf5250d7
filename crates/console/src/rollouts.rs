//! The page of rollouts, and the report of one of them.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Deserialize;

use crate::asset::style;
use crate::badge::{Tone, badge};
use crate::format::{clock, count, number, segment};
use crate::page::{Page, Part};
use crate::section::{Section, endpoint_path};

mod plot;

/// The page of rollouts.
#[derive(Debug)]
pub struct Rollouts {
    /// Those that are under way, wait for others, or ended last, in this order.
    pub rollouts: Vec<RolloutView>,
    /// What was refused, if a form was.
    pub problem: String,
}

/// A rollout, with all that is known of it. Reads what `GET /api/rollouts/{name}` gives.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RolloutView {
    /// Its name.
    pub id: String,
    /// The endpoint.
    pub endpoint: String,
    /// The version that is gone back to.
    pub from: String,
    /// The new version.
    pub to: String,
    /// `queued`, `waiting`, `running`, `paused`, `promoted` or `aborted`.
    pub phase: String,
    /// Why it is paused or aborted.
    pub reason: Option<String>,
    /// The step, from 1.
    pub step: usize,
    /// How many steps there are.
    pub steps: usize,
    /// The share of requests that the new version answers.
    pub weight: String,
    /// The share of requests that are copied to it.
    pub copies: String,
    /// The new version's requests in the step.
    pub step_requests: u64,
    /// What its checks say.
    pub checks: Vec<CheckView>,
    /// What happened, the oldest first.
    pub events: Vec<EventView>,
    /// How the checks went.
    pub trace: TraceView,
}

/// A check.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct CheckView {
    /// Its name.
    pub check: String,
    /// `failed`, `not_failed` or `no_data`.
    pub outcome: String,
    /// The probability of what was seen, or more, if the new version were no worse; valid at all times.
    pub p_value: Option<f64>,
    /// The probability of a false alarm.
    pub alpha: f64,
    /// How much more the new version has.
    pub effect: Option<f64>,
    /// Where that lies, with probability 1 − alpha at all times.
    pub interval: Option<IntervalView>,
    /// What was compared.
    pub compared: ArmsView,
    /// What something outside said.
    pub message: String,
}

/// An interval.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct IntervalView {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// A number of both versions.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct ArmsView {
    /// Of the new one.
    pub candidate: u64,
    /// Of the one before.
    pub control: u64,
}

/// Something that happened.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct EventView {
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// What.
    pub what: String,
}

/// How the checks of a rollout went.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TraceView {
    /// From time to time.
    pub points: Vec<TracePointView>,
}

/// What all checks said at one time.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TracePointView {
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// In the order of the checks.
    pub checks: Vec<CheckPointView>,
}

/// What a check said at one time.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct CheckPointView {
    /// The evidence against the new version: the natural logarithm of the e-value.
    pub log_e: f64,
    /// Where the difference lies.
    pub interval: Option<IntervalView>,
}

/// A rollout as a page of its own, which needs no server and no network.
pub fn rollout_report(rollout: &RolloutView) -> String {
    let title = format!(
        "Rollout of {} from version {} to {}",
        rollout.endpoint, rollout.from, rollout.to
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Tidegate" }
                style { (PreEscaped(style().body)) }
            }
            body {
                main {
                    div.head { h1 { (title) } }
                    (rollout.card(false))
                }
                footer { "All times are UTC. A check may be looked at all the time: the probability that it ever fails \
                    while the new version is no worse is at most its alpha." }
            }
        }
    };
    page.into_string()
}

impl Rollouts {
    /// The page.
    pub fn page(&self) -> Page {
        let head = html! { div.head { h1 { "Rollouts" } span.soft { "from one version to the next, and back if it is worse" } } };
        Page {
            title: "Rollouts".to_owned(),
            section: Some(Section::Rollouts),
            parts: vec![
                Part::fixed(head),
                Part::fixed(self.problem()),
                Part::live("rollouts", self.body()),
            ],
        }
    }

    fn problem(&self) -> Markup {
        html! { @if !self.problem.is_empty() { p.message role="alert" { (self.problem) } } }
    }

    fn body(&self) -> Markup {
        html! {
            div #rollouts.stack {
                @if self.rollouts.is_empty() {
                    section.card {
                        p.empty { "There was no rollout yet: start one with " code { "tidegate rollout start" } "." }
                    }
                }
                @for rollout in &self.rollouts { (rollout.card(true)) }
            }
        }
    }
}

impl RolloutView {
    fn card(&self, with_buttons: bool) -> Markup {
        html! {
            section.card {
                div.title {
                    h2 {
                        a href=(endpoint_path(&self.endpoint)) { (self.endpoint) }
                        ": version " (self.from) " → " (self.to)
                    }
                    (badge(self.tone(), &self.phase))
                }
                @if let Some(reason) = &self.reason { p.break { (reason) } }
                p {
                    "Step " (self.step) " of " (self.steps) ": the new version answers " (self.weight) " of the requests"
                    @if self.copies != "0%" { " and gets copies of " (self.copies) }
                    ", " (count(self.step_requests)) " in this step."
                }
                @if with_buttons { (self.buttons()) }
                (self.check_table())
                (self.event_list())
            }
        }
    }

    fn tone(&self) -> Tone {
        match self.phase.as_str() {
            "promoted" | "running" => Tone::Good,
            "aborted" => Tone::Bad,
            "paused" => Tone::Notice,
            _ => Tone::Off,
        }
    }

    /// Forms, so that they work without scripts.
    fn buttons(&self) -> Markup {
        let commands: &[(&str, &str)] = match self.phase.as_str() {
            "waiting" | "running" => &[
                ("pause", "Pause"),
                ("promote", "Promote"),
                ("abort", "Abort"),
            ],
            "paused" => &[
                ("resume", "Resume"),
                ("promote", "Promote"),
                ("abort", "Abort"),
            ],
            _ => &[],
        };
        html! {
            @if !commands.is_empty() {
                div.buttons {
                    @for (command, label) in commands {
                        @let action = format!("/console/rollouts/{}/{command}", segment(&self.endpoint));
                        form method="post" action=(action) {
                            button.small type="submit" aria-label=(format!("{label} the rollout of {}", self.endpoint)) { (label) }
                        }
                    }
                }
            }
        }
    }

    fn check_table(&self) -> Markup {
        html! {
            @if !self.checks.is_empty() {
                table.cards {
                    thead {
                        tr {
                            th scope="col" { "Check" } th scope="col" { "State" } th scope="col" { "Evidence, until it fails" }
                            th.num scope="col" { "p" } th.num scope="col" { "alpha" } th scope="col" { "Difference" }
                            th.num scope="col" { "New" } th.num scope="col" { "Before" }
                        }
                    }
                    tbody { @for (at, check) in self.checks.iter().enumerate() { (self.check_line(at, check)) } }
                }
            }
        }
    }

    fn check_line(&self, at: usize, check: &CheckView) -> Markup {
        let points = self
            .trace
            .points
            .iter()
            .filter_map(|point| point.checks.get(at));
        let evidence: Vec<f64> = points.clone().map(|point| point.log_e).collect();
        let intervals: Vec<IntervalView> = points.filter_map(|point| point.interval).collect();
        let (tone, state) = match check.outcome.as_str() {
            "failed" => (Tone::Bad, "failed"),
            "not_failed" => (Tone::Good, "not worse"),
            _ => (Tone::Off, "no data"),
        };
        html! {
            tr {
                th.name scope="row" { (check.check) }
                td data-label="State" { (badge(tone, state)) }
                td data-label="Evidence" { (plot::evidence(&evidence, check.alpha)) }
                td.num data-label="p" { (p_value(check.p_value)) }
                td.num data-label="alpha" { (number(check.alpha)) }
                td data-label="Difference" { (check.difference()) (plot::intervals(&intervals)) }
                td.num data-label="New" { (count(check.compared.candidate)) }
                td.num data-label="Before" { (count(check.compared.control)) }
            }
            @if !check.message.is_empty() { tr { td.break colspan="8" { (check.message) } } }
        }
    }

    fn event_list(&self) -> Markup {
        html! {
            details open[self.events.len() <= 12] {
                summary { "What happened" }
                ol.plain {
                    @for event in &self.events {
                        li { span.soft { (clock(event.at_ms)) } " " (event.what) }
                    }
                }
            }
        }
    }
}

impl CheckView {
    fn difference(&self) -> String {
        match (self.effect, self.interval) {
            (None, _) => crate::format::NONE.to_owned(),
            (Some(effect), None) => signed(effect),
            (Some(effect), Some(IntervalView { low, high })) => {
                format!("{} ({} to {})", signed(effect), signed(low), signed(high))
            }
        }
    }
}

fn signed(value: f64) -> String {
    format!("{value:+.4}")
}

fn p_value(p: Option<f64>) -> String {
    let Some(p) = p else {
        return crate::format::NONE.to_owned();
    };
    if p >= 0.001 {
        format!("{p:.3}")
    } else {
        format!("{p:.0e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout() -> RolloutView {
        let check = CheckView {
            check: "errors".to_owned(),
            outcome: "failed".to_owned(),
            p_value: Some(1e-9),
            alpha: 0.01,
            effect: Some(0.25),
            interval: Some(IntervalView {
                low: 0.1,
                high: 0.4,
            }),
            ..CheckView::default()
        };
        let point = |at_ms, log_e| TracePointView {
            at_ms,
            checks: vec![CheckPointView {
                log_e,
                interval: check.interval,
            }],
        };
        RolloutView {
            endpoint: "<fraud>".to_owned(),
            phase: "running".to_owned(),
            copies: "0%".to_owned(),
            trace: TraceView {
                points: vec![point(0, 0.0), point(1000, 9.0)],
            },
            checks: vec![check],
            ..RolloutView::default()
        }
    }

    #[test]
    fn a_report_needs_nothing_from_outside_and_escapes_names() {
        let report = rollout_report(&rollout());
        assert!(report.contains("&lt;fraud&gt;") && !report.contains("<fraud>"));
        assert!(
            !report.contains("<link") && !report.contains("<script") && !report.contains("<form")
        );
        assert!(report.contains("+0.2500 (+0.1000 to +0.4000)") && report.contains("1e-9"));
        assert_eq!(report.matches("<svg").count(), 2);
    }

    #[test]
    fn what_can_be_done_depends_on_the_state() {
        let mut rollout = rollout();
        let labels =
            |rollout: &RolloutView| rollout.buttons().into_string().matches("<form").count();
        assert_eq!(labels(&rollout), 3);
        rollout.phase = "promoted".to_owned();
        assert_eq!(labels(&rollout), 0);
    }
}
