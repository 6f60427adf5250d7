//! The dashboards ask for what there is, in PromQL that Prometheus reads.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use tidegate_observe::dashboards;

#[test]
fn every_metric_exists() {
    let known = support::known_metrics();
    for dashboard in dashboards("tidegate") {
        for expr in expressions(&dashboard.to_json()) {
            let metrics = metrics_in(&expr);
            assert!(
                !metrics.is_empty(),
                "{}: no metric in {expr}",
                dashboard.name
            );
            for metric in metrics {
                assert!(
                    known.contains(&metric),
                    "{}: there is no {metric}, in {expr}",
                    dashboard.name
                );
            }
        }
    }
}

#[test]
fn every_metric_of_the_reference_is_shown() {
    let shown: BTreeSet<String> = dashboards("tidegate")
        .iter()
        .flat_map(|dashboard| expressions(&dashboard.to_json()))
        .flat_map(|expr| metrics_in(&expr))
        .map(|metric| base(&metric).to_owned())
        .collect();
    for metric in support::reference() {
        assert!(shown.contains(&metric), "{metric} is in no dashboard");
    }
}

#[test]
fn prometheus_reads_every_expression() {
    let all = dashboards("a \"job\"")
        .map(|dashboard| expressions(&dashboard.to_json()))
        .concat();
    let rules = all.iter().enumerate().map(|(at, expr)| {
        let expr = expr
            .replace("$__rate_interval", "5m")
            .replace("$model", "fraud|iris");
        assert!(!expr.contains('$'), "an unknown variable in {expr}");
        json!({"record": format!("expression_{at}"), "expr": expr})
    });
    let rules = json!({"groups": [{"name": "dashboards", "rules": rules.collect::<Vec<_>>()}]});
    let file = support::folder("dashboards").join("rules.yaml");
    fs::write(&file, rules.to_string()).unwrap();
    let printed = support::promtool(&["check", "rules"], &file);
    assert!(
        printed.contains(&format!("SUCCESS: {} rules found", all.len())),
        "{printed}"
    );
}

#[test]
fn panels_lie_side_by_side_and_have_ids() {
    for dashboard in dashboards("tidegate") {
        let json = dashboard.to_json();
        let panels = json["panels"].as_array().unwrap();
        let ids: BTreeSet<u64> = panels
            .iter()
            .map(|panel| panel["id"].as_u64().unwrap())
            .collect();
        assert_eq!(ids.len(), panels.len(), "{}", dashboard.name);
        let mut covered = BTreeSet::new();
        for panel in panels {
            let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24, "{panel}");
            assert!(place("w") >= 4, "too narrow to read: {panel}");
            for x in place("x")..place("x") + place("w") {
                assert!(
                    covered.insert((x, place("y"))),
                    "{}: panels overlap",
                    dashboard.name
                );
            }
            assert!(
                !panel["description"].as_str().unwrap().is_empty(),
                "{panel}"
            );
        }
    }
}

#[test]
fn the_source_is_a_variable_everywhere() {
    for dashboard in dashboards("tidegate") {
        let json = dashboard.to_json();
        assert_eq!(json["templating"]["list"][0]["type"], "datasource");
        let mut sources = Vec::new();
        walk(&json, &mut |key, value| {
            if key == "datasource" && value.is_object() {
                sources.push(value["uid"].as_str().unwrap().to_owned());
            }
        });
        assert!(sources.len() > 10, "{sources:?}");
        assert!(
            sources.iter().all(|uid| uid == "${datasource}"),
            "{sources:?}"
        );
    }
}

/// Every PromQL expression of a dashboard: of panels, of annotations, and within the variables'
/// `label_values`.
fn expressions(dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(dashboard, &mut |key, value| match (key, value.as_str()) {
        ("expr", Some(expr)) => found.push(expr.to_owned()),
        ("definition", Some(query)) => {
            let inner = query
                .strip_prefix("label_values(")
                .unwrap()
                .rsplit_once(',')
                .unwrap()
                .0;
            found.push(inner.to_owned());
        }
        _ => {}
    });
    assert!(found.len() > 10, "{found:?}");
    found
}

fn walk(value: &Value, see: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                see(key, value);
                walk(value, see);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, see)),
        _ => {}
    }
}

/// A histogram's name without its part.
fn base(metric: &str) -> &str {
    let histogram = metric
        .strip_suffix("_bucket")
        .or_else(|| metric.strip_suffix("_sum"));
    histogram.unwrap_or(metric)
}

/// The names in an expression that are neither functions, nor keywords, nor labels, nor in quotes.
fn metrics_in(expr: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = without_labels(expr);
    for grouping in ["by (", "on (", "group_left ("] {
        while let Some(at) = rest.find(grouping) {
            let end = at + rest[at..].find(')').unwrap();
            rest.replace_range(at..=end, " ");
        }
    }
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    for (at, word) in rest
        .split(|c| !inside(c))
        .map(|word| (word.as_ptr() as usize - rest.as_ptr() as usize, word))
    {
        let function = rest[at + word.len()..].trim_start().starts_with('(');
        let keyword = matches!(
            word,
            "or" | "and" | "unless" | "sum" | "count" | "max" | "min"
        );
        if word.starts_with(|c: char| c.is_ascii_alphabetic()) && !function && !keyword {
            names.insert(word.to_owned());
        }
    }
    names
}

/// The expression without what stands in braces and brackets.
fn without_labels(expr: &str) -> String {
    let mut depth = 0;
    let mut kept = String::new();
    for c in expr.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            c if depth == 0 => kept.push(c),
            _ => {}
        }
    }
    kept
}

#[test]
fn metrics_are_found_in_expressions() {
    let found = metrics_in(
        "sum by (le, model) (rate(a_bucket{x=\"b{c}\"}[5m])) / 1e6 or on (x) max(d:e:f) > 0.5",
    );
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a_bucket", "d:e:f"]);
}
