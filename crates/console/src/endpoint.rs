//! The page of an endpoint: its requests over time, what they met, and which version answered them.

use maud::{Markup, html};
use tidegate_observe::alerting::TriagedAlert;
use tidegate_observe::{BudgetAt, Event, Point, Traffic};

use crate::alert_table;
use crate::badge::{Tone, badge};
use crate::chart::{Chart, Line, Mark, TimeAxis, Unit, mark_list};
use crate::format::{NONE, clock, count, millis, number, percent, rate};
use crate::meter;
use crate::models::VersionState;
use crate::page::{Page, Part};
use crate::range::Range;
use crate::section::{Section, endpoint_path, model_path, try_path};
use crate::timeline::{Timeline, Values};

/// Versions that are drawn each by itself; the others are one line.
const MOST_LINES: usize = 6;

/// An endpoint over a range of time.
#[derive(Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// How far back it is shown.
    pub range: Range,
    /// How far apart points lie, in milliseconds.
    pub step_ms: u64,
    /// When the server began to count, in Unix milliseconds.
    pub started_ms: u64,
    /// When this was looked at.
    pub now_ms: u64,
    /// How good its state is.
    pub tone: Tone,
    /// Its state in a word.
    pub state: String,
    /// Requests that wait.
    pub queued: usize,
    /// What the requests of all versions came to.
    pub points: Vec<Point>,
    /// Each version that is loaded or was asked.
    pub versions: Vec<VersionTraffic>,
    /// What happened in the range that charts should show, the newest first.
    pub events: Vec<Event>,
    /// Its alerts that are pending or fire.
    pub alerts: Vec<TriagedAlert>,
    /// The objectives that hold for it.
    pub objectives: Vec<ObjectiveTrend>,
}

