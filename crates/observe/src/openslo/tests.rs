use proptest::prelude::*;

use super::*;
use crate::objective::{BudgetPolicy, SliKind};
use crate::window::Window;

fn availability() -> Objective {
    Objective {
        name: "fraud-available".to_owned(),
        endpoint: "fraud".to_owned(),
        ..Objective::default()
    }
}

fn exported(objective: &Objective) -> String {
    export(&[objective.parse().unwrap()], "tidegate").unwrap()
}

fn problem(yaml: &str) -> String {
    import(yaml, "tidegate").unwrap_err().to_string()
}

/// An availability objective with one thing written otherwise.
fn with(before: &str, after: &str) -> String {
    let yaml = exported(&availability());
    assert!(yaml.contains(before), "{before} is not in\n{yaml}");
    yaml.replace(before, after)
}

#[test]
fn a_document_is_as_openslo_has_it() {
    let faults = "queue_full|execution_failed|upstream_failed|upstream_invalid|upstream_unavailable|breaker_open|features_invalid|features_unavailable|features_stale|internal|not_ready|graph_failed|graph_node_unavailable|memory_full|auth_unavailable|audit_unavailable|not_saved|traffic_unavailable|shutting_down|deadline_exceeded";
    let expected = format!(
        r#"apiVersion: openslo/v1
kind: SLO
metadata:
  name: fraud-available
  labels:
    tier: standard
  annotations:
    tidegate/min-events: "10"
spec:
  description: The share of requests that the server did not fail
  service: fraud
  indicator:
    metadata:
      name: fraud-available
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            type: Prometheus
            spec:
              query: (sum(nv_inference_request_success{{job="tidegate",model="fraud"}}) or vector(0))
        total:
          metricSource:
            type: Prometheus
            spec:
              query: (sum(nv_inference_request_success{{job="tidegate",model="fraud"}}) or vector(0)) + (sum(nv_inference_request_failure{{job="tidegate",model="fraud",reason=~"{faults}"}}) or vector(0))
  timeWindow:
  - duration: 30d
    isRolling: true
  budgetingMethod: Occurrences
  objectives:
  - target: 0.999
"#
    );
    assert_eq!(exported(&availability()), expected);
}

#[test]
fn what_is_exported_is_imported_again() {
    let objectives = [
        availability(),
        Objective {
            name: "all".to_owned(),
            min_events: 7,
            policy: BudgetPolicy::Freeze,
            tier: "1".to_owned(),
            ..Objective::default()
        },
        Objective {
            name: "fast".to_owned(),
            sli: SliKind::Latency,
            threshold_ms: Some(0.1),
            target: 0.9995,
            window: Window::Month,
            ..availability()
        },
        Objective {
            name: "all-fast".to_owned(),
            sli: SliKind::Latency,
            threshold_ms: Some(102.4),
            tier: "on: gold".to_owned(),
            window: Window::Rolling { days: 7 },
            ..Objective::default()
        },
    ];
    let yaml = export(&Objective::parse_all(&objectives).unwrap(), "tidegate").unwrap();
    assert_eq!(import(&yaml, "tidegate").unwrap(), objectives);
}

#[test]
fn a_document_of_someone_else_is_read() {
    let yaml = r#"
apiVersion: openslo/v1
kind: SLO
metadata:
  name: fraud-fast
  displayName: Fraud answers in time
  labels: {team: [risk, ml], tier: gold}
  annotations: {example.com/owner: risk}
spec:
  description: nine in ten
  service: payments
  indicator:
    metadata: {name: latency}
    spec:
      thresholdMetric:
        metricSource:
          metricSourceRef: main
          spec:
            query: tidegate_request_duration_seconds{job="tidegate", model="fraud"}
  timeWindow:
    - duration: 4w
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - displayName: good
      op: lte
      value: 0.0512
      targetPercent: 99.95
"#;
    let expected = Objective {
        name: "fraud-fast".to_owned(),
        endpoint: "fraud".to_owned(),
        sli: SliKind::Latency,
        threshold_ms: Some(51.2),
        target: 0.9995,
        window: Window::Rolling { days: 28 },
        tier: "gold".to_owned(),
        min_events: 10,
        policy: BudgetPolicy::None,
    };
    assert_eq!(import(yaml, "tidegate").unwrap(), [expected]);
    let error = problem(&yaml.replace("lte", "lt"));
    assert_eq!(
        error,
        "openslo \"fraud-fast\": thresholdMetric needs op: lte and a value in seconds, op is \"lt\""
    );
    assert!(
        problem(&yaml.replace("duration_seconds{", "other{"))
            .contains("it must be like `tidegate_request_dur")
    );
}

