//! Rules that every server has unless it is told otherwise: those of [`crate::rules()`] that one
//! server can judge alone.

use super::RuleConfig;
use crate::alerts::Severity;

/// The rules, for a server that follows the registry or does not.
pub fn builtin_rules(follows_registry: bool) -> Vec<RuleConfig> {
    let mut rules = vec![
        server_not_ready(),
        requests_not_ready(),
        load_failed(),
        connections_refused(),
        standing_queue(),
        cost_budget(),
        replicas_apart(),
    ];
    if follows_registry {
        rules.push(registry_unreachable());
    }
    rules
}

fn server_not_ready() -> RuleConfig {
    RuleConfig {
        op: super::Comparison::Below,
        for_s: 300,
        severity: Severity::Page,
        ..of(
            "TidegateServerNotReady",
            "tidegate_ready",
            "not-ready",
            "the server is not ready for traffic",
        )
    }
}

fn requests_not_ready() -> RuleConfig {
    RuleConfig {
        labels: "code=\"not_ready\"".parse().into_iter().collect(),
        window_s: 300,
        threshold: 0.0,
        for_s: 120,
        severity: Severity::Page,
        ..of(
            "TidegateNotReady",
            "tidegate_requests_refused_total",
            "not-ready",
            "requests are refused because their model is not loaded",
        )
    }
}

fn load_failed() -> RuleConfig {
    RuleConfig {
        name: "TidegateModelLoadFailed".to_owned(),
        event: Some("version.load_failed".to_owned()),
        by: vec!["model".to_owned()],
        window_s: 900,
        summary: "a model could not be loaded".to_owned(),
        runbook: "model-load-failed".to_owned(),
        ..RuleConfig::default()
    }
}

fn connections_refused() -> RuleConfig {
    RuleConfig {
        window_s: 300,
        threshold: 0.0,
        ..of(
            "TidegateConnectionsRefused",
            "tidegate_connections_refused_total",
            "connections-refused",
            "connections are closed because too many are open",
        )
    }
}

fn standing_queue() -> RuleConfig {
    RuleConfig {
        by: vec!["model".to_owned(), "version".to_owned()],
        threshold: 100.0,
        for_s: 300,
        ..of(
            "TidegateStandingQueue",
            "nv_inference_pending_request_count",
            "standing-queue",
            "requests wait, and the queue does not get shorter",
        )
    }
}

/// Told apart by budget and share; a server without budgets has no such series.
fn cost_budget() -> RuleConfig {
    RuleConfig {
        by: vec!["budget".to_owned(), "share".to_owned()],
        threshold: 0.0,
        ..of(
            "TidegateCostBudget",
            "tidegate_cost_budget_reached",
            "cost-budget",
            "a share of a cost budget is used up",
        )
    }
}

/// A server without a group has no such series.
fn replicas_apart() -> RuleConfig {
    RuleConfig {
        op: super::Comparison::Below,
        for_s: 300,
        by: vec!["group".to_owned()],
        ..of(
            "TidegateReplicasApart",
            "tidegate_replicas_connected",
            "replicas-apart",
            "the server cannot reach the other replicas of its group",
        )
    }
}

fn registry_unreachable() -> RuleConfig {
    RuleConfig {
        op: super::Comparison::Below,
        for_s: 600,
        ..of(
            "TidegateRegistryUnreachable",
            "tidegate_registry_reachable",
            "registry-unreachable",
            "the server cannot read the registry",
        )
    }
}

fn of(name: &str, metric: &str, runbook: &str, summary: &str) -> RuleConfig {
    RuleConfig {
        name: name.to_owned(),
        metric: Some(metric.to_owned()),
        runbook: runbook.to_owned(),
        summary: summary.to_owned(),
        ..RuleConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_rules_with_runbooks() {
        let rules = RuleConfig::parse_all(&builtin_rules(true)).unwrap();
        assert_eq!(rules.len(), 8);
        assert_eq!(builtin_rules(true)[1].labels.len(), 1);
        for rule in builtin_rules(true) {
            let page = format!(
                "{}/../../docs/runbooks/{}.md",
                env!("CARGO_MANIFEST_DIR"),
                rule.runbook
            );
            assert!(std::path::Path::new(&page).exists(), "{page}");
        }
    }
}
