//! One endpoint: its versions, why requests fail, its objectives, alerts and events.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Stylize;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::list::{alert, objective, row, table};
use super::{WARN, bordered};
use crate::client::Event;
use crate::commands::top::format::{bytes, number};
use crate::commands::top::state::State;
use crate::commands::top::view::{Endpoint, View};
use crate::output::{printable, timestamp};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &View, state: &State) {
    let sorted = state.sorted(view);
    let Some(endpoint) = sorted.get(state.selected(&sorted)) else {
        return;
    };
    // At most half of the height: many versions would leave no room for the details.
    let versions = u16::try_from(endpoint.versions.len())
        .unwrap_or(u16::MAX)
        .min(area.height / 2);
    let [upper, lower] =
        // The border takes two lines, the header one.
        Layout::vertical([Constraint::Length(versions + 3), Constraint::Min(0)]).areas(area);
    let inner = bordered(frame, upper, format!(" {} ", printable(&endpoint.model)));
    frame.render_widget(
        table(
            "VERSION",
            endpoint
                .versions
                .iter()
                .map(|version| row(version, name(version))),
        ),
        inner,
    );
    let inner = bordered(frame, lower, " details ".to_owned());
    frame.render_widget(Paragraph::new(lines(view, endpoint)), inner);
}

fn name(version: &Endpoint) -> String {
    match version.aliases.as_slice() {
        [] => printable(&version.version),
        aliases => printable(&format!("{} {}", version.version, aliases.join(","))),
    }
}

fn lines(view: &View, endpoint: &Endpoint) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(memory) = endpoint.memory_bytes {
        lines.push(Line::from(format!("memory {}", bytes(memory as f64))));
    }
    for (reason, count) in &endpoint.reasons {
        let what = format!(
            "{} requests failed in the last minute: {}",
            number(*count),
            printable(reason)
        );
        lines.push(Line::from(what).style(WARN));
    }
    lines.extend(
        view.objectives
            .iter()
            .filter(|one| is_about(&one.endpoint, endpoint))
            .map(objective),
    );
    lines.extend(
        view.alerts
            .iter()
            .filter(|one| is_about(one.label("endpoint"), endpoint))
            .map(alert),
    );
    lines.extend(
        view.events
            .iter()
            .filter(|event| event.model == endpoint.model)
            .map(event),
    );
    lines
}

/// Whether an objective or alert of this name concerns the endpoint; `*` is all of them.
fn is_about(name: &str, endpoint: &Endpoint) -> bool {
    name == endpoint.model || name == "*"
}

fn event(event: &Event) -> Line<'static> {
    let fields: Vec<String> = event
        .fields
        .keys()
        .map(|name| format!("{name}={}", event.field(name)))
        .collect();
    let at = timestamp(i64::try_from(event.at_ms).unwrap_or(i64::MAX));
    let what = format!("  {} {} {}", event.name, event.version, fields.join(" "));
    Line::from(vec![Span::from(at).dim(), Span::from(printable(&what))])
}
