use proptest::prelude::*;

use super::*;
use crate::alerting::tests::alert;
use crate::alerting::{Alert, Suppression};
use crate::alerting::{Message, MessageStatus, Timing};
use crate::{AlertState, Severity};

const SECOND: u64 = 1000;

fn route() -> Route {
    Route {
        name: "oncall".to_owned(),
        severities: vec![Severity::Page],
        matchers: Vec::new(),
        timing: Timing {
            group_by: vec!["endpoint".to_owned(), "version".to_owned()],
            group_wait_ms: 10 * SECOND,
            group_interval_ms: 60 * SECOND,
            repeat_interval_ms: 600 * SECOND,
            max_messages_per_hour: 100,
        },
    }
}

fn notified(alert: &Alert) -> TriagedAlert {
    TriagedAlert {
        alert: alert.clone(),
        suppression: None,
    }
}

fn silenced(alert: &Alert) -> TriagedAlert {
    TriagedAlert {
        alert: alert.clone(),
        suppression: Some(Suppression::Silence { id: "s".to_owned() }),
    }
}

fn resolved(alert: &Alert, at_ms: u64) -> Alert {
    Alert {
        state: AlertState::Resolved { since_ms: at_ms },
        ..alert.clone()
    }
}

/// Status and alert names of what is sent.
fn step(
    dispatch: &mut Dispatch,
    alerts: &[TriagedAlert],
    now_ms: u64,
) -> Vec<(MessageStatus, Vec<String>)> {
    let dispatched = dispatch.step(&[route()], alerts, now_ms);
    let names = |message: &Message| {
        message
            .alerts
            .iter()
            .map(|alert| alert.name().to_owned())
            .collect()
    };
    dispatched
        .messages
        .iter()
        .map(|message| (message.status, names(message)))
        .collect()
}

#[test]
fn alerts_of_one_endpoint_are_sent_together() {
    let mut dispatch = Dispatch::default();
    let (down, slow, other) = (
        alert("down", "page", "a"),
        alert("slow", "page", "a"),
        alert("down", "page", "b"),
    );
    let ticket = alert("x", "ticket", "a");
    assert_eq!(
        step(&mut dispatch, &[notified(&down)], 0),
        [],
        "it waits for others"
    );
    let all = [
        notified(&down),
        notified(&slow),
        notified(&other),
        notified(&ticket),
    ];
    assert_eq!(step(&mut dispatch, &all, 9 * SECOND), []);
    let both = (
        MessageStatus::Firing,
        vec!["down".to_owned(), "slow".to_owned()],
    );
    assert_eq!(step(&mut dispatch, &all, 10 * SECOND), [both]);
    assert_eq!(
        step(&mut dispatch, &all, 19 * SECOND),
        [(MessageStatus::Firing, vec!["down".to_owned()])],
        "of b"
    );
    assert_eq!(step(&mut dispatch, &all, 599 * SECOND), []);
    assert_eq!(step(&mut dispatch, &all, 619 * SECOND).len(), 2, "repeated");
}

#[test]
fn changes_wait_for_the_group_interval_and_resolutions_are_sent() {
    let mut dispatch = Dispatch::default();
    let (down, slow) = (alert("down", "page", "a"), alert("slow", "page", "a"));
    step(&mut dispatch, &[notified(&down)], 0);
    assert_eq!(
        step(&mut dispatch, &[notified(&down)], 10 * SECOND).len(),
        1
    );
    let both = [notified(&down), notified(&slow)];
    assert_eq!(step(&mut dispatch, &both, 69 * SECOND), []);
    assert_eq!(step(&mut dispatch, &both, 70 * SECOND).len(), 1);
    let one_over = [notified(&resolved(&down, 80 * SECOND)), notified(&slow)];
    let partly = (
        MessageStatus::Firing,
        vec!["slow".to_owned(), "down".to_owned()],
    );
    assert_eq!(step(&mut dispatch, &one_over, 130 * SECOND), [partly]);
    assert_eq!(step(&mut dispatch, &one_over, 190 * SECOND), []);
    let end = (MessageStatus::Resolved, vec!["slow".to_owned()]);
    assert_eq!(
        step(&mut dispatch, &[], 200 * SECOND),
        [end],
        "an alert that does not exist any more is resolved"
    );
    assert_eq!(step(&mut dispatch, &[], 900 * SECOND), []);
    assert_eq!(dispatch.0["oncall"].groups.len(), 0);
}

#[test]
fn a_suppressed_alert_is_not_sent_but_its_resolution_is_if_it_was() {
    let mut dispatch = Dispatch::default();
    let down = alert("down", "page", "a");
    for second in 0..100 {
        assert_eq!(step(&mut dispatch, &[silenced(&down)], second * SECOND), []);
    }
    step(&mut dispatch, &[notified(&down)], 100 * SECOND);
    assert_eq!(
        step(&mut dispatch, &[notified(&down)], 110 * SECOND).len(),
        1
    );
    assert_eq!(
        step(&mut dispatch, &[silenced(&down)], 900 * SECOND),
        [],
        "not repeated"
    );
    let ended = silenced(&resolved(&down, 910 * SECOND));
    assert_eq!(
        step(&mut dispatch, &[ended], 910 * SECOND),
        [(MessageStatus::Resolved, vec!["down".to_owned()])]
    );
}

