//! The page of an endpoint: its requests over time, its versions, objectives and alerts.

use maud::{Markup, html};
use tidegate_observe::alerting::TriagedAlert;
use tidegate_observe::{BudgetAt, Event, Point, Sketch, Traffic};

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

/// Versions that get a line of their own in the chart; the others share one.
const MAX_LINES: usize = 6;

/// The page of an endpoint over a range of time.
#[derive(Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// The range that is shown.
    pub range: Range,
    /// Distance between points, in milliseconds.
    pub step_ms: u64,
    /// When the server started counting, in Unix milliseconds.
    pub started_ms: u64,
    /// The time of what is shown, in Unix milliseconds.
    pub now_ms: u64,
    /// The tone of its state.
    pub tone: Tone,
    /// Its state in a word.
    pub state: String,
    /// Requests in the queue.
    pub queued: usize,
    /// Traffic of all versions.
    pub points: Vec<Point>,
    /// Each version that is loaded or had requests.
    pub versions: Vec<VersionTraffic>,
    /// Events in the range that are marked on the charts, the newest first.
    pub events: Vec<Event>,
    /// Its pending and firing alerts.
    pub alerts: Vec<TriagedAlert>,
    /// Its objectives.
    pub objectives: Vec<ObjectiveTrend>,
}

/// A column of the data table: its name, its values, and their format.
type Column = (&'static str, Values, fn(f64) -> String);

/// A version with its traffic.
#[derive(Debug)]
pub struct VersionTraffic {
    /// Its number.
    pub version: String,
    /// Its state; `None` if it is not loaded any more.
    pub state: Option<VersionState>,
    /// Whether it is the default version.
    pub is_default: bool,
    /// Its aliases.
    pub aliases: Vec<String>,
    /// Requests in its queue.
    pub queued: usize,
    /// Its traffic.
    pub points: Vec<Point>,
}

/// An objective with its remaining budget over time.
#[derive(Debug)]
pub struct ObjectiveTrend {
    /// Its name.
    pub name: String,
    /// Its target, in words.
    pub target: String,
    /// The share of the budget that is left.
    pub remaining: f64,
    /// The share that was left over time.
    pub burn_down: Vec<BudgetAt>,
}

/// Reads how many requests ended in one way.
type CountOutcome = fn(&Traffic) -> u64;

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
        let all = total(&self.points);
        // The server may have started within the range: the rate is over the time that it ran.
        let ran_ms = timeline
            .now_ms
            .saturating_sub(timeline.first_ms.max(self.started_ms))
            .max(1000);
        html! {
            dl #figures.tiles {
                div { dt { "State" } dd { (badge(self.tone, &self.state)) } }
                div { dt { "Requests" } dd { (count(all.requests())) } }
                div { dt { "Rate" } dd { (rate(all.requests() as f64 * 1000.0 / ran_ms as f64)) } }
                div { dt { "P50" } dd { (quantile(&all, 0.5)) } }
                div { dt { "P95" } dd { (quantile(&all, 0.95)) } }
                div { dt { "P99" } dd { (quantile(&all, 0.99)) } }
                div { dt { "Success" } dd { (success(&all)) } }
                div { dt { "Queue now" } dd { (count(self.queued as u64)) } }
            }
        }
    }

    fn alerts(&self) -> Markup {
        html! {
            // Sent even if there are none: an update needs an element of this id to take the place
            // of.
            div #alerts.stack hidden[self.alerts.is_empty()] {
                @if !self.alerts.is_empty() {
                    section.card { h2 { "Alerts" } (alert_table::table(&self.alerts, self.now_ms)) }
                }
            }
        }
    }

    fn charts(&self, timeline: &Timeline, marks: &[Mark]) -> Markup {
        let charts = [
            self.latency_chart("Latency", timeline, |traffic| &traffic.request),
            Chart {
                is_stacked: true,
                ..self.chart(
                    "Requests by version",
                    Unit::PerSecond,
                    timeline,
                    self.by_version(timeline),
                )
            },
            self.failure_chart(timeline),
            self.latency_chart("Time in queue", timeline, |traffic| &traffic.queue),
            self.latency_chart("Time in engine", timeline, |traffic| &traffic.run),
            self.batch_chart(timeline),
        ];
        html! {
            section #charts.card aria-label="Charts" {
                div.charts { @for chart in charts { (Chart { marks, ..chart }.render()) } }
            }
        }
    }

    /// A chart without marks.
    fn chart(
        &self,
        title: &'static str,
        unit: Unit,
        timeline: &Timeline,
        lines: Vec<Line>,
    ) -> Chart<'_> {
        Chart {
            title,
            unit,
            lines,
            is_stacked: false,
            time: self.time(timeline),
            marks: &[],
        }
    }

    /// Three percentiles of one of the times of requests.
    fn latency_chart(
        &self,
        title: &'static str,
        timeline: &Timeline,
        of: fn(&Traffic) -> &Sketch,
    ) -> Chart<'_> {
        let lines = [("P50", 0.5), ("P95", 0.95), ("P99", 0.99)].map(|(name, share)| {
            let values = timeline.figures(&self.points, |traffic| of(traffic).quantile_ms(share));
            Line::new(name, values)
        });
        self.chart(title, Unit::Millis, timeline, lines.into())
    }

    fn failure_chart(&self, timeline: &Timeline) -> Chart<'_> {
        let outcomes: [(&str, CountOutcome); 3] = [
            ("failed", |traffic| traffic.failed),
            ("client errors", |traffic| traffic.client_errors),
            // Kept apart from failures: a client that goes away says nothing about the server.
            ("client disconnected", |traffic| traffic.abandoned),
        ];
        let lines = outcomes.map(|(name, of)| Line::new(name, timeline.rates(&self.points, of)));
        self.chart("Unsuccessful", Unit::PerSecond, timeline, lines.into())
    }

    fn batch_chart(&self, timeline: &Timeline) -> Chart<'_> {
        let rows = timeline.figures(&self.points, Traffic::mean_batch_rows);
        let lines = vec![Line::new("mean rows per batch", rows)];
        self.chart("Batch size", Unit::Rows, timeline, lines)
    }

    fn time(&self, timeline: &Timeline) -> TimeAxis {
        TimeAxis {
            from_ms: timeline.first_ms,
            until_ms: self.now_ms,
            mark_ms: self.range.mark_ms(),
        }
    }

    /// A line for each version with traffic; those with the least traffic share one.
    fn by_version(&self, timeline: &Timeline) -> Vec<Line> {
        let mut busy = self.versions.iter().collect::<Vec<_>>();
        busy.retain(|version| version.requests() > 0);
        busy.sort_by_key(|version| std::cmp::Reverse(version.requests()));
        // More lines than colours would be hard to read.
        // Together with the line of the rest there are as many lines as colours.
        let rest = busy.split_off(busy.len().min(MAX_LINES));
        // In order of their numbers, so that a version keeps its colour while its traffic changes.
        busy.sort_by_key(|version| version.version.parse::<u64>().unwrap_or(u64::MAX));
        let mut lines: Vec<Line> = busy
            .iter()
            .map(|version| {
                let name = format!("version {}", version.version);
                Line::new(name, version.rates(timeline))
            })
            .collect();
        if let Some(sum) = rest
            .iter()
            .map(|version| version.rates(timeline))
            .reduce(sum)
        {
            lines.push(Line::new(format!("{} others", rest.len()), sum));
        }
        if lines.is_empty() {
            let values = timeline.rates(&self.points, Traffic::requests);
            lines.push(Line::new("all", values));
        }
        lines
    }

    fn marks(&self, marks: &[Mark]) -> Markup {
        html! {
            // As with the alerts: hidden instead of left out, so that an update finds it.
            section #marks.card hidden[marks.is_empty()] {
                @if !marks.is_empty() { h2 { "Events in this period" } (mark_list(marks, self.now_ms)) }
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
                                th scope="col" { "Version" } th scope="col" { "State" } th scope="col" { "Aliases" }
                                th.num scope="col" { "Requests" } th.num scope="col" { "Rate now" } th.num scope="col" { "P50" }
                                th.num scope="col" { "P99" } th.num scope="col" { "Success" } th.num scope="col" { "Queue" }
                            }
                        }
                        tbody { @for version in &self.versions { (version.row(timeline)) } }
                    }
                }
            }
        }
    }

    fn objectives(&self, timeline: &Timeline, marks: &[Mark]) -> Markup {
        let chart = Chart {
            marks,
            ..self.chart(
                "Error budget left",
                Unit::Budget,
                timeline,
                self.burn_downs(),
            )
        };
        html! {
            section #objectives.card {
                div.title { h2 { "Objectives" } span.links { a href=(Section::Objectives.path()) { "All objectives" } } }
                @if self.objectives.is_empty() { p.empty { "No objective is set for this endpoint." } }
                @else {
                    div.columns {
                        table.cards {
                            thead { tr { th scope="col" { "Objective" } th scope="col" { "Target" } th.num scope="col" { "Budget left" } } }
                            tbody {
                                @for objective in &self.objectives {
                                    tr {
                                        th.name scope="row" { (objective.name) }
                                        td data-label="Target" { (objective.target) }
                                        td.num data-label="Budget left" { (meter::budget(objective.remaining)) }
                                    }
                                }
                            }
                        }
                        (chart.render())
                    }
                }
            }
        }
    }

    fn burn_downs(&self) -> Vec<Line> {
        let lines = self.objectives.iter().map(|objective| {
            let points = objective.burn_down.iter();
            let values = points.map(|point| (point.at_ms, Some(point.remaining)));
            Line::new(&objective.name, values.collect())
        });
        lines.collect()
    }

    fn columns(&self, timeline: &Timeline) -> [Column; 9] {
        [
            self.rate_column("Rate", timeline, Traffic::requests),
            self.time_column("P50", timeline, |traffic| traffic.request.quantile_ms(0.5)),
            self.time_column("P95", timeline, |traffic| traffic.request.quantile_ms(0.95)),
            self.time_column("P99", timeline, |traffic| traffic.request.quantile_ms(0.99)),
            self.rate_column("Failed", timeline, |traffic| traffic.failed),
            self.rate_column("Client errors", timeline, |traffic| traffic.client_errors),
            self.time_column("Queue P95", timeline, |traffic| {
                traffic.queue.quantile_ms(0.95)
            }),
            self.time_column("Engine P95", timeline, |traffic| {
                traffic.run.quantile_ms(0.95)
            }),
            (
                "Batch rows",
                timeline.figures(&self.points, Traffic::mean_batch_rows),
                number,
            ),
        ]
    }

    fn rate_column(
        &self,
        name: &'static str,
        timeline: &Timeline,
        of: fn(&Traffic) -> u64,
    ) -> Column {
        (name, timeline.rates(&self.points, of), rate)
    }

    fn time_column(
        &self,
        name: &'static str,
        timeline: &Timeline,
        of: fn(&Traffic) -> Option<f64>,
    ) -> Column {
        (name, timeline.figures(&self.points, of), millis)
    }

    /// The values of the charts, as a table.
    fn table(&self, timeline: &Timeline) -> Markup {
        let columns = self.columns(timeline);
        html! {
            section #table.card {
                // With an id of its own: by it the script keeps open what is open while the part is
                // updated.
                details #table-details {
                    summary { "Chart data" }
                    // What scrolls must be reachable by keyboard (WCAG 2.1, criterion 2.1.1).
                    div.wide tabindex="0" role="region" aria-label="Chart data" {
                        table {
                            thead { tr { th scope="col" { "From" } @for (name, ..) in &columns { th.num scope="col" { (name) } } } }
                            tbody {
                                // The newest first: who opens the table asks about now.
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
    fn requests(&self) -> u64 {
        let points = self.points.iter();
        points.map(|point| point.traffic.requests()).sum()
    }

    fn rates(&self, timeline: &Timeline) -> Values {
        timeline.rates(&self.points, Traffic::requests)
    }

    fn row(&self, timeline: &Timeline) -> Markup {
        let all = total(&self.points);
        // The last step that has a rate: the current one may have only just started.
        let now = self
            .rates(timeline)
            .into_iter()
            .rev()
            .find_map(|(_, value)| value);
        html! {
            tr {
                th scope="row" { (self.version) }
                td data-label="State" {
                    @match &self.state { Some(state) => (state.badge()), None => (badge(Tone::Off, "not loaded")) }
                }
                td data-label="Aliases" {
                    span {
                        @if self.is_default { span.tag { "default" } " " }
                        @for alias in &self.aliases { span.tag { (alias) } " " }
                    }
                }
                td.num data-label="Requests" { (count(all.requests())) }
                td.num data-label="Rate now" { (now.map_or_else(|| NONE.to_owned(), rate)) }
                td.num data-label="P50" { (quantile(&all, 0.5)) }
                td.num data-label="P99" { (quantile(&all, 0.99)) }
                td.num data-label="Success" { (success(&all)) }
                td.num data-label="Queue" { (count(self.queued as u64)) }
            }
        }
    }
}

/// All traffic of a range.
fn total(points: &[Point]) -> Traffic {
    let mut all = Traffic::default();
    for point in points {
        all.merge(&point.traffic);
    }
    all
}

fn quantile(traffic: &Traffic, share: f64) -> String {
    let ms = traffic.request.quantile_ms(share);
    ms.map_or_else(|| NONE.to_owned(), millis)
}

/// The share of requests without a server fault.
fn success(traffic: &Traffic) -> String {
    let failed = traffic.error_rate();
    failed.map_or_else(|| NONE.to_owned(), |failed| percent(1.0 - failed))
}

/// The sum of two lines with the same moments; `None` only where both are.
fn sum(one: Values, other: Values) -> Values {
    let mut sum = one;
    for ((_, value), (_, more)) in sum.iter_mut().zip(other) {
        if let Some(more) = more {
            *value = Some(value.unwrap_or(0.0) + more);
        }
    }
    sum
}

#[cfg(test)]
mod tests;
