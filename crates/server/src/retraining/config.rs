//! The sections `[[retrain]]`.

use serde::{Deserialize, Serialize};

use crate::WebhookConfig;
use crate::alerting::Webhook;

/// When a new version of a model is asked for, and who is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrainConfig {
    /// Its name, unique among the rules.
    pub name: String,
    /// The endpoint that is watched.
    pub endpoint: String,
    /// Fires when so many windows of drift in a row have drifted.
    pub drift_windows: Option<usize>,
    /// The metric of `accuracy_below` and `accuracy_above`.
    pub accuracy_metric: String,
    /// Fires when the metric, with its whole 95 % interval, is below.
    pub accuracy_below: Option<f64>,
    /// Fires when the metric, with its whole 95 % interval, is above: for errors, such as `rmse`.
    pub accuracy_above: Option<f64>,
    /// The labels that the metric must rest on.
    pub accuracy_min_labels: u64,
    /// Fires when the metric as probabilities say it before labels come, with its whole 95 % interval, is
    /// below.
    pub estimated_accuracy_below: Option<f64>,
    /// Fires when so many labels came since the rule fired last.
    pub new_labels: Option<u64>,
    /// Fires so many seconds after it has fired last, or since it is in the configuration.
    pub every_s: Option<u64>,
    /// The time before the trigger whose predictions become the data set, in hours.
    pub window_h: u64,
    /// Whether the data set has labelled rows only.
    pub labelled: bool,
    /// For how long the reason must last before the rule fires, in seconds.
    pub debounce_s: u64,
    /// For how long the rule does not fire again, in seconds.
    pub cooldown_s: u64,
    /// How often the rule may fire in seven days.
    pub max_per_week: u64,
    /// Whether a person must approve before the message is sent.
    pub approval: bool,
    /// For how long making the data set, and sending the message, is retried, in seconds.
    pub give_up_after_s: u64,
    /// Who is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookConfig>,
}

impl Default for RetrainConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            endpoint: String::new(),
            drift_windows: None,
            accuracy_metric: "accuracy".to_owned(),
            accuracy_below: None,
            accuracy_above: None,
            accuracy_min_labels: 100,
            estimated_accuracy_below: None,
            new_labels: None,
            every_s: None,
            window_h: 7 * 24,
            labelled: true,
            debounce_s: 300,
            cooldown_s: 24 * 3600,
            max_per_week: 3,
            approval: false,
            give_up_after_s: 24 * 3600,
            webhook: None,
        }
    }
}

/// The metrics that are estimated without labels.
const ESTIMATED_METRICS: [&str; 6] = [
    "accuracy",
    "precision",
    "recall",
    "specificity",
    "f1",
    "roc_auc",
];

/// A rule that cannot be followed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RetrainConfigError {
    #[error("retrain {0:?}: a name has 1 to 64 of the characters a-z A-Z 0-9 - _ .")]
    Name(String),
    #[error("retrain {0:?} is there twice")]
    Twice(String),
    #[error("retrain {name:?}: {problem}")]
    Rule { name: String, problem: String },
    #[error("retrain {0:?}: data sets need a data folder: start the server with --data")]
    NoFolder(String),
    #[error("retrain: {0}")]
    Client(String),
}

/// A rule whose configuration is right.
pub(super) struct RetrainRule {
    pub(super) config: RetrainConfig,
    pub(super) webhook: Option<Webhook>,
}

impl RetrainRule {
    pub(super) fn parse_all(configs: &[RetrainConfig]) -> Result<Vec<Self>, RetrainConfigError> {
        let mut rules: Vec<Self> = Vec::with_capacity(configs.len());
        for config in configs {
            if rules.iter().any(|rule| rule.config.name == config.name) {
                return Err(RetrainConfigError::Twice(config.name.clone()));
            }
            rules.push(Self::parse(config)?);
        }
        Ok(rules)
    }

