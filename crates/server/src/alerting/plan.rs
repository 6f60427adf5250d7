//! The configuration of alerts, checked.

use std::collections::BTreeSet;

use tidegate_observe::Severity;
use tidegate_observe::alerting::{
    AlertRule, Inhibition, Links, Route, RuleConfig, RuleError, builtin_rules,
};
use tidegate_serving::{MetricEntry, MetricKind};

use super::config::{AlertsConfig, RouteConfig};
use super::receiver::Receiver;

// Every evaluation, each five seconds, goes through all of these.
const MAX_RULES: usize = 500;
const MAX_ROUTES: usize = 100;
const MAX_INHIBITIONS: usize = 100;

/// A wrong configuration of alerts.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AlertsError {
    #[error(transparent)]
    Rule(#[from] RuleError),
    #[error("alerts.routes \"{name}\": {problem}")]
    Route { name: String, problem: String },
    #[error("alerts.alertmanagers {url:?}: {problem}")]
    Alertmanager { url: String, problem: String },
    #[error("alerts.{key} has {count} sections, the maximum is {most}")]
    TooMany {
        key: &'static str,
        count: usize,
        most: usize,
    },
    #[error("alerts: {0}")]
    Client(String),
}

/// The checked configuration of alerts.
pub(super) struct Plan {
    pub(super) routes: Vec<(Route, Receiver)>,
    /// Those of the routes that take messages.
    pub(super) message_routes: Vec<Route>,
    pub(super) rules: Vec<AlertRule>,
    /// The metrics that the rules read.
    pub(super) metrics: BTreeSet<String>,
    pub(super) inhibitions: Vec<Inhibition>,
    /// The severities that are suppressed while a deploy window is open.
    pub(super) deploy_severities: Vec<Severity>,
    pub(super) deploy_window_ms: u64,
    pub(super) max_waiting: usize,
    pub(super) give_up_after_ms: u64,
    pub(super) links: Links,
}

impl Plan {
    /// Reads the configuration. `catalogue` lists all metrics.
    pub(super) fn new(
        config: &AlertsConfig,
        follows_registry: bool,
        catalogue: &[MetricEntry],
    ) -> Result<Self, AlertsError> {
        let inhibitions = config.inhibit.clone().unwrap_or_else(Inhibition::defaults);
        for (key, count, most) in [
            ("rules", config.rules.len(), MAX_RULES),
            (
                "routes",
                // Each Alertmanager becomes a route.
                config.routes.len() + config.alertmanagers.len(),
                MAX_ROUTES,
            ),
            ("inhibit", inhibitions.len(), MAX_INHIBITIONS),
        ] {
            if count > most {
                return Err(AlertsError::TooMany { key, count, most });
            }
        }
        let builtin = if config.builtin_rules {
            builtin_rules(follows_registry)
        } else {
            Vec::new()
        };
        // A rule of the configuration takes the place of the built-in one of its name.
        let own: BTreeSet<&str> = config.rules.iter().map(|rule| rule.name.as_str()).collect();
        let builtin = builtin
            .into_iter()
            .filter(|rule| !own.contains(rule.name.as_str()));
        let rules: Vec<RuleConfig> = builtin.chain(config.rules.iter().cloned()).collect();
        let rules = RuleConfig::parse_all(&rules)?;
        rules
            .iter()
            // At the start: a rule whose metric is misspelt would never fire.
            .try_for_each(|rule| check_metric(rule, catalogue))?;
        let routes = routes(config)?;
        let message_routes = routes
            .iter()
            .filter(|(_, receiver)| receiver.takes_messages());
        Ok(Self {
            message_routes: message_routes.map(|(route, _)| route.clone()).collect(),
            routes,
            metrics: rules
                .iter()
                .flat_map(|rule| [rule.metric(), rule.share_of()])
                .flatten()
                .map(str::to_owned)
                .collect(),
            rules,
            inhibitions,
            deploy_severities: config.deploy_suppresses.clone(),
            deploy_window_ms: config.deploy_window_s.saturating_mul(1000),
            // With 0 every message would be dropped before it is tried.
            max_waiting: config.max_waiting_messages.max(1),
            give_up_after_ms: config.give_up_after_s.saturating_mul(1000),
            links: config.links(),
        })
    }
}

fn routes(config: &AlertsConfig) -> Result<Vec<(Route, Receiver)>, AlertsError> {
    let mut routes = Vec::new();
    for url in &config.alertmanagers {
        let route = RouteConfig {
            name: format!("alertmanagers {url}"),
            alertmanager: Some(url.clone()),
            ..RouteConfig::default()
        };
        let receiver = Receiver::new(&route);
        let receiver = receiver.map_err(|problem| AlertsError::Alertmanager {
            url: url.clone(),
            problem,
        })?;
        routes.push((planned(config, &route), receiver));
    }
    let mut names = BTreeSet::new();
    for route in &config.routes {
        if route.name.is_empty() || route.name.len() > 100 {
            return Err(wrong_route(
                route,
                "a route needs a name of at most 100 bytes".to_owned(),
            ));
        }
        if !names.insert(&route.name) {
            let problem = "another route has this name".to_owned();
            return Err(wrong_route(route, problem));
        }
        let receiver = Receiver::new(route).map_err(|problem| wrong_route(route, problem))?;
        routes.push((planned(config, route), receiver));
    }
    Ok(routes)
}

fn wrong_route(route: &RouteConfig, problem: String) -> AlertsError {
    AlertsError::Route {
        name: route.name.clone(),
        problem,
    }
}

fn planned(config: &AlertsConfig, route: &RouteConfig) -> Route {
    Route {
        name: route.name.clone(),
        severities: route.severities.clone(),
        matchers: route.r#match.clone(),
        timing: config.timing(route),
    }
}

