use super::*;
use crate::alerting::RuleConfig;

fn samples(values: &[(&str, &str, f64)]) -> BTreeMap<String, Vec<Sample>> {
    let sample = |(model, version, value): &(&str, &str, f64)| {
        let labels =
            [("model", model), ("version", version)].map(|(n, v)| (n.to_owned(), (*v).to_owned()));
        Sample {
            labels: labels.into(),
            value: *value,
        }
    };
    BTreeMap::from([("queue".to_owned(), values.iter().map(sample).collect())])
}

fn rule() -> RuleConfig {
    RuleConfig {
        name: "queue-long".to_owned(),
        metric: Some("queue".to_owned()),
        by: vec!["model".to_owned()],
        threshold: 10.0,
        for_s: 60,
        ..RuleConfig::default()
    }
}

fn book(rule: &RuleConfig) -> RuleBook {
    RuleBook::new(vec![rule.parse().unwrap()], RuleStates::default())
}

fn states(book: &RuleBook) -> Vec<(String, AlertState)> {
    let alerts = book.alerts(&Links::default());
    alerts
        .iter()
        .map(|alert| (alert.label("endpoint").to_owned(), alert.state))
        .collect()
}

#[test]
fn series_are_joined_by_label_and_a_condition_must_hold() {
    let mut book = book(&rule());
    let events = EventLog::default();
    let high = samples(&[("a", "1", 6.0), ("a", "2", 5.0), ("b", "1", 10.0)]);
    book.evaluate(&high, &events, 1000);
    assert_eq!(
        states(&book),
        [("a".to_owned(), AlertState::Pending { since_ms: 1000 })]
    );
    book.evaluate(&high, &events, 61_000);
    assert_eq!(
        states(&book),
        [("a".to_owned(), AlertState::Firing { since_ms: 61_000 })]
    );
    let alert = &book.alerts(&Links::default())[0];
    assert_eq!(
        alert.annotation("description"),
        "queue is 11; the alert fires at > 10 for 60 s."
    );
    let mut again = RuleBook::new(vec![rule().parse().unwrap()], book.states());
    again.evaluate(&BTreeMap::new(), &events, 70_000);
    assert_eq!(
        states(&again),
        [("a".to_owned(), AlertState::Resolved { since_ms: 70_000 })]
    );
    assert_eq!(
        again.alerts(&Links::default())[0].annotation("description"),
        "Not any more: queue was 11; the alert fires at > 10 for 60 s."
    );
    again.evaluate(&BTreeMap::new(), &events, 70_001 + RESOLVED_RETENTION_MS);
    assert_eq!(states(&again), []);
}

#[test]
fn other_aggregates_and_comparisons() {
    let values = samples(&[("a", "1", 3.0), ("a", "2", 5.0)]);
    let fires = |aggregate, op, threshold| {
        let mut book = book(&RuleConfig {
            aggregate,
            op,
            threshold,
            for_s: 0,
            ..rule()
        });
        book.evaluate(&values, &EventLog::default(), 0);
        !states(&book).is_empty()
    };
    use super::super::Comparison::{Above, AtLeast, AtMost, Below, Equal, Unequal};
    assert!(fires(Aggregate::Max, AtLeast, 5.0) && !fires(Aggregate::Max, Above, 5.0));
    assert!(fires(Aggregate::Min, AtMost, 3.0) && !fires(Aggregate::Min, Below, 3.0));
    assert!(fires(Aggregate::Sum, Equal, 8.0) && !fires(Aggregate::Sum, Unequal, 8.0));
}

#[test]
fn a_counter_is_compared_by_how_fast_it_grows() {
    let mut book = book(&RuleConfig {
        window_s: 60,
        threshold: 0.5,
        for_s: 0,
        ..rule()
    });
    let events = EventLog::default();
    book.evaluate(
        &samples(&[("a", "1", 20.0), ("a", "2", 20.0)]),
        &events,
        1_000_000,
    );
    assert_eq!(states(&book).len(), 1, "40 in 60 s");
    book.evaluate(
        &samples(&[("a", "1", 20.0), ("a", "2", 20.0)]),
        &events,
        1_070_000,
    );
    assert!(matches!(states(&book)[0].1, AlertState::Resolved { .. }));
}

