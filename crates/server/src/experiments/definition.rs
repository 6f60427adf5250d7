//! What an experiment compares, as people write it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_delivery::experiment::analysis::{Direction, MetricRule};
use tidegate_delivery::policy::{Attribute, Share, VersionName, WrittenExperiment, WrittenVersion};
use utoipa::ToSchema;

/// Metrics of one experiment, at most.
const MAX_METRICS: usize = 16;
/// Larger numbers are no labels: sums of them would be of one user alone, or infinite.
const MAX_LABEL: f64 = 1e12;
/// Arms of one experiment, at most.
const MAX_ARMS: usize = 16;
/// Longest name of an experiment, a group or a metric, in bytes.
const MAX_NAME: usize = 64;
/// Longest time that labels may be waited for: 30 days, in seconds.
const MAX_WAIT_S: u64 = 30 * 24 * 3600;
/// By how much more often an arm may fail, where no guardrail is named.
const MAX_MORE_ERRORS: f64 = 0.01;

/// An experiment on the users of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExperimentDefinition {
    /// The endpoint: that of the path.
    #[serde(default)]
    pub(super) endpoint: String,
    /// Whose request it is: `header:NAME`, `claim:NAME`, `tenant` or `principal`.
    #[schema(value_type = String)]
    pub(super) unit: Attribute,
    /// The share of all users that takes part.
    #[serde(default = "all")]
    #[schema(value_type = String)]
    pub(super) users: Share,
    /// Experiments of one group exclude each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
    /// Where its users begin among those of the group; chosen when it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) skip: Option<Share>,
    /// The version that answered where no policy was, if the first experiment of the endpoint has made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub(super) made_policy: Option<VersionName>,
    /// Each `{"version": 8, "weight": "50%"}`, 100 % together. The first is the control.
    #[schema(value_type = Vec<Object>)]
    pub(super) arms: Vec<WrittenVersion>,
    /// What is compared: one goal, and guardrails. Without a guardrail, failed requests are one.
    pub(super) metrics: Vec<MetricDefinition>,
    /// The chance that any interval of a metric is ever wrong.
    #[serde(default = "alpha")]
    pub(super) alpha: f64,
    /// The users that are expected in all arms together: intervals are narrowest then.
    #[serde(default = "expected_users")]
    pub(super) expected_users: u64,
    /// How old a prediction must be to count, in seconds: its labels have come by then.
    #[serde(default)]
    pub(super) wait_s: u64,
    /// A captured column of numbers of the first request of a user, such as `field.amount`: what it
    /// explains does not blur the difference (CUPED).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) covariate: Option<String>,
    /// Moves users to the arm that does best, so that each arm keeps this share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) bandit_floor: Option<Share>,
}

/// A metric: one number for each user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricDefinition {
    /// Its name.
    pub(super) name: String,
    /// What of a prediction.
    #[serde(default)]
    pub(super) of: MetricSource,
    /// The label that counts as 1, every other one as 0; without it, labels are numbers, or true and false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(super) equals: Option<Value>,
    /// From the predictions of a user to one number.
    #[serde(default)]
    pub(super) per_user: PerUser,
    /// A prediction without a label.
    #[serde(default)]
    pub(super) missing: Missing,
    /// `increase` or `decrease`: which values are good. By default `increase` for labels, and `decrease`
    /// for failed requests and times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) direction: Option<Direction>,
    /// Differences up to this do not matter, in units of the metric.
    #[serde(default)]
    pub(super) min_effect: f64,
    /// Whether it must only not get worse.
    #[serde(default)]
    pub(super) guardrail: bool,
}

/// What of a prediction a metric counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MetricSource {
    /// Its label, as feedback says.
    #[default]
    Label,
    /// 1 if it failed.
    Errors,
    /// How long it took, in milliseconds.
    LatencyMs,
}

/// From the predictions of a user to one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PerUser {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// 1 if any of them is above 0.
    Any,
}

/// A prediction without a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Missing {
    /// It does not count.
    #[default]
    Skip,
    /// It counts as 0: what did not happen sends no feedback.
    Zero,
}

fn all() -> Share {
    Share::ALL
}

fn alpha() -> f64 {
    0.05
}

fn expected_users() -> u64 {
    10_000
}

impl ExperimentDefinition {
    /// The definition for an endpoint.
    ///
    /// # Errors
    /// If it is for another one.
    pub(super) fn of_endpoint(mut self, endpoint: &str) -> Result<Self, String> {
        if !self.endpoint.is_empty() && self.endpoint != endpoint {
            return Err(format!(
                "the experiment is on {:?}, not on {endpoint:?}",
                self.endpoint
            ));
        }
        self.endpoint = endpoint.to_owned();
        Ok(self)
    }

