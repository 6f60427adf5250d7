//! Each check on recorded responses of real servers. `tests/record_doctor.py` recorded them.

use serde::Deserialize;
use serde_json::{Value, from_value, json};

use super::*;
use crate::client::{MetricSamples, ServerSnapshot};

#[derive(Deserialize)]
struct Recorded {
    watch_s: f64,
    before: String,
    snapshot: Value,
}

impl Recorded {
    fn of(name: &str) -> Self {
        let path = format!(
            "{}/src/commands/doctor/recorded/{name}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// The same with another value of a metric in the snapshot.
    fn with(mut self, metric: &str, value: &str) -> Self {
        let text = self.snapshot["metrics"].as_str().unwrap().to_owned();
        let changed = |line: &str| match line.rsplit_once(' ') {
            Some((series, _)) if series == metric => format!("{series} {value}"),
            _ => line.to_owned(),
        };
        let mut lines: Vec<String> = text.lines().map(changed).collect();
        let line = format!("{metric} {value}");
        if !lines.contains(&line) {
            lines.push(line);
        }
        self.snapshot["metrics"] = Value::from(lines.join("\n"));
        self
    }

    /// The same with one more entry in a list of the snapshot.
    fn and(mut self, list: &str, one: Value) -> Self {
        self.snapshot[list].as_array_mut().unwrap().insert(0, one);
        self
    }

    fn context(self) -> CheckContext {
        fn part<T: for<'de> Deserialize<'de>>(snapshot: &Value, name: &str) -> T {
            from_value(snapshot[name].clone()).unwrap()
        }
        let Self {
            watch_s,
            before,
            snapshot,
        } = self;
        let metrics: String = part(&snapshot, "metrics");
        CheckContext {
            commands: NextCommands::plain("http://a:8000"),
            snapshot: ServerSnapshot {
                at_ms: part(&snapshot, "at_ms"),
                clock_ahead_ms: Some(0),
                version: part(&snapshot, "version"),
                not_ready: part(&snapshot, "not_ready"),
                problems: part(&snapshot, "problems"),
                index: part(&snapshot, "index"),
                objectives: part(&snapshot, "objectives"),
                alerts: part(&snapshot, "alerts"),
                routes: part(&snapshot, "routes"),
                events: part(&snapshot, "events"),
                metrics: MetricSamples::parse(&metrics),
            },
            before: MetricSamples::parse(&before),
            watch_s,
            hours: 6,
        }
    }
}

/// The one finding that is worse than a notice.
fn worst(findings: Vec<Finding>) -> Finding {
    let mut bad: Vec<Finding> = findings
        .into_iter()
        .filter(|finding| finding.severity >= Severity::Warning)
        .collect();
    assert_eq!(bad.len(), 1, "{bad:#?}");
    bad.remove(0)
}

fn runbook(finding: &Finding) -> &str {
    finding
        .runbook
        .as_deref()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
}

#[test]
fn a_healthy_server_has_no_problems() {
    let findings = run(&Recorded::of("healthy").context());
    assert!(
        findings
            .iter()
            .all(|finding| finding.severity <= Severity::Notice),
        "{findings:#?}"
    );
    let mut checks: Vec<&str> = findings.iter().map(|finding| finding.check).collect();
    checks.dedup();
    assert_eq!(
        checks.len(),
        ALL.len(),
        "each check says something: {checks:?}"
    );
}

#[test]
fn a_model_that_fails_to_load_is_critical() {
    let context = Recorded::of("broken").context();
    let finding = worst(versions::check(&context));
    assert!(
        finding.severity == Severity::Critical && finding.what.starts_with("broken"),
        "{finding:?}"
    );
    assert_eq!(
        finding.next.as_deref(),
        Some("curl -X POST http://a:8000/v2/repository/models/broken/load")
    );
    assert_eq!(runbook(&worst(health::check(&context))), "not-ready.md");
    let alerts: Vec<Finding> = alerts::check(&context)
        .into_iter()
        .filter(|finding| finding.severity >= Severity::Warning)
        .collect();
    assert!(
        alerts[1].what.contains("no route is configured"),
        "{alerts:?}"
    );
    let alert = &alerts[0];
    assert!(
        alert.what.contains("TidegateModelLoadFailed")
            && alert.what.contains("has been firing for"),
        "{alert:?}"
    );
}

#[test]
fn each_state_of_a_version_has_its_severity() {
    let with = |stage: &str, state: &str| {
        let entry = json!({"name": "digits", "version": "2", "state": state, "stage": stage, "reason": "no such file"});
        versions::check(&Recorded::of("healthy").and("index", entry).context())
    };
    assert_eq!(
        worst(with("failed", "UNAVAILABLE")).severity,
        Severity::Warning,
        "version 1 is serving"
    );
    assert!(
        worst(with("stale", "READY"))
            .what
            .contains("digits:2 still serves the old files")
    );
    assert_eq!(with("loading", "LOADING")[0].severity, Severity::Notice);
    assert_eq!(
        with("absent", "UNAVAILABLE")[0].severity,
        Severity::Ok,
        "a version that is loaded on demand is not missing"
    );
    let mut none = Recorded::of("healthy");
    none.snapshot["index"] = json!([]);
    assert!(
        worst(versions::check(&none.context()))
            .what
            .contains("no models")
    );
    let cold =
        Recorded::of("healthy").with("tidegate_cold_start_requests_total{model=\"digits\"}", "7");
    assert!(
        versions::check(&cold.context())[0]
            .what
            .contains("7 of 1 requests for digits waited")
    );
}

#[test]
fn a_saturated_queue_is_reported_with_the_share_of_failures() {
    let finding = worst(traffic::check(&Recorded::of("saturated").context()));
    assert_eq!(
        (finding.severity, runbook(&finding)),
        (Severity::Critical, "overload.md")
    );
    assert!(
        finding.what.contains("requests for busy fail") && finding.what.contains("queue_full"),
        "{finding:?}"
    );
}

#[test]
fn queues_connections_and_incomplete_metrics_are_reported() {
    let pending = "nv_inference_pending_request_count{model=\"digits\",version=\"1\"}";
    let mut standing = Recorded::of("healthy").with(pending, "250");
    standing.before.push_str(&format!("\n{pending} 240\n"));
    let finding = worst(traffic::check(&standing.context()));
    assert_eq!(runbook(&finding), "standing-queue.md");
    let finding = worst(traffic::check(
        &Recorded::of("healthy")
            .with("tidegate_connections_refused_total", "3")
            .context(),
    ));
    assert!(
        finding.what.contains("3 connections were closed"),
        "{finding:?}"
    );
    let refused = "tidegate_requests_refused_total{code=\"not_ready\"}";
    assert_eq!(
        runbook(&worst(traffic::check(
            &Recorded::of("healthy").with(refused, "5").context()
        ))),
        "not-ready.md"
    );
    let wrong = "tidegate_requests_refused_total{code=\"malformed_json\"}";
    let findings = traffic::check(&Recorded::of("healthy").with(wrong, "5").context());
    assert!(
        findings[0].severity == Severity::Notice && findings[0].what.contains("client errors"),
        "{findings:?}"
    );
    let dropped = Recorded::of("healthy").with("tidegate_observations_dropped_total", "9");
    assert!(
        worst(traffic::check(&dropped.context()))
            .what
            .contains("9 requests are missing")
    );
}

#[test]
fn a_budget_that_is_used_up_or_soon_will_be() {
    let finding = worst(objectives::check(&Recorded::of("burning").context()));
    assert_eq!(
        (finding.severity, runbook(&finding)),
        (Severity::Critical, "availability-burn.md")
    );
    assert!(
        finding
            .what
            .contains("available (availability of all models)"),
        "{finding:?}"
    );
    let severity = |change: fn(&mut Value)| {
        let mut recorded = Recorded::of("burning");
        // Alerts are evaluated every minute: whether a page fired when this was recorded is chance.
        for alert in recorded.snapshot["objectives"][0]["alerts"]
            .as_array_mut()
            .unwrap()
        {
            alert["state"] = json!("inactive");
        }
        change(&mut recorded.snapshot["objectives"][0]);
        objectives::check(&recorded.context())[0].severity
    };
    assert_eq!(
        severity(|slo| slo["total"] = json!(5)),
        Severity::Notice,
        "five requests say little"
    );
    assert_eq!(
        severity(|slo| {
            slo["budget_remaining"] = json!(0.9);
            slo["exhausted_ms"] = Value::Null;
        }),
        Severity::Ok
    );
    assert_eq!(
        severity(|slo| {
            slo["budget_remaining"] = json!(0.2);
            slo["exhausted_ms"] = Value::Null;
        }),
        Severity::Notice
    );
    assert_eq!(
        severity(|slo| slo["budget_remaining"] = json!(0.9)),
        Severity::Warning,
        "used up within a day"
    );
    assert_eq!(
        severity(|slo| {
            slo["budget_remaining"] = json!(0.9);
            slo["alerts"][0]["state"] = json!("firing");
        }),
        Severity::Critical,
        "a page fires"
    );
}

#[test]
fn an_alert_soon_after_a_change_names_the_change() {
    let context = Recorded::of("changed").context();
    let finding = worst(changes::check(&context));
    assert!(
        finding
            .what
            .contains("after the configuration changed (alerts.routes), and still fires"),
        "{finding:?}"
    );
    let told: Vec<Finding> = alerts::check(&context)
        .into_iter()
        .filter(|finding| finding.severity >= Severity::Warning)
        .collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(
        (told[0].severity, runbook(&told[0])),
        (Severity::Critical, "bad-rollout.md")
    );
    assert!(
        told[1]
            .what
            .contains("delivery on route hook (webhook) has failed"),
        "{told:?}"
    );
    let mut later = Recorded::of("changed");
    later.snapshot["at_ms"] = json!(later.snapshot["at_ms"].as_u64().unwrap() + 7 * 3_600_000);
    assert_eq!(
        changes::check(&later.context())[0].severity,
        Severity::Ok,
        "seven hours are more than six"
    );
}

#[test]
fn a_deploy_is_suspected_of_its_own_models_alerts_alone() {
    let with = |model: &str, alert_model: &str, minutes_after: u64| {
        let recorded = Recorded::of("healthy");
        let at_ms = recorded.snapshot["at_ms"].as_u64().unwrap() - 3_600_000;
        let deploy = json!({"id": 90, "at_ms": at_ms, "name": "version.ready", "model": model, "version": "2",
            "fields": {"deploy": true}});
        let alert = json!({"id": 91, "at_ms": at_ms + 60_000 * minutes_after, "name": "alert.firing",
            "model": alert_model, "fields": {"alert": "Late", "key": "k"}});
        let findings = changes::check(
            &recorded
                .and("events", deploy)
                .and("events", alert)
                .context(),
        );
        findings
            .into_iter()
            .find(|finding| finding.what.contains("Late began"))
    };
    let finding = with("fraud", "fraud", 4).unwrap();
    assert!(
        finding
            .what
            .contains("Late began 4 min after fraud:2 started serving, and has ended"),
        "{finding:?}"
    );
    let next = finding.next.unwrap();
    assert!(
        next.starts_with("restore the old files of fraud, then: curl"),
        "{next}"
    );
    assert!(
        with("fraud", "", 4).is_some(),
        "an alert of no model may come of any deploy"
    );
    assert_eq!(with("fraud", "iris", 4), None);
    assert_eq!(with("fraud", "fraud", 45), None, "too long after");
}

#[test]
fn an_alert_of_two_windows_is_told_once_and_a_failed_load_is_no_deploys_fault() {
    let with = |alert: &str| {
        let recorded = Recorded::of("healthy");
        let at_ms = recorded.snapshot["at_ms"].as_u64().unwrap() - 3_600_000;
        let deploy = json!({"id": 90, "at_ms": at_ms, "name": "version.ready", "model": "fraud",
            "version": "7", "fields": {"deploy": true}});
        let firing = |seconds: u64, key: &str| {
            json!({"id": 91, "at_ms": at_ms + 1000 * seconds, "name": "alert.firing",
                "model": "fraud", "fields": {"alert": alert, "key": key}})
        };
        let recorded = recorded
            .and("events", deploy)
            .and("events", firing(5, "5m"))
            .and("events", firing(65, "1h"));
        let findings = changes::check(&recorded.context()).into_iter();
        let suspects = findings.filter(|finding| finding.what.contains("began"));
        suspects.map(|finding| finding.what).collect::<Vec<_>>()
    };
    assert_eq!(
        with("TidegateLatencyBurn"),
        ["TidegateLatencyBurn began 5 s after fraud:7 started serving, and has ended"]
    );
    assert!(with("TidegateModelLoadFailed").is_empty());
}

#[test]
fn saturated_processors_are_named_with_their_number() {
    let with = |used: &str| {
        let mut recorded = Recorded::of("healthy")
            .with("tidegate_process_cpus", "2")
            .with("tidegate_process_cpu_seconds_total{mode=\"user\"}", used)
            .with("tidegate_process_cpu_seconds_total{mode=\"system\"}", "0");
        recorded.watch_s = 10.0;
        recorded.before = "tidegate_process_cpu_seconds_total{mode=\"user\"} 100\n\
            tidegate_process_cpu_seconds_total{mode=\"system\"} 0\n"
            .to_owned();
        machine::check(&recorded.context()).remove(0)
    };
    let busy = with("119.5");
    assert_eq!(
        (busy.severity, runbook(&busy)),
        (Severity::Warning, "overload.md")
    );
    assert!(
        busy.what
            .starts_with("1.95 of 2 processors in use: saturated")
    );
    let idle = with("101");
    assert_eq!(idle.severity, Severity::Ok);
    assert!(idle.what.starts_with("0.10 of 2 processors in use, "));
}

#[test]
fn a_version_that_fails_its_own_checks_is_checked_not_loaded_again() {
    let entry = json!({"name": "churn", "version": "4", "state": "UNAVAILABLE", "stage": "failed",
        "reason": "golden: row 0 of \"y\" differs"});
    let mut recorded = Recorded::of("registry_gone");
    recorded = recorded.and("index", entry);
    let findings = versions::check(&recorded.context());
    let finding = findings.iter().find(|one| one.what.contains("churn:4"));
    assert_eq!(
        finding.unwrap().next.as_deref(),
        Some("tidegate check \"$(tidegate registry fetch churn:4)\"")
    );
}

#[test]
fn an_unreachable_registry_is_a_warning() {
    let context = Recorded::of("registry_gone").context();
    let finding = worst(run(&context));
    assert_eq!(
        (finding.check, runbook(&finding)),
        ("registry", "registry-unreachable.md")
    );
    assert!(
        finding
            .what
            .starts_with("the registry cannot be read: database_"),
        "{finding:?}"
    );
    assert_eq!(
        health::check(&context)[0].severity,
        Severity::Notice,
        "it serves nevertheless"
    );
}

#[test]
fn a_machine_without_memory_files_or_processor_time_is_reported() {
    let with = |metric: &str, value: &str| {
        worst(machine::check(
            &Recorded::of("healthy").with(metric, value).context(),
        ))
    };
    let critical = with("tidegate_memory_available_bytes", "1000000");
    assert_eq!(
        (critical.severity, runbook(&critical)),
        (Severity::Critical, "memory.md")
    );
    assert!(critical.what.starts_with("1.0 MB of "), "{critical:?}");
    assert!(
        with("tidegate_cgroup_oom_kills_total", "2")
            .what
            .ends_with("for lack of memory: 2")
    );
    let files = with("process_open_fds", "1e12");
    assert_eq!(
        (files.severity, runbook(&files)),
        (Severity::Critical, "connections-refused.md")
    );
    let mut throttled =
        Recorded::of("healthy").with("tidegate_cgroup_cpu_throttled_seconds_total", "100.5");
    throttled.before = throttled
        .before
        .lines()
        .filter(|line| !line.starts_with("tidegate_cgroup_cpu_throttled"))
        .chain(["tidegate_cgroup_cpu_throttled_seconds_total 100"])
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        worst(machine::check(&throttled.context()))
            .what
            .contains("50% of the last 1 s")
    );
}

#[test]
fn a_full_disk_is_critical_and_no_data_folder_is_ok() {
    let with = |left: &str| {
        let recorded = Recorded::of("healthy").with("tidegate_data_size_bytes", "1e9");
        data::check(
            &recorded
                .with("tidegate_data_available_bytes", left)
                .context(),
        )
        .remove(0)
        .severity
    };
    assert_eq!(
        [with("5e8"), with("5e7"), with("1e6")],
        [Severity::Ok, Severity::Warning, Severity::Critical]
    );
    let mut none = Recorded::of("healthy").context();
    none.snapshot.metrics = MetricSamples::default();
    assert!(data::check(&none)[0].what.contains("no data folder"));
}

#[test]
fn a_wrong_clock_is_reported() {
    let with = |ahead_ms| {
        let mut context = Recorded::of("healthy").context();
        context.snapshot.clock_ahead_ms = ahead_ms;
        clock::check(&context).remove(0)
    };
    assert_eq!(with(Some(1500)).severity, Severity::Ok);
    assert_eq!(with(Some(-5000)).severity, Severity::Notice);
    assert!(
        with(Some(-90_000))
            .what
            .contains("90 s behind this machine's")
    );
    assert_eq!(
        (with(Some(90_000)).severity, with(None).severity),
        (Severity::Warning, Severity::Ok)
    );
}

#[test]
fn restarts_are_reported() {
    let mut recorded = Recorded::of("healthy");
    for _ in 0..3 {
        let at_ms = recorded.snapshot["at_ms"].clone();
        recorded = recorded.and(
            "events",
            json!({"id": 9, "at_ms": at_ms, "name": "server.started"}),
        );
    }
    assert!(
        worst(health::check(&recorded.context()))
            .what
            .contains("started 4 times")
    );
}

#[test]
fn every_runbook_exists() {
    let sources = [
        include_str!("../checks.rs"),
        include_str!("alerts.rs"),
        include_str!("changes.rs"),
        include_str!("clock.rs"),
        include_str!("data.rs"),
        include_str!("health.rs"),
        include_str!("machine.rs"),
        include_str!("objectives.rs"),
        include_str!("registry.rs"),
        include_str!("traffic.rs"),
        include_str!("versions.rs"),
    ];
    let named = sources
        .iter()
        .flat_map(|source| source.split("runbook(\"").skip(1));
    let names: Vec<&str> = named.map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        let page = format!(
            "{}/../../docs/runbooks/{name}.md",
            env!("CARGO_MANIFEST_DIR")
        );
        assert!(std::path::Path::new(&page).is_file(), "{page}");
    }
}
