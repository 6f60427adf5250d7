//! What the keys do and the columns mean.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::bordered;

const LINES: [(&str, &str); 15] = [
    ("q, Ctrl-C", "quit"),
    (
        "↑ ↓, j k",
        "choose an endpoint; also Page Up, Page Down, Home, End",
    ),
    (
        "Enter",
        "versions, failures, objectives, alerts and events of the endpoint; again: back",
    ),
    ("s", "sort by name, rate, P99, errors, queue"),
    ("Esc", "back to the list"),
    ("?", "this page"),
    ("", ""),
    (
        "REQ/S, ERR/S",
        "successful and failed requests per second, since the last update",
    ),
    (
        "P50, P95, P99",
        "latency of successful requests in the last minute, estimated from the histogram's buckets",
    ),
    ("QUEUE", "queued requests"),
    ("BATCH", "mean rows per batch over the last minute"),
    (
        "objectives",
        "error budget left, and burn rate of the last hour: at 1 the budget lasts its window",
    ),
    (
        "alerts",
        "firing and pending alerts; no message is sent about dim ones",
    ),
    ("", ""),
    ("tidegate doctor", "shows what is wrong and what to do next"),
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect) {
    let inner = bordered(frame, area, " help ".to_owned());
    let lines: Vec<Line<'_>> = LINES
        .iter()
        .map(|(key, what)| Line::from(format!("{key:<16} {what}")))
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}