    /// The definition with a guardrail, if it names none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn checked(mut self) -> Result<Self, String> {
        if self.metrics.iter().all(|metric| !metric.guardrail) {
            self.metrics.push(MetricDefinition::errors());
        }
        self.check_metrics()?;
        self.check_arms()?;
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return Err("alpha must be above 0 and below 1".to_owned());
        }
        if self.expected_users == 0 {
            return Err("expected_users must be at least 1".to_owned());
        }
        if self.wait_s > MAX_WAIT_S {
            return Err(format!("wait_s must be at most {MAX_WAIT_S}"));
        }
        if let Some(column) = &self.covariate
            && !column.starts_with("field.")
            && !column.starts_with("input.")
        {
            let message = "covariate must be a captured field.NAME or input.NAME: what a version \
                           answers is not known before the user takes part";
            return Err(message.to_owned());
        }
        self.check_bandit()?;
        Ok(self)
    }

    fn check_metrics(&self) -> Result<(), String> {
        if self.metrics.len() > MAX_METRICS {
            return Err(format!("an experiment has at most {MAX_METRICS} metrics"));
        }
        let goals = self.metrics.iter().filter(|metric| !metric.guardrail);
        if goals.count() != 1 {
            return Err(
                "exactly one metric must be the goal; the others are guardrails".to_owned(),
            );
        }
        let mut names = BTreeSet::new();
        for metric in &self.metrics {
            if !names.insert(&metric.name) {
                return Err(format!("two metrics have the name {:?}", metric.name));
            }
            metric
                .check(self.wait_s)
                .map_err(|problem| format!("metric {:?}: {problem}", metric.name))?;
        }
        Ok(())
    }

    fn check_arms(&self) -> Result<(), String> {
        if self.arms.len() < 2 || self.arms.len() > MAX_ARMS {
            return Err(format!("an experiment has 2 to {MAX_ARMS} arms"));
        }
        for arm in &self.arms {
            if arm.weight == Some(Share::NONE) {
                return Err(format!("version {} has no share of the users", arm.version));
            }
            if arm.version.as_str().parse::<u64>().is_err() {
                let version = &arm.version;
                return Err(format!(
                    "{version} is an alias, which may mean another version tomorrow: name the version \
                     by its number"
                ));
            }
        }
        Ok(())
    }

    fn check_bandit(&self) -> Result<(), String> {
        let Some(floor) = self.bandit_floor else {
            return Ok(());
        };
        let goal = self.goal();
        if goal.of != MetricSource::Label || goal.per_user != PerUser::Mean {
            let message = "a bandit needs a goal of labels with per_user = \"mean\"";
            return Err(message.to_owned());
        }
        if goal.direction == Some(Direction::Decrease) {
            return Err("a bandit needs a goal of which large values are good".to_owned());
        }
        if floor.parts() == 0
            || floor.parts() as usize * self.arms.len() > Share::ALL.parts() as usize
        {
            return Err("bandit_floor must be above 0% and leave room for every arm".to_owned());
        }
        Ok(())
    }

    /// The metric that decides.
    pub(super) fn goal(&self) -> &MetricDefinition {
        let mut metrics = self.metrics.iter();
        // A definition that was checked has one.
        let goal = metrics.find(|metric| !metric.guardrail);
        goal.unwrap_or(&self.metrics[0])
    }

    /// The metrics that are made of labels.
    pub(super) fn label_metrics(&self) -> impl Iterator<Item = &MetricDefinition> {
        let metrics = self.metrics.iter();
        metrics.filter(|metric| metric.of == MetricSource::Label)
    }

    /// The place of an arm by its version.
    pub(super) fn arm(&self, version: &str) -> Option<u8> {
        let mut arms = self.arms.iter();
        let place = arms.position(|arm| arm.version.as_str() == version)?;
        u8::try_from(place).ok()
    }

    /// The versions of the arms.
    pub(super) fn versions(&self) -> impl Iterator<Item = &VersionName> {
        self.arms.iter().map(|arm| &arm.version)
    }

    /// The part of the endpoint's policy.
    pub(super) fn in_policy(&self, name: &str) -> WrittenExperiment {
        WrittenExperiment {
            name: name.to_owned(),
            unit: self.unit.clone(),
            group: self.group.clone(),
            skip: self.skip,
            users: Some(self.users),
            arms: self.arms.clone(),
        }
    }

    /// The name that decides which users take part.
    pub(super) fn group_name<'a>(&'a self, name: &'a str) -> &'a str {
        self.group.as_deref().unwrap_or(name)
    }
}

impl MetricDefinition {
    /// Failed requests, as a guardrail.
    fn errors() -> Self {
        Self {
            name: "errors".to_owned(),
            of: MetricSource::Errors,
            equals: None,
            per_user: PerUser::Mean,
            missing: Missing::Skip,
            direction: None,
            min_effect: MAX_MORE_ERRORS,
            guardrail: true,
        }
    }

