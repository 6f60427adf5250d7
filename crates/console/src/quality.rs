//! The quality page: what labels and windows say of each version.

use maud::{Markup, html};

use crate::badge::{Tone, badge};
use crate::format::{NONE, ago, count, number, percent};
use crate::page::{Page, Part};
use crate::section::{Section, endpoint_path};

/// The quality page.
#[derive(Debug)]
pub struct Quality {
    /// Whether any endpoint is captured.
    pub is_captured: bool,
    /// Versions that have answered, by endpoint.
    pub versions: Vec<VersionQuality>,
    /// The time of the page, in Unix milliseconds.
    pub now_ms: u64,
}

/// A version of an endpoint.
#[derive(Debug)]
pub struct VersionQuality {
    /// The endpoint.
    pub endpoint: String,
    /// The number of the version.
    pub version: String,
    /// Captured rows in the window.
    pub predictions: u64,
    /// Those with a label.
    pub labelled: u64,
    /// What the labels say.
    pub figures: Vec<AccuracyFigure>,
    /// What its probabilities say before labels come.
    pub estimated: Option<EstimatedFigures>,
    /// Why labels are not compared, or drift is not watched.
    pub problem: Option<String>,
    /// The last window that was held against the baseline.
    pub drift: Option<DriftFigure>,
}

/// What the probabilities of a version say of how right it is.
#[derive(Debug)]
pub enum EstimatedFigures {
    /// Why there is no estimate.
    NotCalibrated(String),
    /// There is one.
    Calibrated {
        /// The labelled predictions that it is calibrated on.
        labels: u64,
        /// The predictions after those, which it is of.
        rows: u64,
        /// The figures.
        figures: Vec<AccuracyFigure>,
    },
}

/// A figure with its interval.
#[derive(Debug)]
pub struct AccuracyFigure {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// The lower end of its interval.
    pub low: f64,
    /// The upper end of its interval.
    pub high: f64,
}

/// A window.
#[derive(Debug)]
pub struct DriftFigure {
    /// When it ended, in Unix milliseconds.
    pub end_ms: u64,
    /// Its rows.
    pub rows: u64,
    /// Columns that were compared.
    pub columns: usize,
    /// Those that drifted, with what changed.
    pub drifted: Vec<(String, String)>,
}

impl Quality {
    /// The page.
    pub fn page(&self) -> Page {
        let head = html! { div.head { h1 { "Quality" } span.soft { "of predictions that this server has captured" } } };
        Page {
            title: "Quality".to_owned(),
            section: Some(Section::Quality),
            parts: vec![Part::fixed(head), Part::live("quality", self.body())],
        }
    }

    fn body(&self) -> Markup {
        html! {
            div #quality.stack {
                @if !self.is_captured {
                    section.card {
                        p.empty { "No predictions are captured: name endpoints in " code { "[[capture.endpoint]]" } "." }
                    }
                } @else if self.versions.is_empty() {
                    section.card { p.empty { "No captured predictions were written yet: they are every " code { "capture.flush_s" } " seconds." } }
                } @else {
                    (self.accuracy())
                    (self.drift())
                }
            }
        }
    }

    fn accuracy(&self) -> Markup {
        html! {
            section.card {
                div.title { h2 { "Accuracy" } span.soft { "by labels, and as the probabilities say it before labels come, with 95 % intervals" } }
                table.cards {
                    thead {
                        tr {
                            th scope="col" { "Endpoint" } th scope="col" { "Version" } th.num scope="col" { "Captured rows" }
                            th.num scope="col" { "Labels" } th scope="col" { "By labels" }
                            th scope="col" { "Estimated" }
                        }
                    }
                    tbody { @for version in &self.versions { (version.accuracy_line()) } }
                }
            }
        }
    }

    fn drift(&self) -> Markup {
        html! {
            section.card {
                div.title { h2 { "Drift" } span.soft { "the last window against the baseline of the version" } }
                table.cards {
                    thead {
                        tr {
                            th scope="col" { "Endpoint" } th scope="col" { "Version" } th scope="col" { "State" }
                            th.num scope="col" { "Rows" } th scope="col" { "Window ended" } th scope="col" { "What changed" }
                        }
                    }
                    tbody { @for version in &self.versions { (version.drift_line(self.now_ms)) } }
                }
            }
        }
    }
}

impl VersionQuality {
    fn name(&self) -> Markup {
        html! {
            th.name scope="row" { a href=(endpoint_path(&self.endpoint)) { (self.endpoint) } }
            td data-label="Version" { (self.version) }
        }
    }