/// A column of the table: its name, its values, and how they are written.
type Column = (&'static str, Values, fn(f64) -> String);

/// What a version did.
#[derive(Debug)]
pub struct VersionTraffic {
    /// Its number.
    pub version: String,
    /// Where it stands; `None` if it is not loaded any more.
    pub state: Option<VersionState>,
    /// Whether it answers requests that name no version.
    pub is_default: bool,
    /// Its other names.
    pub aliases: Vec<String>,
    /// Requests that wait for it.
    pub queued: usize,
    /// What its requests came to.
    pub points: Vec<Point>,
}

/// An objective, and what was left of its budget.
#[derive(Debug)]
pub struct ObjectiveTrend {
    /// Its name.
    pub name: String,
    /// What it promises, in words.
    pub target: String,
    /// What is left of the budget.
    pub remaining: f64,
    /// What was left over time.
    pub burn_down: Vec<BudgetAt>,
}

impl Endpoint {
    /// The page.
    pub fn page(&self) -> Page {
        let marks = Mark::of(&self.events);
        let timeline = Timeline::new(self.range.ms(), self.step_ms, self.started_ms, self.now_ms);
        Page {
            title: self.name.clone(),
            section: Some(Section::Home),
            parts: vec![
                Part::fixed(self.head()),
                Part::live("figures", self.figures(&timeline)),
                Part::live("alerts", self.alerts()),
                Part::live("charts", self.charts(&timeline, &marks)),
                Part::live("marks", self.marks(&marks)),
                Part::live("versions", self.versions(&timeline)),
                Part::live("objectives", self.objectives(&timeline, &marks)),
                Part::live("table", self.table(&timeline)),
            ],
        }
    }

    fn head(&self) -> Markup {
        html! {
            div.head {
                h1 { (self.name) }
                span.soft { "endpoint" }
                span.links { a href=(model_path(&self.name)) { "Model" } a href=(try_path(&self.name)) { "Try it" } }
            }
            (self.range.choice(&endpoint_path(&self.name)))
        }
    }

    fn figures(&self, timeline: &Timeline) -> Markup {
        let mut all = Traffic::default();
        self.points
            .iter()
            .for_each(|point| all.merge(&point.traffic));
        let ran_ms = timeline
            .now_ms
            .saturating_sub(timeline.first_ms.max(self.started_ms))
            .max(1000);
        let quantile = |share| {
            all.request
                .quantile_ms(share)
                .map_or_else(|| NONE.to_owned(), millis)
        };
        let success = all
            .error_rate()
            .map_or_else(|| NONE.to_owned(), |failed| percent(1.0 - failed));
        html! {
            dl #figures.tiles {
                div { dt { "State" } dd { (badge(self.tone, &self.state)) } }
                div { dt { "Requests" } dd { (count(all.requests())) } }
                div { dt { "Rate" } dd { (rate(all.requests() as f64 * 1000.0 / ran_ms as f64)) } }
                div { dt { "P50" } dd { (quantile(0.5)) } }
                div { dt { "P95" } dd { (quantile(0.95)) } }
                div { dt { "P99" } dd { (quantile(0.99)) } }
                div { dt { "Success" } dd { (success) } }
                div { dt { "Waiting now" } dd { (count(self.queued as u64)) } }
            }
        }
    }

    fn alerts(&self) -> Markup {
        html! {
            div #alerts.stack hidden[self.alerts.is_empty()] {
                @if !self.alerts.is_empty() {
                    section.card { h2 { "Alerts" } (alert_table::table(&self.alerts, self.now_ms)) }
                }
            }
        }
    }

    fn charts(&self, timeline: &Timeline, marks: &[Mark]) -> Markup {
        let time = self.time(timeline);
        let chart = |title, unit, lines| {
            Chart {
                title,
                unit,
                lines,
                is_stacked: false,
                time,
                marks,
            }
            .render()
        };
        let rates =
            |name: &str, of: fn(&Traffic) -> u64| Line::new(name, timeline.rates(&self.points, of));
        let figures = |name: &str, of: &dyn Fn(&Traffic) -> Option<f64>| {
            Line::new(name, timeline.figures(&self.points, of))
        };
        let versions = Chart {
            title: "Requests by version",
            unit: Unit::PerSecond,
            lines: self.by_version(timeline),
            is_stacked: true,
            time,
            marks,
        };
        html! {
            section #charts.card aria-label="Charts" {
                div.charts {
                    (chart("Latency", Unit::Millis, vec![
                        figures("P50", &|traffic| traffic.request.quantile_ms(0.5)),
                        figures("P95", &|traffic| traffic.request.quantile_ms(0.95)),
                        figures("P99", &|traffic| traffic.request.quantile_ms(0.99)),
                    ]))
                    (versions.render())
                    (chart("Not answered", Unit::PerSecond, vec![
                        rates("failed", |traffic| traffic.failed),
                        rates("wrong requests", |traffic| traffic.client_errors),
                        rates("client gone", |traffic| traffic.abandoned),
                    ]))
                    (chart("Waiting for an instance", Unit::Millis, vec![
                        figures("P50", &|traffic| traffic.queue.quantile_ms(0.5)),
                        figures("P95", &|traffic| traffic.queue.quantile_ms(0.95)),
                        figures("P99", &|traffic| traffic.queue.quantile_ms(0.99)),
                    ]))
                    (chart("In the engine", Unit::Millis, vec![
                        figures("P50", &|traffic| traffic.run.quantile_ms(0.5)),
                        figures("P95", &|traffic| traffic.run.quantile_ms(0.95)),
                        figures("P99", &|traffic| traffic.run.quantile_ms(0.99)),
                    ]))
                    (chart("Batch", Unit::Rows, vec![figures("rows run together, mean", &Traffic::mean_batch_rows)]))
                }
            }
        }
    }

    fn time(&self, timeline: &Timeline) -> TimeAxis {
        TimeAxis {
            from_ms: timeline.first_ms,
            until_ms: self.now_ms,
            mark_ms: self.range.mark_ms(),
        }
    }

    /// A line for each version with traffic; those that had least are one.
    fn by_version(&self, timeline: &Timeline) -> Vec<Line> {
        let requests = |version: &VersionTraffic| {
            version
                .points
                .iter()
                .map(|point| point.traffic.requests())
                .sum::<u64>()
        };
        let mut asked: Vec<&VersionTraffic> = self
            .versions
            .iter()
            .filter(|version| requests(version) > 0)
            .collect();
        asked.sort_by_key(|version| std::cmp::Reverse(requests(version)));
        let rest = asked.split_off(asked.len().min(MOST_LINES));
        asked.sort_by_key(|version| version.version.parse::<u64>().unwrap_or(u64::MAX));
        let rates = |version: &VersionTraffic| timeline.rates(&version.points, Traffic::requests);
        let mut lines: Vec<Line> = asked
            .iter()
            .map(|version| Line::new(format!("version {}", version.version), rates(version)))
            .collect();
        if let Some(sum) = rest.iter().map(|version| rates(version)).reduce(plus) {
            lines.push(Line::new(format!("{} others", rest.len()), sum));
        }
        if lines.is_empty() {
            lines.push(Line::new(
                "all",
                timeline.rates(&self.points, Traffic::requests),
            ));
        }
        lines
    }

    fn marks(&self, marks: &[Mark]) -> Markup {
        html! {
            section #marks.card hidden[marks.is_empty()] {
                @if !marks.is_empty() { h2 { "What happened then" } (mark_list(marks, self.now_ms)) }
            }
        }
    }

    fn versions(&self, timeline: &Timeline) -> Markup {
        html! {
            section #versions.card {
                h2 { "Versions" }
                @if self.versions.is_empty() { p.empty { "No version is loaded." } }
                @else {
                    table.cards {
                        thead {
                            tr {
                                th scope="col" { "Version" } th scope="col" { "State" } th scope="col" { "Names" }
                                th.num scope="col" { "Requests" } th.num scope="col" { "Rate now" } th.num scope="col" { "P50" }
                                th.num scope="col" { "P99" } th.num scope="col" { "Success" } th.num scope="col" { "Waiting" }
                            }
                        }
                        tbody { @for version in &self.versions { (version.row(timeline)) } }
                    }
                }
            }
        }
    }

    fn objectives(&self, timeline: &Timeline, marks: &[Mark]) -> Markup {
        let lines = self.objectives.iter().map(|objective| {
            Line::new(
                &objective.name,
                objective
                    .burn_down
                    .iter()
                    .map(|point| (point.at_ms, Some(point.remaining)))
                    .collect(),
            )
        });
        let chart = || Chart {
            title: "Error budget left",
            unit: Unit::Share,
            lines: lines.collect(),
            is_stacked: false,
            time: self.time(timeline),
            marks,
        };
        html! {
            section #objectives.card {
                div.title { h2 { "Objectives" } span.links { a href=(Section::Objectives.path()) { "All objectives" } } }
                @if self.objectives.is_empty() { p.empty { "None is set for this endpoint." } }
                @else {
                    div.columns {
                        table.cards {
                            thead { tr { th scope="col" { "Objective" } th scope="col" { "Promise" } th.num scope="col" { "Budget left" } } }
                            tbody {
                                @for objective in &self.objectives {
                                    tr {
                                        th.name scope="row" { (objective.name) }
                                        td data-label="Promise" { (objective.target) }
                                        td.num data-label="Budget left" { (meter::budget(objective.remaining)) }
                                    }
                                }
                            }
                        }
                        (chart().render())
                    }
                }
            }
        }
    }

    /// The charts in figures.
    fn table(&self, timeline: &Timeline) -> Markup {
        let figures = |of: &dyn Fn(&Traffic) -> Option<f64>| timeline.figures(&self.points, of);
        let rates = |of: fn(&Traffic) -> u64| timeline.rates(&self.points, of);
        let columns: [Column; 9] = [
            ("Rate", rates(Traffic::requests), rate),
            (
                "P50",
                figures(&|traffic| traffic.request.quantile_ms(0.5)),
                millis,
            ),
            (
                "P95",
                figures(&|traffic| traffic.request.quantile_ms(0.95)),
                millis,
            ),
            (
                "P99",
                figures(&|traffic| traffic.request.quantile_ms(0.99)),
                millis,
            ),
            ("Failed", rates(|traffic| traffic.failed), rate),
            ("Wrong", rates(|traffic| traffic.client_errors), rate),
            (
                "Queue P95",
                figures(&|traffic| traffic.queue.quantile_ms(0.95)),
                millis,
            ),
            (
                "Engine P95",
                figures(&|traffic| traffic.run.quantile_ms(0.95)),
                millis,
            ),
            ("Batch rows", figures(&Traffic::mean_batch_rows), number),
        ];
        html! {
            section #table.card {
                details #table-details {
                    summary { "The charts in figures" }
                    div.wide tabindex="0" role="region" aria-label="The charts in figures" {
                        table {
                            thead { tr { th scope="col" { "From" } @for (name, ..) in &columns { th.num scope="col" { (name) } } } }
                            tbody {
                                @for at in (0..timeline.steps).rev() {
                                    tr {
                                        th.nowrap scope="row" { (clock(timeline.first_ms + at as u64 * timeline.step_ms)) }
                                        @for (_, values, text) in &columns {
                                            td.num { (values[at].1.map_or_else(|| NONE.to_owned(), text)) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl VersionTraffic {
    fn row(&self, timeline: &Timeline) -> Markup {
        let mut all = Traffic::default();
        self.points
            .iter()
            .for_each(|point| all.merge(&point.traffic));
        let now = timeline
            .rates(&self.points, Traffic::requests)
            .into_iter()
            .rev()
            .find_map(|(_, value)| value);
        let quantile = |share| {
            all.request
                .quantile_ms(share)
                .map_or_else(|| NONE.to_owned(), millis)
        };
        html! {
            tr {
                th scope="row" { (self.version) }
                td data-label="State" {
                    @match &self.state { Some(state) => (state.badge()), None => (badge(Tone::Off, "gone")) }
                }
                td data-label="Names" {
                    span {
                        @if self.is_default { span.tag { "default" } " " }
                        @for alias in &self.aliases { span.tag { (alias) } " " }
                    }
                }
                td.num data-label="Requests" { (count(all.requests())) }
                td.num data-label="Rate now" { (now.map_or_else(|| NONE.to_owned(), rate)) }
                td.num data-label="P50" { (quantile(0.5)) }
                td.num data-label="P99" { (quantile(0.99)) }
                td.num data-label="Success" { (all.error_rate().map_or_else(|| NONE.to_owned(), |failed| percent(1.0 - failed))) }
                td.num data-label="Waiting" { (count(self.queued as u64)) }
            }
        }
    }
}

fn plus(one: Values, other: Values) -> Values {
    let sum =
        |((at_ms, one), (_, other)): ((u64, Option<f64>), (u64, Option<f64>))| match (one, other) {
            (None, None) => (at_ms, None),
            (one, other) => (at_ms, Some(one.unwrap_or(0.0) + other.unwrap_or(0.0))),
        };
    one.into_iter().zip(other).map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn version(number: u64, answered: u64) -> VersionTraffic {
        let traffic = Traffic {
            answered,
            ..Traffic::default()
        };
        VersionTraffic {
            version: number.to_string(),
            state: None,
            is_default: false,
            aliases: Vec::new(),
            queued: 0,
            points: vec![Point {
                at_ms: NOW - 60_000,
                traffic,
            }],
        }
    }

    fn endpoint(versions: Vec<VersionTraffic>) -> Endpoint {
        Endpoint {
            name: "<i>".to_owned(),
            range: Range::Hour,
            step_ms: 60_000,
            started_ms: 0,
            now_ms: NOW,
            tone: Tone::Good,
            state: "ready".to_owned(),
            queued: 0,
            points: Vec::new(),
            versions,
            events: Vec::new(),
            alerts: Vec::new(),
            objectives: Vec::new(),
        }
    }

    #[test]
    fn the_busiest_versions_are_lines_and_the_rest_is_one() {
        let endpoint = endpoint((1..=9).map(|number| version(number, number * 60)).collect());
        let timeline = Timeline::new(Range::Hour.ms(), 60_000, 0, NOW);
        let lines = endpoint.by_version(&timeline);
        let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "version 4",
                "version 5",
                "version 6",
                "version 7",
                "version 8",
                "version 9",
                "3 others"
            ]
        );
        let most = lines[6]
            .values
            .iter()
            .filter_map(|value| value.1)
            .fold(0.0, f64::max);
        assert_eq!(most, 6.0, "1 + 2 + 3 a second");
    }

    #[test]
    fn the_page_is_whole_without_anything_to_show_and_escapes_the_name() {
        let frame = crate::Frame {
            version: "1",
            state: "ready",
            tone: Tone::Good,
            firing: 0,
            now_ms: NOW,
        };
        let page = endpoint(Vec::new()).page().render(&frame);
        assert!(
            page.contains("&lt;i&gt;")
                && !page.contains("<i>")
                && page.contains("/console/endpoints/%3Ci%3E?range=6h")
        );
        assert_eq!(page.matches("<figure").count(), 6);
    }
}
