//! Alerts that every server should have, whatever its objectives.

use std::collections::BTreeMap;

use super::{Rule, RuleGroup, RuleOptions};
use crate::alerts::Severity;
use crate::promql::escaped;

/// An alert before it knows where it is used.
struct General {
    name: &'static str,
    runbook: &'static str,
    severity: Severity,
    /// How long it must hold, as a duration of Prometheus.
    hold: Option<&'static str>,
    expr: String,
    summary: &'static str,
    description: String,
}

pub(super) fn group(options: &RuleOptions) -> RuleGroup {
    let job = format!("job=\"{}\"", escaped(&options.job));
    let alerts = [
        down(&job),
        not_ready(&job),
        load_failed(&job),
        overload(&job),
        connections_refused(&job),
    ];
    let alerts = alerts
        .into_iter()
        .chain([standing_queue(&job), memory_grows(&job)]);
    let alerts = alerts.chain([
        registry_unreachable(&job),
        cold_starts(&job),
        cost_budget(&job),
        drift(&job),
        rolled_back(&job),
        replicas_apart(&job),
        redis_away(&job),
    ]);
    let memory = options
        .memory_limit_bytes
        .map(|limit| memory_high(&job, limit));
    RuleGroup {
        name: "tidegate-general".to_owned(),
        interval: "30s",
        rules: alerts
            .chain(memory)
            .map(|alert| alert.rule(options))
            .collect(),
    }
}

impl General {
    fn rule(self, options: &RuleOptions) -> Rule {
        let annotations = [
            ("summary", self.summary.to_owned()),
            ("description", self.description),
            ("runbook_url", options.runbook(self.runbook)),
        ];
        Rule::Alert {
            alert: self.name.to_owned(),
            expr: self.expr,
            hold: self.hold.map(str::to_owned),
            labels: BTreeMap::from([("severity", self.severity.name().to_owned())]),
            annotations: annotations.into(),
        }
    }
}

fn down(job: &str) -> General {
    General {
        name: "TidegateDown",
        runbook: "down",
        severity: Severity::Page,
        hold: Some("2m"),
        // `absent` fires where Prometheus has no target of the job at all.
        expr: format!("up{{{job}}} == 0 or absent(up{{{job}}})"),
        summary: "a server cannot be scraped",
        description: "{{ with $labels.instance }}{{ . }} has not answered{{ else }}No server has answered{{ end }} \
                      /metrics for 2 minutes."
            .to_owned(),
    }
}

fn not_ready(job: &str) -> General {
    General {
        name: "TidegateNotReady",
        runbook: "not-ready",
        severity: Severity::Page,
        hold: Some("2m"),
        expr: format!(
            "sum by (instance) ({}) > 0",
            increase_of_new(&format!("tidegate_requests_refused_total{{{job},code=\"not_ready\"}}"), "5m")
        ),
        summary: "requests are refused because their model is not loaded",
        description:
            "{{ $labels.instance }} refused {{ $value | printf \"%.0f\" }} requests with not_ready in 5 minutes: \
                      it knows the model but has not loaded it."
                .to_owned(),
    }
}

fn load_failed(job: &str) -> General {
    General {
        name: "TidegateModelLoadFailed",
        runbook: "model-load-failed",
        severity: Severity::Ticket,
        hold: None,
        expr: format!(
            "sum by (model) ({}) > 0",
            increase_of_new(&format!("tidegate_model_loads_total{{{job},outcome=\"failed\"}}"), "15m")
        ),
        summary: "a model could not be loaded",
        description: "{{ $labels.model }} failed to load {{ $value | printf \"%.0f\" }} times in 15 minutes. Versions \
                      that were loaded before stay in service."
            .to_owned(),
    }
}

fn overload(job: &str) -> General {
    let shed =
        format!("nv_inference_request_failure{{{job},reason=~\"queue_full|deadline_exceeded\"}}");
    let answered = format!("nv_inference_request_success{{{job}}}");
    General {
        name: "TidegateOverload",
        runbook: "overload",
        severity: Severity::Ticket,
        hold: Some("5m"),
        expr: format!(
            "sum by (model) (rate({shed}[5m])) / (sum by (model) (rate({shed}[5m])) + sum by (model) \
             (rate({answered}[5m]))) > 0.01"
        ),
        summary: "more requests arrive than the server can answer in time",
        description: "{{ $value | humanizePercentage }} of the requests for {{ $labels.model }} were refused with \
                      queue_full or deadline_exceeded in the last 5 minutes; the alert fires above 1%."
            .to_owned(),
    }
}

fn connections_refused(job: &str) -> General {
    General {
        name: "TidegateConnectionsRefused",
        runbook: "connections-refused",
        severity: Severity::Ticket,
        hold: None,
        // No hold: a client that was refused has already had an error.
        expr: format!("increase(tidegate_connections_refused_total{{{job}}}[5m]) > 0"),
        summary: "connections are closed because too many are open",
        description: "{{ $labels.instance }} closed {{ $value | printf \"%.0f\" }} connections in 5 minutes because \
                      too many were open."
            .to_owned(),
    }
}

fn standing_queue(job: &str) -> General {
    General {
        name: "TidegateStandingQueue",
        runbook: "standing-queue",
        severity: Severity::Ticket,
        hold: Some("5m"),
        // The minimum tells a queue that grows or stays from a burst that is worked off.
        expr: format!("min_over_time(nv_inference_pending_request_count{{{job}}}[5m]) > 100"),
        summary: "requests wait, and the queue does not get shorter",
        description: "In the last 5 minutes, at least {{ $value | printf \"%.0f\" }} requests were always waiting for \
                      {{ $labels.model }} version {{ $labels.version }} on {{ $labels.instance }}; the alert fires above 100."
            .to_owned(),
    }
}

