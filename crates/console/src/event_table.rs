//! Events as sentences, and as a table.

use maud::{Markup, html};
use serde_json::Value;
use tidegate_observe::{ALL_ENDPOINTS, Event};

use crate::badge::{Tone, badge};
use crate::format::{ago, moment};
use crate::section::endpoint_path;

/// The tone of an event.
pub(crate) fn tone(event: &Event) -> Tone {
    match event.name.as_str() {
        "version.ready" | "version.reloaded" | "server.started" | "configuration.changed" => {
            Tone::Busy
        }
        // A page needs somebody now; a ticket, below, can wait.
        "alert.firing" if text(event, "severity") == Some("page") => Tone::Bad,
        "version.load_failed" | "alert.undelivered" => Tone::Bad,
        "alert.firing" | "cost.budget_reached" | "rollouts.frozen" => Tone::Notice,
        "alert.resolved" => Tone::Good,
        _ => Tone::Off,
    }
}

/// What happened, without the name of the model.
pub(crate) fn sentence(event: &Event) -> String {
    let version = match event.version.as_str() {
        "" => "the model".to_owned(),
        version => format!("version {version}"),
    };
    match event.name.as_str() {
        "version.ready" if event.fields.get("deploy") == Some(&Value::Bool(true)) => {
            format!("{version} was deployed")
        }
        "version.ready" => format!("{version} is serving"),
        "version.reloaded" => format!("{version} was reloaded"),
        "version.gone" => format!("{version} was unloaded"),
        "version.load_failed" => {
            format!("{version} could not be loaded: {}", field(event, "reason"))
        }
        "server.started" => "server started".to_owned(),
        _ => sentence_of_operations(event),
    }
}

fn sentence_of_retraining(event: &Event) -> String {
    let [rule, reason, trigger] = ["rule", "reason", "trigger"].map(|name| field(event, name));
    match event.name.as_str() {
        "retrain.fired" => format!("'{rule}' fired: {reason}"),
        "retrain.waiting" => format!("{trigger} waits for somebody to approve it"),
        "retrain.asked" => format!("{trigger} asked for a new version"),
        "retrain.closed" => format!("{} was pushed for {trigger}", field(event, "version")),
        "retrain.held_back" => format!("'{rule}' does not fire: {}", field(event, "why")),
        _ => format!("{trigger} was given up: {reason}"),
    }
}

/// Events that are not about a version.
fn sentence_of_operations(event: &Event) -> String {
    let [alert, severity, slo, reason] =
        ["alert", "severity", "slo", "reason"].map(|name| field(event, name));
    match event.name.as_str() {
        "alert.firing" => format!("{alert} ({severity}) is firing"),
        "alert.resolved" => format!("{alert} ({severity}) is resolved"),
        "alert.undelivered" => {
            format!(
                "{} could not be delivered: {reason}",
                field(event, "alerts")
            )
        }
        "cost.budget_reached" => {
            let [budget, spent, currency] =
                ["budget", "spent", "currency"].map(|name| field(event, name));
            format!("budget '{budget}': {spent} {currency} spent")
        }
        "rollouts.frozen" => format!("rollouts wait: the error budget of {slo} is used up"),
        "rollouts.thawed" => format!("rollouts continue: the freeze of {slo} ended"),
        "configuration.changed" => {
            format!("the configuration changed: {}", field(event, "keys"))
        }
        "traffic.changed" => {
            let [by, changes] = ["by", "changes"].map(|name| field(event, name));
            format!("{by} changed the traffic policy: {changes}")
        }
        "rollout.started" | "rollout.changed" => format!("rollout: {}", field(event, "what")),
        "rollout.alert" => field(event, "what").to_owned(),
        "cascade.stopped" => {
            "cascade stopped: its first version agrees too rarely with the others".to_owned()
        }
        "policies.changed" => "new access policies are in force".to_owned(),
        "policies.refused" => format!("access policies are refused: {}", field(event, "problem")),
        "experiment.started" => format!("experiment {} started", field(event, "experiment")),
        "experiment.ended" => {
            let (experiment, reason) = (field(event, "experiment"), field(event, "reason"));
            format!("experiment {experiment} stopped: {reason}")
        }
        "objective.set" => format!("objective {slo} was set"),
        "objective.removed" => format!("objective {slo} was removed"),
        "silence.added" => {
            let [author, matchers] = ["author", "matchers"].map(|name| field(event, name));
            format!("{author} silenced {matchers}")
        }
        "silence.expired" => format!("the silence on {} ended", field(event, "matchers")),
        "drift.detected" => format!("the data has drifted: {}", field(event, "causes")),
        "drift.ended" => "the data does not drift any more".to_owned(),
        name if name.starts_with("retrain.") => sentence_of_retraining(event),
        "breaker.opened" => "too many requests failed or were slow: it gets none".to_owned(),
        "breaker.half_open" => "one request tries whether it works again".to_owned(),
        "breaker.closed" => "it works again".to_owned(),
        "remote.breaker_opened" => {
            "too many requests to the upstream servers failed: requests are refused".to_owned()
        }
        "remote.breaker_half_open" => {
            "one request tries whether the upstream servers work again".to_owned()
        }
        "remote.breaker_closed" => "the upstream servers work again".to_owned(),
        "remote.address_ejected" => upstream(event, "failed too often and gets no requests"),
        "remote.address_readmitted" => upstream(event, "works again and gets requests"),
        "remote.address_unhealthy" => upstream(event, "failed its health checks"),
        "remote.address_healthy" => upstream(event, "passes its health checks again"),
        "remote.signature_differs" => upstream(event, "has another signature and gets no requests"),
        // An event that a newer version wrote: its name is better than nothing.
        other => other.to_owned(),
    }
}

fn upstream(event: &Event, what: &str) -> String {
    format!("the upstream server {} {what}", field(event, "address"))
}

fn field<'a>(event: &'a Event, name: &str) -> &'a str {
    text(event, name).unwrap_or("?")
}

fn text<'a>(event: &'a Event, field: &str) -> Option<&'a str> {
    event.fields.get(field).and_then(Value::as_str)
}

/// A table of events in the order given. `is_short` leaves out columns that do not fit in a small card.
pub(crate) fn table(events: &[Event], now_ms: u64, is_short: bool) -> Markup {
    if events.is_empty() {
        return html! { p.empty { "No events." } };
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