/// Whether there is such a metric, with such labels.
fn check_metric(rule: &AlertRule, catalogue: &[MetricEntry]) -> Result<(), AlertsError> {
    let labels: Vec<&str> = match rule.metric() {
        // A rule on events: these are the labels of an event.
        None => vec!["model", "version"],
        Some(metric) => {
            let entry = catalogue.iter().find(|entry| has_series(entry, metric));
            let entry = entry.ok_or_else(|| {
                wrong_rule(rule, format!("there is no metric {metric:?}: docs/reference/metrics.md lists them; for a histogram use _count or _sum"))
            })?;
            if entry.kind == MetricKind::Summary
                && !rule.label_names().any(|name| name == "quantile")
            {
                return Err(wrong_rule(
                    rule,
                    format!(
                        "{metric} has a series for each quantile: choose one, as in labels = ['quantile=\"0.99\"']"
                    ),
                ));
            }
            entry.labels.iter().map(String::as_str).collect()
        }
    };
    check_share(rule, catalogue)?;
    match rule.label_names().find(|name| !labels.contains(name)) {
        None => Ok(()),
        Some(name) => Err(wrong_rule(
            rule,
            format!("it has no label {name:?}; it has {}", labels.join(", ")),
        )),
    }
}

/// Whether there is the counter of which the metric is a share, with the labels to join them by.
fn check_share(rule: &AlertRule, catalogue: &[MetricEntry]) -> Result<(), AlertsError> {
    let Some(name) = rule.share_of() else {
        return Ok(());
    };
    let entry = catalogue.iter().find(|entry| has_series(entry, name));
    let entry = entry.ok_or_else(|| wrong_rule(rule, format!("there is no metric {name:?}")))?;
    let missing = |label: &&str| !entry.labels.iter().any(|own| own == label);
    match rule.group_labels().find(missing) {
        None => Ok(()),
        Some(label) => Err(wrong_rule(rule, format!("{name} has no label {label:?}"))),
    }
}

/// Whether a metric has series of this name. A histogram is exposed as several series, of which
/// only those that count can be compared with a threshold.
fn has_series(entry: &MetricEntry, name: &str) -> bool {
    match entry.kind {
        MetricKind::Histogram => {
            let part = name.strip_prefix(entry.name.as_str());
            matches!(part, Some("_count" | "_sum"))
        }
        _ => entry.name == name,
    }
}

fn wrong_rule(rule: &AlertRule, problem: String) -> AlertsError {
    AlertsError::Rule(RuleError {
        name: rule.name().to_owned(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_core::EngineChoice;
    use tidegate_engines::{Engines, PORTABLE};
    use tidegate_serving::{FleetMetrics, MetricRegistry, Models, Serving};

    use super::*;
    use crate::{ServerComponents, ServerConfig};

    /// Every metric that a server registers.
    fn catalogue() -> Vec<MetricEntry> {
        let registry = Arc::new(MetricRegistry::new());
        let models = Models::new(
            Vec::new(),
            Engines::discover(None, EngineChoice::from(PORTABLE)),
            &registry,
        );
        FleetMetrics::new(&registry);
        let serving = Arc::new(Serving::new(models));
        let config = ServerConfig::default();
        ServerComponents::minimal(config, serving, registry.clone()).unwrap();
        registry.catalogue()
    }

    fn plan(toml: &str) -> Result<Plan, String> {
        let config: AlertsConfig = toml::from_str(toml).map_err(|error| error.to_string())?;
        Plan::new(&config, true, &catalogue()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_built_in_rules_fit_the_metrics() {
        assert_eq!(plan("").unwrap().rules.len(), 12);
        assert_eq!(plan("builtin_rules = false").unwrap().rules.len(), 0);
        let own = "[[rules]]\nname = \"TidegateStandingQueue\"\nmetric = \"nv_inference_pending_request_count\"";
        assert_eq!(
            plan(own).unwrap().rules.len(),
            12,
            "in the place of the built-in one"
        );
    }

    #[test]
    fn a_rule_takes_every_metric_of_the_reference() {
        for metric in catalogue() {
            let part = if metric.kind == MetricKind::Histogram {
                "_sum"
            } else {
                ""
            };
            let by = metric.labels.iter().take(4).collect::<Vec<_>>();
            let rule = format!(
                "[[rules]]\nname = \"x\"\nmetric = \"{}{part}\"\nby = {by:?}",
                metric.name
            );
            assert!(plan(&rule).is_ok(), "{rule}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |toml: &str| plan(toml).err().unwrap();
        let error = wrong("[[rules]]\nname = \"x\"\nmetric = \"tidegate_nothing\"");
        assert!(
            error.contains("alerts.rules \"x\": there is no metric \"tidegate_nothing\""),
            "{error}"
        );
        let error = wrong("[[rules]]\nname = \"x\"\nmetric = \"tidegate_ready\"\nby = [\"model\"]");
        assert!(error.contains("it has no label \"model\""), "{error}");
        let error = wrong("[[rules]]\nname = \"x\"\nmetric = \"tidegate_queue_duration_seconds\"");
        assert!(error.contains("choose one"), "{error}");
        let error = wrong("[[routes]]\nname = \"x\"\nslack = { url = \"nowhere\" }");
        assert!(
            error.contains("alerts.routes \"x\": its url is not valid"),
            "{error}"
        );
        let two = "[[routes]]\nname = \"x\"\nalertmanager = \"http://a\"\n";
        assert!(wrong(&format!("{two}{two}")).contains("another route has this name"));
        assert!(wrong("alertmanagers = [\"ftp://x\"]").contains("must be http or https"));
        let error = wrong("[[routes]]\nname = \"x\"\nmatch = [\"a~b\"]");
        assert!(error.contains("write it as NAME"), "{error}");
    }
}