    fn accuracy_line(&self) -> Markup {
        html! {
            tr {
                (self.name())
                td.num data-label="Captured rows" { (count(self.predictions)) }
                td.num data-label="Labels" { (count(self.labelled)) }
                td.break data-label="By labels" {
                    @if let Some(problem) = &self.problem { (badge(Tone::Notice, "problem")) " " (problem) }
                    @else if self.figures.is_empty() { (NONE) }
                    @for figure in &self.figures { div { (figure.text()) } }
                }
                td.break data-label="Estimated" {
                    @match &self.estimated {
                        None => { (NONE) },
                        Some(estimated) => { (estimated.markup()) },
                    }
                }
            }
        }
    }

    fn drift_line(&self, now_ms: u64) -> Markup {
        html! {
            tr {
                (self.name())
                @match &self.drift {
                    None => {
                        td data-label="State" { (badge(Tone::Off, "no window")) }
                        td.num data-label="Rows" { (NONE) }
                        td data-label="Window ended" { (NONE) }
                        td data-label="What changed" { (NONE) }
                    },
                    Some(drift) => {
                        td data-label="State" { (drift.state()) }
                        td.num data-label="Rows" { (count(drift.rows)) }
                        td data-label="Window ended" { (ago(drift.end_ms, now_ms)) }
                        td.break data-label="What changed" {
                            @if drift.drifted.is_empty() { (NONE) }
                            @for (column, causes) in &drift.drifted { div { b { (column) } ": " (causes) } }
                        }
                    },
                }
            }
        }
    }
}

impl EstimatedFigures {
    fn markup(&self) -> Markup {
        html! {
            @match self {
                Self::NotCalibrated(problem) => { span.soft { (problem) } },
                Self::Calibrated { labels, rows, figures } => {
                    @for figure in figures { div { (figure.text()) } }
                    span.soft { "of " (count(*rows)) " predictions, calibrated on " (count(*labels)) " labels" }
                },
            }
        }
    }
}

impl AccuracyFigure {
    fn text(&self) -> String {
        let Self {
            name,
            value,
            low,
            high,
        } = self;
        // Errors of numbers have the unit of the numbers, and the others are shares.
        if matches!(*name, "mae" | "rmse" | "bias" | "log_loss" | "brier") {
            return format!(
                "{name} {} ({} to {})",
                number(*value),
                number(*low),
                number(*high)
            );
        }
        format!(
            "{name} {} ({} to {})",
            percent(*value),
            percent(*low),
            percent(*high)
        )
    }
}

impl DriftFigure {
    fn state(&self) -> Markup {
        match self.drifted.len() {
            0 => badge(Tone::Good, "no drift"),
            drifted => badge(
                Tone::Notice,
                &format!("{drifted} of {} columns drifted", self.columns),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> VersionQuality {
        VersionQuality {
            endpoint: "fraud".to_owned(),
            version: "7".to_owned(),
            predictions: 2000,
            labelled: 1000,
            figures: vec![AccuracyFigure {
                name: "accuracy",
                value: 0.97,
                low: 0.95,
                high: 0.98,
            }],
            estimated: Some(EstimatedFigures::Calibrated {
                labels: 1000,
                rows: 800,
                figures: vec![AccuracyFigure {
                    name: "accuracy",
                    value: 0.91,
                    low: 0.89,
                    high: 0.93,
                }],
            }),
            problem: None,
            drift: Some(DriftFigure {
                end_ms: 0,
                rows: 500,
                columns: 30,
                drifted: vec![("amount<b>".to_owned(), "multiplied by 100".to_owned())],
            }),
        }
    }

    #[test]
    fn figures_and_causes_are_shown_and_escaped() {
        let page = Quality {
            is_captured: true,
            versions: vec![version()],
            now_ms: 60_000,
        };
        let html = page.body().into_string();
        assert!(html.contains("accuracy 97"), "{html}");
        assert!(
            html.contains("accuracy 91") && html.contains("of 800 predictions"),
            "{html}"
        );
        assert!(html.contains("calibrated on 1,000 labels"), "{html}");
        assert!(html.contains("1 of 30 columns drifted"), "{html}");
        assert!(html.contains("amount&lt;b&gt;"), "{html}");
    }

    #[test]
    fn it_says_how_to_capture() {
        let page = Quality {
            is_captured: false,
            versions: Vec::new(),
            now_ms: 0,
        };
        assert!(page.body().into_string().contains("[[capture.endpoint]]"));
    }
}
