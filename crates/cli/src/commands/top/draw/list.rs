//! Endpoints, objectives and alerts.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table, TableState};

use super::{BAD, GOOD, WARN, bordered};
use crate::client::{Alert, Objective};
use crate::commands::top::format::{number, number_or_dash, percent};
use crate::commands::top::state::State;
use crate::commands::top::view::{Endpoint, View};
use crate::output::printable;

/// Most lines for objectives and for alerts.
const MOST_BELOW: u16 = 8;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &View, state: &State) {
    let below = u16::try_from(view.objectives.len().max(view.alerts.len()))
        .unwrap_or(u16::MAX)
        .min(MOST_BELOW);
    let rows = [
        Constraint::Min(3),
        // The border takes two lines.
        Constraint::Length(if below == 0 { 0 } else { below + 2 }),
    ];
    let [upper, lower] = Layout::vertical(rows).areas(area);
    endpoints(frame, upper, view, state);
    if below > 0 {
        let halves = [Constraint::Percentage(50), Constraint::Percentage(50)];
        let [left, right] = Layout::horizontal(halves).areas(lower);
        let inner = bordered(
            frame,
            left,
            format!(" objectives {} ", view.objectives.len()),
        );
        frame.render_widget(
            Paragraph::new(view.objectives.iter().map(objective).collect::<Vec<_>>()),
            inner,
        );
        let inner = bordered(frame, right, format!(" alerts {} ", view.alerts.len()));
        frame.render_widget(
            Paragraph::new(view.alerts.iter().map(alert).collect::<Vec<_>>()),
            inner,
        );
    }
}

fn endpoints(frame: &mut Frame<'_>, area: Rect, view: &View, state: &State) {
    let sorted = state.sorted(view);
    let inner = bordered(frame, area, format!(" endpoints {} ", sorted.len()));
    let mut selection = TableState::default().with_selected(Some(state.selected(&sorted)));
    let table = table(
        "ENDPOINT",
        sorted
            .iter()
            .map(|endpoint| row(endpoint, printable(&endpoint.model))),
    );
    frame.render_stateful_widget(
        table.row_highlight_style(Style::new().reversed()),
        inner,
        &mut selection,
    );
}

/// A table of endpoints or versions.
pub(super) fn table<'a>(title: &'static str, rows: impl Iterator<Item = Row<'a>>) -> Table<'a> {
    let header = [
        title, "STATE", "REQ/S", "ERR/S", "P50 ms", "P95 ms", "P99 ms", "QUEUE", "BATCH",
    ];
    let widths = [16, 9, 8, 8, 8, 8, 8, 6, 6].map(Constraint::Min);
    Table::new(rows, widths).header(Row::new(header).bold())
}

/// A line of it.
pub(super) fn row(endpoint: &Endpoint, name: String) -> Row<'static> {
    let state = match endpoint.state.as_str() {
        "ready" => GOOD,
        "failed" | "stale" | "unavailable" => BAD,
        _ => WARN,
    };
    let failing = if endpoint.failing > 0.0 {
        BAD
    } else {
        Style::new()
    };
    Row::new([
        Cell::from(name),
        Cell::from(printable(&endpoint.state)).style(state),
        Cell::from(number(endpoint.rate)),
        Cell::from(number(endpoint.failing)).style(failing),
        Cell::from(number_or_dash(endpoint.p50_ms)),
        Cell::from(number_or_dash(endpoint.p95_ms)),
        Cell::from(number_or_dash(endpoint.p99_ms)),
        Cell::from(number(endpoint.waiting)),
        Cell::from(number_or_dash(endpoint.batch)),
    ])
}

/// An objective in a line.
pub(super) fn objective(objective: &Objective) -> Line<'static> {
    let left = objective.budget_remaining;
    let style = match () {
        () if left <= 0.0 || objective.firing().any(|alert| alert.severity == "page") => BAD,
        () if left < 0.25 || objective.firing().next().is_some() => WARN,
        () => GOOD,
    };
    let burn = objective
        .burn_rate("1h")
        .map_or_else(String::new, |burn| format!(", burn rate {}", number(burn)));
    Line::from(format!(
        "{} {} left{burn}",
        printable(&objective.name),
        percent(left)
    ))
    .style(style)
}

/// An alert in a line.
pub(super) fn alert(alert: &Alert) -> Line<'static> {
    let style = match (
        alert.state.as_str(),
        alert.suppression(),
        alert.severity.as_str(),
    ) {
        ("firing", None, "page") => BAD,
        ("firing", None, _) => WARN,
        _ => Style::new().dim(),
    };
    let summary = alert.annotation("summary");
    let text = format!(
        "{} {} {} {summary}",
        alert.severity, alert.state, alert.name
    );
    Line::from(printable(&text)).style(style)
}