#[test]
fn what_cannot_be_kept_is_named() {
    for (before, after, part) in [
        (
            "kind: SLO",
            "kind: Service",
            "kind is \"Service\", only SLO",
        ),
        (
            "openslo/v1",
            "openslo/v2alpha1",
            "apiVersion is \"openslo/v2alpha1\"",
        ),
        (
            "Occurrences",
            "Timeslices",
            "budgetingMethod is \"Timeslices\"",
        ),
        (
            "- target: 0.999",
            "- target: 0.999\n  - target: 0.99",
            "there are 2 objectives",
        ),
        (
            "- target: 0.999",
            "- {target: 0.999, timeSliceTarget: 0.9, timeSliceWindow: 1m}",
            "timeSliceTarget",
        ),
        (
            "- target: 0.999",
            "- {target: 0.999, targetPercent: 99.9}",
            "either target or targetPercent",
        ),
        (
            "- target: 0.999",
            "- {target: 0.999, op: lte}",
            "op and value have no meaning",
        ),
        (
            "duration: 30d",
            "duration: 1Y",
            "the rolling duration is \"1Y\"",
        ),
        ("duration: 30d", "duration: 13w", "window is \"91d\""),
        ("duration: 30d", "duration: 36h", "whole days"),
        (
            "isRolling: true",
            "isRolling: false",
            "must be rolling, or have a calendar",
        ),
        ("counter: true", "counter: false", "counter is false"),
        (
            "type: Prometheus",
            "type: Datadog",
            "metricSource is of type \"Datadog\"",
        ),
        (
            "or vector(0)",
            "or vector(1)",
            "the queries are not supported",
        ),
        (
            "job=\"tidegate\"",
            "job=\"other\"",
            "the queries are not supported",
        ),
        ("\"10\"", "ten", "tidegate/min-events is \"ten\""),
        (
            "  budgetingMethod",
            "  alertPolicies: [a]\n  budgetingMethod",
            "alertPolicies are not supported",
        ),
        (
            "  budgetingMethod",
            "  alertPolicies: [{kind: x}]\n  budgetingMethod",
            "alertPolicies are not supported",
        ),
        (
            "  budgetingMethod",
            "  indicatorRef: a\n  budgetingMethod",
            "indicatorRef is not supported",
        ),
    ] {
        let error = problem(&with(before, after));
        assert!(error.contains(part), "{after}: {error}");
        assert!(
            error.starts_with("openslo \"fraud-available\": "),
            "{error}"
        );
    }
}

#[test]
fn a_calendar_is_that_of_months_in_utc() {
    let calendar = |duration: &str, start: &str, zone: &str| {
        let window = format!(
            "duration: {duration}\n    isRolling: false\n    calendar: {{startTime: {start}, timeZone: {zone}}}"
        );
        with("duration: 30d\n    isRolling: true", &window)
    };
    let read = import(
        &calendar("1M", "2024-03-01 00:00:00", "Etc/UTC"),
        "tidegate",
    )
    .unwrap();
    assert_eq!(read[0].window, Window::Month);
    assert!(problem(&calendar("1Q", "2024-03-01 00:00:00", "UTC")).contains("only 1M"));
    assert!(
        problem(&calendar("1M", "2024-03-02 00:00:00", "UTC")).contains("midnight of the first")
    );
    assert!(
        problem(&calendar("1M", "2024-03-01 12:00:00", "UTC")).contains("midnight of the first")
    );
    assert!(problem(&calendar("1M", "2024-03-01 00:00:00", "Europe/Zurich")).contains("only UTC"));
}

#[test]
fn what_is_no_document_is_refused() {
    assert!(problem("a: [").starts_with("not OpenSLO v1: "));
    let error = problem(&with("service: fraud", "service: fraud\n  servise: x"));
    assert!(error.contains("servise"), "{error}");
    let error = problem(&with("target: 0.999", "target: 1"));
    assert!(error.contains("target is 1"), "{error}");
    let yaml = exported(&availability());
    assert!(problem(&format!("{yaml}---\n{yaml}")).contains("another slo has this name"));
}

proptest! {
    /// A document with a piece cut out or put in is read or refused; what is read can be written.
    #[test]
    fn no_document_panics(at in 0usize..900, cut in 0usize..40, put in "[ -~\\n]{0,12}") {
        let mut yaml = exported(&availability());
        let at = at.min(yaml.len());
        yaml.replace_range(at..(at + cut).min(yaml.len()), &put);
        if let Ok(objectives) = import(&yaml, "tidegate") {
            let slos = Objective::parse_all(&objectives).unwrap();
            prop_assert_eq!(import(&export(&slos, "tidegate").unwrap(), "tidegate").unwrap(), objectives);
        }
    }
}