#[test]
fn a_restart_neither_loses_nor_repeats_messages() {
    let mut dispatch = Dispatch::default();
    let down = [notified(&alert("down", "page", "a"))];
    step(&mut dispatch, &down, 0);
    assert_eq!(step(&mut dispatch, &down, 10 * SECOND).len(), 1);
    let mut again: Dispatch =
        serde_json::from_str(&serde_json::to_string(&dispatch).unwrap()).unwrap();
    assert_eq!(again, dispatch);
    assert_eq!(step(&mut again, &down, 300 * SECOND), []);
    assert_eq!(step(&mut again, &[], 310 * SECOND).len(), 1);
}

#[test]
fn a_limit_defers_messages_and_counts_them() {
    let mut dispatch = Dispatch::default();
    let mut route = route();
    route.timing.max_messages_per_hour = 1;
    let alerts = [
        notified(&alert("down", "page", "a")),
        notified(&alert("down", "page", "b")),
    ];
    dispatch.step(&[route.clone()], &alerts, 0);
    let first = dispatch.step(&[route.clone()], &alerts, 10 * SECOND);
    assert_eq!((first.messages.len(), first.limited), (1, 1));
    let second = dispatch.step(&[route.clone()], &alerts, 70 * SECOND);
    assert_eq!(
        (second.messages.len(), second.limited),
        (0, 1),
        "the other one was not sent yet"
    );
    let later = dispatch.step(&[route], &alerts, 10 * SECOND + HOUR_MS);
    assert_eq!(later.messages.len(), 1);
    assert!(later.messages[0].held_back > 0);
}

#[test]
fn a_message_has_at_most_a_hundred_alerts() {
    let mut dispatch = Dispatch::default();
    let alerts: Vec<TriagedAlert> = (0..150)
        .map(|n| notified(&alert(&format!("a{n}"), "page", "a")))
        .collect();
    dispatch.step(&[route()], &alerts, 0);
    let message = dispatch
        .step(&[route()], &alerts, 10 * SECOND)
        .messages
        .remove(0);
    assert_eq!((message.alerts.len(), message.left_out), (100, 50));
    assert_eq!(
        step(&mut dispatch, &alerts, 70 * SECOND),
        [],
        "all of them count as sent"
    );
}

/// For each of three alerts: whether it is inactive, fires, or fires and is suppressed, minute
/// after minute.
fn histories() -> impl Strategy<Value = Vec<[u8; 3]>> {
    prop::collection::vec([0..3u8, 0..3, 0..3], 1..60)
}

proptest! {
    #[test]
    fn firing_alerts_are_sent_in_time_and_nothing_is_sent_twice(history in histories()) {
        let route = route();
        let mut dispatch = Dispatch::default();
        let alerts = [alert("a", "page", "x"), alert("b", "page", "x"), alert("c", "page", "y")];
        let mut sent_as_firing: BTreeMap<String, bool> = BTreeMap::new();
        let mut last_sent: BTreeMap<String, u64> = BTreeMap::new();
        let mut firing_since: BTreeMap<String, u64> = BTreeMap::new();
        for (minute, states) in history.iter().enumerate() {
            let now_ms = minute as u64 * 60 * SECOND;
            let triaged: Vec<TriagedAlert> = alerts.iter().zip(states).filter_map(|(alert, state)| match state {
                0 => None,
                1 => Some(notified(alert)),
                _ => Some(silenced(alert)),
            }).collect();
            for (alert, state) in alerts.iter().zip(states) {
                if *state == 1 {
                    firing_since.entry(alert.name().to_owned()).or_insert(now_ms);
                } else {
                    firing_since.remove(alert.name());
                }
            }
            for message in dispatch.step(std::slice::from_ref(&route), &triaged, now_ms).messages {
                let mut has_changes = false;
                for alert in &message.alerts {
                    let before = sent_as_firing.insert(alert.name().to_owned(), alert.is_firing()).unwrap_or(false);
                    has_changes |= before != alert.is_firing();
                    prop_assert!(alert.is_firing() || before, "only what was sent as firing is sent as resolved");
                    let is_silenced = triaged.iter().any(|one| one.alert.name() == alert.name() && one.suppression.is_some());
                    prop_assert!(!alert.is_firing() || !is_silenced, "suppressed alerts are not sent");
                }
                let last_ms = last_sent.insert(message.group.clone(), now_ms);
                let repeats = last_ms.is_some_and(|last_ms| now_ms - last_ms >= route.timing.repeat_interval_ms);
                prop_assert!(has_changes || repeats, "nothing is sent twice within the repeat interval");
            }
            for (name, since_ms) in &firing_since {
                let waited_ms = now_ms - since_ms;
                let is_sent = sent_as_firing.get(name).copied().unwrap_or(false);
                prop_assert!(is_sent || waited_ms <= 120 * SECOND, "{name} fires for {waited_ms} ms and is not sent");
            }
        }
    }
}

#[test]
fn what_another_replica_told_is_resolved_by_the_one_that_takes_over() {
    let told = alert("slow", "page", "fraud");
    let mut teller = Dispatch::default();
    step(&mut teller, &[notified(&told)], 0);
    assert_eq!(teller.open_notifications(|_| true).count(), 0, "not yet");
    assert_eq!(
        step(&mut teller, &[notified(&told)], 10 * SECOND),
        [(MessageStatus::Firing, vec!["slow".to_owned()])]
    );
    let open: Vec<OpenNotification> = teller.open_notifications(|_| true).collect();
    assert_eq!(open.len(), 1);
    assert_eq!(teller.open_notifications(|_| false).count(), 0);

    let mut successor = Dispatch::default();
    for open in open {
        successor.adopt(open, 20 * SECOND);
    }
    assert_eq!(
        step(&mut successor, &[], 30 * SECOND),
        [(MessageStatus::Resolved, vec!["slow".to_owned()])]
    );
    assert_eq!(successor.open_notifications(|_| true).count(), 0);
}