fn memory_grows(job: &str) -> General {
    let memory = format!("process_resident_memory_bytes{{{job}}}");
    let models = format!("tidegate_model_memory_bytes{{{job}}}");
    General {
        name: "TidegateMemoryGrows",
        runbook: "memory",
        severity: Severity::Ticket,
        hold: Some("30m"),
        // Compared with six hours ago, and beyond what models loaded since then took.
        expr: format!(
            "({memory} - {memory} offset 6h - on (instance) group_left () (sum by (instance) ({models}) - \
             sum by (instance) ({models} offset 6h))) / {memory} offset 6h > 0.5"
        ),
        summary: "a server uses more and more memory",
        description: "{{ $labels.instance }} uses {{ $value | humanizePercentage }} more memory than six hours ago, \
                      without newly loaded models; the alert fires above 50%."
            .to_owned(),
    }
}

fn registry_unreachable(job: &str) -> General {
    General {
        name: "TidegateRegistryUnreachable",
        runbook: "registry-unreachable",
        severity: Severity::Ticket,
        hold: Some("10m"),
        // Servers that follow no registry have no memory budget for it.
        expr: format!(
            "tidegate_registry_reachable{{{job}}} == 0 and on (instance) tidegate_memory_budget_bytes{{{job}}} > 0"
        ),
        summary: "a server cannot read the registry",
        description:
            "{{ $labels.instance }} could not read the registry for 10 minutes. Loaded versions stay in service, \
                      but new versions, aliases and rollbacks do not arrive."
                .to_owned(),
    }
}

fn replicas_apart(job: &str) -> General {
    General {
        name: "TidegateReplicasApart",
        runbook: "replicas-apart",
        severity: Severity::Ticket,
        hold: Some("5m"),
        expr: format!("tidegate_replicas_connected{{{job}}} == 0"),
        summary: "a server cannot reach the other replicas of its group",
        description:
            "{{ $labels.instance }} could not exchange state with the group {{ $labels.group }} for 5 minutes: \
                      it evaluates objectives and sends alerts alone."
                .to_owned(),
    }
}

fn redis_away(job: &str) -> General {
    General {
        name: "TidegateRedisAway",
        runbook: "redis-away",
        severity: Severity::Ticket,
        hold: Some("5m"),
        expr: format!("tidegate_redis_connected{{{job}}} == 0"),
        summary: "a server cannot reach Redis",
        description:
            "{{ $labels.instance }} could not reach Redis for 5 minutes: it counts its share of the rates alone, \
                      and shares no answers."
                .to_owned(),
    }
}

fn cold_starts(job: &str) -> General {
    let waited = format!("tidegate_cold_start_requests_total{{{job}}}");
    let answered = format!("nv_inference_request_success{{{job}}}");
    General {
        name: "TidegateColdStarts",
        runbook: "cold-starts",
        severity: Severity::Ticket,
        hold: Some("15m"),
        expr: format!("sum by (model) (rate({waited}[15m])) / sum by (model) (rate({answered}[15m])) > 0.05"),
        summary: "many requests wait for their model to be loaded",
        description:
            "{{ $value | humanizePercentage }} of the requests for {{ $labels.model }} waited for a load in the \
                      last 15 minutes; the alert fires above 5%."
                .to_owned(),
    }
}

fn cost_budget(job: &str) -> General {
    General {
        name: "TidegateCostBudget",
        runbook: "cost-budget",
        severity: Severity::Ticket,
        hold: None,
        expr: format!("max by (instance, budget, share) (tidegate_cost_budget_reached{{{job}}}) > 0"),
        summary: "a share of a cost budget is used up",
        description: "{{ $labels.instance }} has used up {{ $labels.share }} of the cost budget {{ $labels.budget }} \
                      before its day or month is over."
            .to_owned(),
    }
}

fn drift(job: &str) -> General {
    General {
        name: "TidegateDrift",
        runbook: "silent-drift",
        severity: Severity::Ticket,
        hold: None,
        expr: format!("max by (instance, model, version) (tidegate_drifted_columns{{{job}}}) > 0"),
        summary: "requests of a model are not like the data that it was trained on",
        description: "On {{ $labels.instance }}, {{ $value }} columns of version {{ $labels.version }} of \
                      {{ $labels.model }} drifted in the last window. `tidegate quality drift` names them."
            .to_owned(),
    }
}

fn rolled_back(job: &str) -> General {
    General {
        name: "TidegateRolledBack",
        runbook: "bad-rollout",
        severity: Severity::Ticket,
        hold: None,
        expr: format!("max by (endpoint, version) (tidegate_rollout_rolled_back{{{job}}}) > 0"),
        summary: "a rollout took the traffic of a version back",
        description: "Version {{ $labels.version }} of {{ $labels.endpoint }} was worse than the version before, and gets no \
                      requests. `tidegate rollout status {{ $labels.endpoint }}` says why."
            .to_owned(),
    }
}

fn memory_high(job: &str, limit: u64) -> General {
    General {
        name: "TidegateMemoryHigh",
        runbook: "memory",
        severity: Severity::Page,
        hold: Some("5m"),
        expr: format!("process_resident_memory_bytes{{{job}}} / {limit} > 0.9"),
        summary: "a server is about to run out of memory",
        description: format!(
            "{{{{ $labels.instance }}}} uses {{{{ $value | humanizePercentage }}}} of its {limit} bytes; the alert fires above \
             90%."
        ),
    }
}

/// The increase of a counter that may have begun to exist in the range. `increase` needs two samples and so
/// misses the first value of a new series; that value is added by the first half.
fn increase_of_new(counter: &str, range: &str) -> String {
    format!("({counter} unless {counter} offset {range}) or increase({counter}[{range}])")
}