    fn parse(config: &RetrainConfig) -> Result<Self, RetrainConfigError> {
        if !is_rule_name(&config.name) {
            return Err(RetrainConfigError::Name(config.name.clone()));
        }
        let wrong = |problem: String| RetrainConfigError::Rule {
            name: config.name.clone(),
            problem,
        };
        config.check().map_err(wrong)?;
        let webhook = config.webhook.as_ref().map(Webhook::new).transpose();
        Ok(Self {
            webhook: webhook.map_err(|problem| wrong(format!("webhook: {problem}")))?,
            config: config.clone(),
        })
    }
}

impl RetrainConfig {
    fn check(&self) -> Result<(), String> {
        if self.endpoint.is_empty() {
            return Err("it needs an endpoint".to_owned());
        }
        let has_reason = self.drift_windows.is_some()
            || self.accuracy_below.is_some()
            || self.accuracy_above.is_some()
            || self.estimated_accuracy_below.is_some()
            || self.new_labels.is_some()
            || self.every_s.is_some();
        if !has_reason {
            return Err(
                "it needs a reason to fire: drift_windows, accuracy_below, accuracy_above, \
                 estimated_accuracy_below, new_labels or every_s"
                    .to_owned(),
            );
        }
        for (key, value) in [
            ("accuracy_below", self.accuracy_below),
            ("accuracy_above", self.accuracy_above),
            ("estimated_accuracy_below", self.estimated_accuracy_below),
        ] {
            if value.is_some_and(|value| !value.is_finite()) {
                return Err(format!("{key} must be a number"));
            }
        }
        if self.estimated_accuracy_below.is_some()
            && !ESTIMATED_METRICS.contains(&self.accuracy_metric.as_str())
        {
            return Err(format!(
                "estimated_accuracy_below needs an accuracy_metric that is estimated: {}",
                ESTIMATED_METRICS.join(", ")
            ));
        }
        for (key, value, least, most) in [
            ("drift_windows", self.drift_windows.map(|n| n as u64), 1, 48),
            ("new_labels", self.new_labels, 1, u64::MAX),
            ("every_s", self.every_s, 1, 366 * 86_400),
            ("window_h", Some(self.window_h), 1, 366 * 24),
            ("max_per_week", Some(self.max_per_week), 1, 1000),
            ("debounce_s", Some(self.debounce_s), 0, 7 * 86_400),
            ("cooldown_s", Some(self.cooldown_s), 0, 366 * 86_400),
            (
                "give_up_after_s",
                Some(self.give_up_after_s),
                1,
                30 * 86_400,
            ),
        ] {
            if let Some(value) = value
                && (value < least || value > most)
            {
                return Err(format!(
                    "{key} is {value}, it must be from {least} to {most}"
                ));
            }
        }
        Ok(())
    }
}

/// Names of triggers begin with it, and are arguments of commands and parts of paths.
fn is_rule_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 64 && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut RetrainConfig)) -> String {
        let mut config = RetrainConfig {
            name: "weekly".to_owned(),
            endpoint: "fraud".to_owned(),
            every_s: Some(60),
            ..RetrainConfig::default()
        };
        change(&mut config);
        match RetrainRule::parse_all(&[config]) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert_eq!(problem(|_| {}), "");
        assert!(problem(|one| one.name = "a b".to_owned()).contains("a name has"));
        assert!(problem(|one| one.endpoint.clear()).contains("needs an endpoint"));
        assert!(problem(|one| one.every_s = None).contains("needs a reason"));
        assert!(problem(|one| one.every_s = Some(0)).contains("every_s is 0"));
        assert!(problem(|one| one.max_per_week = 0).contains("max_per_week is 0"));
        assert!(problem(|one| one.accuracy_below = Some(f64::NAN)).contains("must be a number"));
        let estimated = problem(|one| {
            one.estimated_accuracy_below = Some(0.9);
            one.accuracy_metric = "rmse".to_owned();
        });
        assert!(estimated.contains("accuracy_metric that is estimated"));
        let no_url = problem(|one| one.webhook = Some(WebhookConfig::default()));
        assert!(no_url.contains("webhook"), "{no_url}");
    }
}
