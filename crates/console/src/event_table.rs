//! Events in words, and as a table.

use maud::{Markup, html};
use serde_json::Value;
use tidegate_observe::{ALL_ENDPOINTS, Event};

use crate::badge::{Tone, badge};
use crate::format::{ago, moment};
use crate::section::endpoint_path;

/// How good it is that this happened.
pub(crate) fn tone(event: &Event) -> Tone {
    match event.name.as_str() {
        "version.ready" | "version.reloaded" | "server.started" | "configuration.changed" => {
            Tone::Busy
        }
        "alert.firing" if text(event, "severity") == Some("page") => Tone::Bad,
        "version.load_failed" | "alert.undelivered" => Tone::Bad,
        "alert.firing" | "cost.budget_reached" | "rollouts.frozen" => Tone::Notice,
        "alert.resolved" => Tone::Good,
        _ => Tone::Off,
    }
}

/// What happened, without the model that it is about.
pub(crate) fn sentence(event: &Event) -> String {
    let version = match event.version.as_str() {
        "" => "the model".to_owned(),
        version => format!("version {version}"),
    };
    let field = |name| text(event, name).unwrap_or("?");
    match event.name.as_str() {
        "version.ready" if event.fields.get("deploy") == Some(&Value::Bool(true)) => {
            format!("{version} was deployed")
        }
        "version.ready" => format!("{version} began to answer"),
        "version.reloaded" => format!("{version} was loaded anew"),
        "version.gone" => format!("{version} no longer answers"),
        "version.load_failed" => format!("{version} could not be loaded: {}", field("reason")),
        "alert.firing" => format!("{} ({}) began to fire", field("alert"), field("severity")),
        "alert.resolved" => format!("{} ({}) ended", field("alert"), field("severity")),
        "alert.undelivered" => format!(
            "nobody was told of {}: {}",
            field("alerts"),
            field("reason")
        ),
        "cost.budget_reached" => {
            format!(
                "{} {} of the budget {} are spent",
                field("spent"),
                field("currency"),
                field("budget")
            )
        }
        "rollouts.frozen" => format!(
            "rollouts wait: the error budget of {} is spent",
            field("slo")
        ),
        "rollouts.thawed" => format!("rollouts go on, as {} allows", field("slo")),
        "server.started" => "the server began".to_owned(),
        "configuration.changed" => format!("the configuration is another one: {}", field("keys")),
        "objective.set" => format!("someone set the objective {}", field("slo")),
        "objective.removed" => format!("someone removed the objective {}", field("slo")),
        "silence.added" => format!("{} silenced {}", field("author"), field("matchers")),
        "silence.expired" => format!("the silence on {} was ended", field("matchers")),
        other => other.to_owned(),
    }
}

fn text<'a>(event: &'a Event, field: &str) -> Option<&'a str> {
    event.fields.get(field).and_then(Value::as_str)
}

/// Events, the newest first as they are given. `is_short` leaves out what a small place has no room
/// for.
pub(crate) fn table(events: &[Event], now_ms: u64, is_short: bool) -> Markup {
    if events.is_empty() {
        return html! { p.empty { "Nothing has happened." } };
    }
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "When" }
                    @if !is_short { th scope="col" { "Event" } }
                    th scope="col" { "Model" }
                    th scope="col" { "What" }
                }
            }
            tbody {
                @for event in events {
                    tr {
                        td.nowrap data-label="When" {
                            @if is_short { (ago(event.at_ms, now_ms)) } @else { span { (moment(event.at_ms)) " " span.soft { (ago(event.at_ms, now_ms)) } } }
                        }
                        @if !is_short { td data-label="Event" { (badge(tone(event), &event.name)) } }
                        td.break data-label="Model" {
                            @if event.model == ALL_ENDPOINTS { "all" } @else if !event.model.is_empty() { a href=(endpoint_path(&event.model)) { (event.model) } }
                        }
                        td.break {
                            @if is_short { (badge(tone(event), short(&event.name))) " " }
                            span { (sentence(event)) }
                        }
                    }
                }
            }
        }
    }
}

/// The last word of an event's name.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_its_sentence() {
        for (name, _) in Event::NAMES {
            let event = Event::new(name, 0)
                .about("fraud", "3")
                .with("reason", "no memory")
                .with("alert", "Slow");
            assert_ne!(sentence(&event), name, "{name} has no words");
        }
        let deploy = Event::new("version.ready", 0)
            .about("fraud", "3")
            .with("deploy", true);
        assert_eq!(sentence(&deploy), "version 3 was deployed");
    }

    #[test]
    fn texts_are_escaped() {
        let event = Event::new("version.load_failed", 0)
            .about("<b>", "")
            .with("reason", "<img src=x>");
        let table = table(&[event], 1000, false).into_string();
        assert!(
            !table.contains("<img") && !table.contains("<b>") && table.contains("%3Cb%3E"),
            "{table}"
        );
    }
}