    fn check(&self, wait_s: u64) -> Result<(), String> {
        check_name(&self.name)?;
        if !(self.min_effect >= 0.0 && self.min_effect.is_finite()) {
            return Err("min_effect must be a number of at least 0".to_owned());
        }
        let is_label = self.of == MetricSource::Label;
        if !is_label && (self.equals.is_some() || self.missing != Missing::Skip) {
            return Err("equals and missing are for labels".to_owned());
        }
        if let Some(Value::Array(_) | Value::Object(_) | Value::Null) = self.equals {
            return Err("equals must be a text, a number, true or false".to_owned());
        }
        if self.missing == Missing::Zero && wait_s == 0 {
            let message = "missing = \"zero\" needs wait_s: labels need time to come";
            return Err(message.to_owned());
        }
        Ok(())
    }

    /// The number of a label; `None` if it has none.
    pub(super) fn number(&self, label: &Value) -> Option<f64> {
        if let Some(wanted) = &self.equals {
            return Some(f64::from(u8::from(is_equal(label, wanted))));
        }
        match label {
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Value::Number(number) => number.as_f64().filter(|number| number.abs() <= MAX_LABEL),
            _ => None,
        }
    }

    /// Whether the number of each user is from 0 to 1.
    fn is_share(&self) -> bool {
        let of_one = self.of == MetricSource::Errors || self.equals.is_some();
        self.per_user == PerUser::Any || (of_one && self.per_user == PerUser::Mean)
    }

    /// How its values are compared.
    pub(super) fn rule(&self) -> MetricRule {
        let default = match self.of {
            MetricSource::Label => Direction::Increase,
            MetricSource::Errors | MetricSource::LatencyMs => Direction::Decrease,
        };
        MetricRule {
            direction: self.direction.unwrap_or(default),
            min_effect: self.min_effect,
            is_guardrail: self.guardrail,
            range: self.is_share().then_some(1.0),
        }
    }
}

fn is_equal(label: &Value, wanted: &Value) -> bool {
    match (label.as_f64(), wanted.as_f64()) {
        // 1 and 1.0 are the same label.
        (Some(label), Some(wanted)) => label == wanted,
        _ => label == wanted,
    }
}

/// Checks the name of an experiment, a group or a metric.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_plain) {
        return Err(format!(
            "the name {:?} must have 1 to {MAX_NAME} letters, digits, dots, dashes and underscores",
            name.chars().take(MAX_NAME).collect::<String>()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(change: impl FnOnce(&mut Value)) -> Result<ExperimentDefinition, String> {
        let mut written = json!({
            "endpoint": "fraud",
            "unit": "header:x-user",
            "arms": [{"version": 1, "weight": "50%"}, {"version": 2, "weight": "50%"}],
            "metrics": [{"name": "conversion"}],
        });
        change(&mut written);
        let read: ExperimentDefinition =
            serde_json::from_value(written).map_err(|error| error.to_string())?;
        read.checked()
    }

    #[test]
    fn failed_requests_are_a_guardrail_by_default() {
        let plain = definition(|_| {}).unwrap();
        assert_eq!(plain.metrics.len(), 2);
        assert_eq!(plain.goal().name, "conversion");
        let own = json!([{"name": "a"}, {"name": "slow", "of": "latency_ms", "guardrail": true}]);
        let own = definition(|written| written["metrics"] = own).unwrap();
        assert_eq!(own.metrics.len(), 2);
        assert_eq!(own.metrics[1].rule().direction, Direction::Decrease);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for (key, value, message) in [
            (
                "metrics",
                json!([{"name": "a"}, {"name": "b"}]),
                "exactly one metric",
            ),
            (
                "metrics",
                json!([{"name": "a", "missing": "zero"}]),
                "needs wait_s",
            ),
            (
                "metrics",
                json!([{"name": "a", "of": "errors", "equals": 1}]),
                "for labels",
            ),
            ("metrics", json!([{"name": "a b"}]), "must have 1 to 64"),
            (
                "arms",
                json!([{"version": 1, "weight": "100%"}]),
                "2 to 16 arms",
            ),
            (
                "arms",
                json!([{"version": "champion", "weight": "50%"}, {"version": 2, "weight": "50%"}]),
                "is an alias",
            ),
            ("alpha", json!(0), "alpha"),
            ("covariate", json!("output.score"), "covariate"),
            ("bandit_floor", json!("60%"), "leave room"),
            ("speed", json!(1), "unknown field"),
        ] {
            let error = definition(|written| written[key] = value).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn labels_become_numbers() {
        let plain = definition(|_| {}).unwrap();
        let number = |label: Value| plain.goal().number(&label);
        assert_eq!(
            (number(json!(true)), number(json!(2.5))),
            (Some(1.0), Some(2.5))
        );
        assert_eq!(number(json!("yes")), None);
        let named = json!([{"name": "fraud", "equals": "fraud"}]);
        let named = definition(|written| written["metrics"] = named).unwrap();
        assert_eq!(named.goal().number(&json!("fraud")), Some(1.0));
        assert_eq!(named.goal().number(&json!("ok")), Some(0.0));
    }
}
