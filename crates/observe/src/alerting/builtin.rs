//! Built-in rules: those of [`crate::rules()`] that a single server can evaluate by itself.

use super::RuleConfig;
use crate::alerts::Severity;

/// The rules of a server, which serves from the registry or does not.
pub fn builtin_rules(follows_registry: bool) -> Vec<RuleConfig> {
    let mut rules = vec![
        server_not_ready(),
        requests_not_ready(),
        load_failed(),
        connections_refused(),
        overload(),
        standing_queue(),
        cost_budget(),
        drift(),
        rolled_back(),
        replicas_apart(),
        redis_away(),
    ];
    // The metric is 0 where no registry is followed: the rule would always fire there.
    if follows_registry {
        rules.push(registry_unreachable());
    }
    rules
}

fn server_not_ready() -> RuleConfig {
    RuleConfig {
        op: super::Comparison::Below,
        // Loading at the start may take minutes: only a server that stays unready is a page.
        for_s: 300,
        severity: Severity::Page,
        ..rule(
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
        ..rule(
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
        ..rule(
            "TidegateConnectionsRefused",
            "tidegate_connections_refused_total",
            "connections-refused",
            "connections are closed because too many are open",
        )
    }
}

/// As `TidegateOverload` of the rules for Prometheus.
fn overload() -> RuleConfig {
    RuleConfig {
        labels: "reason=~\"queue_full|deadline_exceeded\""
            .parse()
            .into_iter()
            .collect(),
        share_of: Some("nv_inference_request_success".to_owned()),
        by: vec!["model".to_owned()],
        window_s: 300,
        threshold: 0.01,
        for_s: 300,
        ..rule(
            "TidegateOverload",
            "nv_inference_request_failure",
            "overload",
            "more requests arrive than the server can answer in time",
        )
    }
}

fn standing_queue() -> RuleConfig {
    RuleConfig {
        by: vec!["model".to_owned(), "version".to_owned()],
        threshold: 100.0,
        for_s: 300,
        ..rule(
            "TidegateStandingQueue",
            "nv_inference_pending_request_count",
            "standing-queue",
            "requests are waiting, and the queue does not get shorter",
        )
    }
}

/// One alert for each budget and share. A server without budgets has no such series, and no alert.
fn cost_budget() -> RuleConfig {
    RuleConfig {
        by: vec!["budget".to_owned(), "share".to_owned()],
        threshold: 0.0,
        ..rule(
            "TidegateCostBudget",
            "tidegate_cost_budget_reached",
            "cost-budget",
            "spending reached a share of a cost budget",
        )
    }
}

/// A version without a baseline has no such series, and no alert.
fn drift() -> RuleConfig {
    RuleConfig {
        by: vec!["model".to_owned(), "version".to_owned()],
        threshold: 0.0,
        ..rule(
            "TidegateDrift",
            "tidegate_drifted_columns",
            "silent-drift",
            "requests are not like the data that the model was trained on",
        )
    }
}

/// The alert on a version whose traffic a rollout took back.
pub(super) const ROLLED_BACK: &str = "TidegateRolledBack";

/// The metric says it for an hour: then somebody has seen it, or nobody will.
fn rolled_back() -> RuleConfig {
    RuleConfig {
        by: vec!["endpoint".to_owned(), "version".to_owned()],
        threshold: 0.0,
        ..rule(
            ROLLED_BACK,
            "tidegate_rollout_rolled_back",
            "bad-rollout",
            "a rollout took the traffic of a version back",
        )
    }
}

/// A server without a group of replicas has no such series, and no alert.
fn replicas_apart() -> RuleConfig {
    RuleConfig {
        op: super::Comparison::Below,
        for_s: 300,
        by: vec!["group".to_owned()],
        ..rule(
            "TidegateReplicasApart",
            "tidegate_replicas_connected",
            "replicas-apart",
            "the server cannot reach the other replicas of its group",
        )
    }
}

/// A server without Redis has no such series, and no alert.
fn redis_away() -> RuleConfig {
    RuleConfig {
        op: super::Comparison::Below,
        for_s: 300,
        ..rule(
            "TidegateRedisAway",
            "tidegate_redis_connected",
            "redis-away",
            "the server cannot reach Redis",
        )
    }
}

fn registry_unreachable() -> RuleConfig {
    RuleConfig {
        op: super::Comparison::Below,
        for_s: 600,
        ..rule(
            "TidegateRegistryUnreachable",
            "tidegate_registry_reachable",
            "registry-unreachable",
            "the server cannot read the registry",
        )
    }
}

fn rule(name: &str, metric: &str, runbook: &str, summary: &str) -> RuleConfig {
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
        assert_eq!(rules.len(), 12);
        // A matcher that cannot be read would be left out.
        assert_eq!(builtin_rules(true)[1].labels.len(), 1);
        assert_eq!(builtin_rules(true)[4].labels.len(), 1);
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
