//! What the keys do and the columns mean.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::boxed;

const LINES: [(&str, &str); 15] = [
    ("q, Ctrl-C", "end"),
    (
        "↑ ↓, j k",
        "choose an endpoint; page and end keys go further",
    ),
    (
        "Enter",
        "its versions, failures, objectives, alerts and events; again goes back",
    ),
    ("s", "sort by name, rate, P99, errors, queue"),
    ("Esc", "back to the list"),
    ("?", "this page"),
    ("", ""),
    (
        "REQ/S, ERR/S",
        "answered and failed requests a second, since the last look",
    ),
    (
        "P50, P95, P99",
        "time of answered requests over the last minute, read off the buckets of the histogram",
    ),
    ("QUEUE", "requests that wait for an instance"),
    (
        "BATCH",
        "rows that ran together, on average over the last minute",
    ),
    (
        "objectives",
        "what is left of the error budget, and how fast the last hour burns it: 1 spends it in its window",
    ),
    (
        "alerts",
        "those that fire or are pending; dim ones are told to nobody",
    ),
    ("", ""),
    ("tidegate doctor", "says what is wrong and what to do next"),
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect) {
    let inner = boxed(frame, area, " help ".to_owned());
    let lines: Vec<Line<'_>> = LINES
        .iter()
        .map(|(key, what)| Line::from(format!("{key:<16} {what}")))
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}
