//! The form of a file of rules:
//! <https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/>.

use std::collections::BTreeMap;

use serde::Serialize;

/// A file of rules.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleFile {
    /// Groups; Prometheus evaluates them side by side.
    pub groups: Vec<RuleGroup>,
}

/// Rules that are evaluated one after the other, at the same time stamp.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleGroup {
    /// The group's name.
    pub name: String,
    /// How often, as a duration of Prometheus.
    pub interval: &'static str,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Rule {
    /// Keeps the value of an expression as a series.
    Record {
        /// The name of the series.
        record: String,
        /// The expression.
        expr: String,
        /// Labels of the series.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<&'static str, String>,
    },
    /// Fires for every series of an expression.
    Alert {
        /// The alert's name.
        alert: String,
        /// The expression.
        expr: String,
        /// How long it must hold, as a duration of Prometheus.
        #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
        hold: Option<String>,
        /// Labels by which the alert is routed.
        labels: BTreeMap<&'static str, String>,
        /// What people read.
        annotations: BTreeMap<&'static str, String>,
    },
}

impl RuleFile {
    /// The file as YAML.
    ///
    /// # Errors
    /// Never for what [`rules`](crate::rules) makes: there is nothing in it that YAML cannot say.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser_error::Error> {
        // Expressions stay on one line, so that a diff of two files shows the rule that changed.
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        serde_saphyr::to_string_with_options(self, options)
    }

    /// The alerts' names and their runbooks' addresses, each once.
    pub fn runbooks(&self) -> BTreeMap<&str, &str> {
        let rules = self.groups.iter().flat_map(|group| &group.rules);
        let runbooks = rules.filter_map(|rule| match rule {
            Rule::Alert {
                alert, annotations, ..
            } => Some((alert.as_str(), annotations.get("runbook_url")?.as_str())),
            Rule::Record { .. } => None,
        });
        runbooks.collect()
    }

    /// The names of the series that the rules record, each once.
    pub fn recorded(&self) -> Vec<&str> {
        let rules = self.groups.iter().flat_map(|group| &group.rules);
        let mut names: Vec<&str> = rules
            .filter_map(|rule| match rule {
                Rule::Record { record, .. } => Some(record.as_str()),
                Rule::Alert { .. } => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
