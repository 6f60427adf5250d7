//! Draws the screen from the view and what the user has chosen.

mod detail;
mod help;
mod list;

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::format::{bytes, number, time};
use super::state::{Page, State};
use super::view::{Header, View};
use crate::output::printable;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, state: &State) {
    let rows = [
        Constraint::Length(3),
        Constraint::Min(0),
        Constraint::Length(1),
    ];
    let [top, middle, bottom] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(Paragraph::new(header(view)), top);
    match state.page {
        Page::List => list::draw(frame, middle, view, state),
        Page::Detail => detail::draw(frame, middle, view, state),
        Page::Help => help::draw(frame, middle),
    }
    frame.render_widget(
        Paragraph::new(keys(state)).style(Style::new().dim()),
        bottom,
    );
}

fn header(view: &View) -> Vec<Line<'static>> {
    let server = Span::from(printable(&view.server)).bold();
    let Some(header) = &view.header else {
        let what = view.unreachable.as_ref().map_or_else(
            || Span::from("connecting…").dim(),
            |unreachable| {
                Span::from(format!("does not respond: {}", printable(&unreachable.why))).style(BAD)
            },
        );
        return vec![Line::from(vec![server]), Line::from(what)];
    };
    let Header { state, version, .. } = header;
    let state = match *state {
        "ready" => Span::from("ready").style(GOOD),
        "degraded" => Span::from("degraded").style(WARN),
        other => Span::from(other).style(BAD),
    };
    let up = header.up_s.map_or_else(String::new, |up_s| {
        format!("  up {}", time(Duration::from_secs_f64(up_s)))
    });
    let about = format!("  version {}{up}", printable(version));
    vec![
        Line::from(vec![server, Span::from("  "), state, Span::from(about)]),
        Line::from(usage(header)),
        problem_line(view, header),
    ]
}

fn usage(header: &Header) -> String {
    let left = header
        .memory_left_bytes
        .map_or_else(String::new, |left| format!(" ({} left)", bytes(left)));
    format!(
        "{} requests/s  {:.2} processors  {}{left}  {} connections",
        number(header.rate),
        header.processors,
        bytes(header.memory_bytes),
        header.connections
    )
}

/// The first problem of the server, in one line.
fn problem_line(view: &View, header: &Header) -> Line<'static> {
    if let Some(unreachable) = &view.unreachable {
        let what = format!(
            "does not respond: {}; showing the last data",
            printable(&unreachable.why)
        );
        return Line::from(Span::from(what).style(BAD));
    }
    let more = header.problems.len().saturating_sub(1);
    let more = if more > 0 {
        format!(" (and {more} more)")
    } else {
        String::new()
    };
    let problem = header
        .problems
        .first()
        .map(|problem| format!("{}{more}", printable(problem)));
    Line::from(Span::from(problem.unwrap_or_default()).style(WARN))
}

fn keys(state: &State) -> String {
    match state.page {
        Page::List => format!(
            "q quit  ↑↓ choose  ⏎ detail  s sort: {}  ? help",
            state.sort.name()
        ),
        Page::Detail | Page::Help => "q quit  esc back  ? help".to_owned(),
    }
}

const GOOD: Style = Style::new().fg(Color::Green);
const WARN: Style = Style::new().fg(Color::Yellow);
const BAD: Style = Style::new().fg(Color::Red);

/// Draws a box with a title, and gives the area inside of it.
fn bordered(frame: &mut Frame<'_>, area: Rect, title: String) -> Rect {
    let block = ratatui::widgets::Block::bordered().title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

#[cfg(test)]
mod tests;