#[test]
fn events_are_counted_in_their_window() {
    let config = RuleConfig {
        name: "loads".to_owned(),
        event: Some("version.load_failed".to_owned()),
        window_s: 100,
        threshold: 2.0,
        by: vec!["model".to_owned()],
        ..RuleConfig::default()
    };
    let (mut book, mut events) = (book(&config), EventLog::default());
    for (model, at_ms) in [("a", 10_000), ("a", 60_000), ("b", 60_000)] {
        events.add(Event::new("version.load_failed", at_ms).about(model, "1"));
    }
    book.evaluate(&BTreeMap::new(), &events, 100_000);
    assert_eq!(
        states(&book),
        [("a".to_owned(), AlertState::Firing { since_ms: 100_000 })]
    );
    book.evaluate(&BTreeMap::new(), &events, 111_000);
    assert_eq!(
        states(&book),
        [("a".to_owned(), AlertState::Resolved { since_ms: 111_000 })]
    );
}

#[test]
fn a_failed_load_counts_until_the_version_is_loaded_or_gone() {
    let config = RuleConfig {
        name: "loads".to_owned(),
        event: Some(LOAD_FAILED.to_owned()),
        window_s: 900,
        by: vec!["model".to_owned()],
        ..RuleConfig::default()
    };
    for recovery in RECOVERIES {
        let (mut book, mut events) = (book(&config), EventLog::default());
        events.add(Event::new(LOAD_FAILED, 10_000).about("a", "4"));
        // Another version of it that serves mends nothing.
        events.add(Event::new(recovery, 11_000).about("a", "3"));
        book.evaluate(&BTreeMap::new(), &events, 12_000);
        assert!(matches!(states(&book)[0].1, AlertState::Firing { .. }));
        events.add(Event::new(recovery, 13_000).about("a", "4"));
        book.evaluate(&BTreeMap::new(), &events, 14_000);
        assert!(matches!(states(&book)[0].1, AlertState::Resolved { .. }));
        events.add(Event::new(LOAD_FAILED, 15_000).about("a", "4"));
        book.evaluate(&BTreeMap::new(), &events, 16_000);
        assert!(matches!(states(&book)[0].1, AlertState::Firing { .. }));
    }
}

#[test]
fn a_counter_is_compared_as_a_share_of_another() {
    let mut book = book(&RuleConfig {
        share_of: Some("answered".to_owned()),
        window_s: 300,
        threshold: 0.01,
        for_s: 0,
        ..rule()
    });
    let with = |refused: f64, answered: f64| {
        let mut samples = samples(&[("a", "1", refused)]);
        let answered = Sample {
            labels: samples["queue"][0].labels.clone(),
            value: answered,
        };
        samples.insert("answered".to_owned(), vec![answered]);
        samples
    };
    let events = EventLog::default();
    book.evaluate(&with(1.0, 99.0), &events, 1000);
    assert_eq!(states(&book), [], "one of a hundred is not more than 1 %");
    book.evaluate(&with(11.0, 189.0), &events, 61_000);
    assert_eq!(states(&book).len(), 1);
    assert_eq!(
        book.alerts(&Links::default())[0].annotation("description"),
        "queue is 5.5% of itself and answered over 300 s; the alert fires at > 1%."
    );
    let wrong = RuleConfig {
        share_of: Some("answered".to_owned()),
        ..rule()
    };
    assert!(wrong.parse().unwrap_err().problem.contains("window_s"));
}

#[test]
fn a_wrong_rule_is_refused_with_its_reason() {
    let wrong = |config: RuleConfig| config.parse().unwrap_err().to_string();
    assert!(
        wrong(RuleConfig {
            name: "a b".to_owned(),
            ..rule()
        })
        .contains("name must be")
    );
    assert!(
        wrong(RuleConfig {
            event: Some("x".to_owned()),
            ..rule()
        })
        .contains("either metric or event")
    );
    let event = RuleConfig {
        metric: None,
        event: Some("x".to_owned()),
        ..rule()
    };
    assert!(wrong(event.clone()).contains("there is no event \"x\", there are server.started"));
    assert!(
        wrong(RuleConfig {
            event: Some("version.gone".to_owned()),
            ..event
        })
        .contains("needs window_s")
    );
    assert!(
        wrong(RuleConfig {
            threshold: f64::NAN,
            ..rule()
        })
        .contains("threshold")
    );
    let twice = RuleConfig::parse_all(&[rule(), rule()])
        .unwrap_err()
        .to_string();
    assert_eq!(
        twice,
        "alerts.rules \"queue-long\": another rule has this name"
    );
}
