//! Recording and alert rules for Prometheus.

mod budget;
mod file;
mod general;

pub(crate) use budget::burn_alert;
pub use file::{Rule, RuleFile, RuleGroup};

use crate::slo::Slo;

/// What the rules must know of where they are used.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleOptions {
    /// The job under which Prometheus scrapes the servers.
    pub job: String,
    /// Where the runbooks are: `/NAME.md` is appended to it.
    pub runbook_base: String,
    /// How much memory a server may take, in bytes. Without it there is no alert on too much of it,
    /// only on growth.
    pub memory_limit_bytes: Option<u64>,
}

impl Default for RuleOptions {
    fn default() -> Self {
        Self {
            job: "tidegate".to_owned(),
            runbook_base: "https://github.com/tidegate/tidegate/blob/main/docs/runbooks".to_owned(),
            memory_limit_bytes: None,
        }
    }
}

impl RuleOptions {
    pub(crate) fn runbook(&self, name: &str) -> String {
        format!("{}/{name}.md", self.runbook_base.trim_end_matches('/'))
    }
}

/// The rules of these objectives, and those that every server should have.
///
/// They evaluate as this crate does itself: the same counts, windows, burn rates and thresholds.
/// Where they differ: Prometheus reads a request when it next scrapes; it does not see the first
/// increments of a counter that did not exist before; and of a window of a calendar month it knows
/// no beginning, so that there is no rule for what is left of the budget then.
pub fn rules(slos: &[Slo], options: &RuleOptions) -> RuleFile {
    let budgets = slos.iter().flat_map(|slo| budget::groups(slo, options));
    RuleFile {
        groups: budgets.chain([general::group(options)]).collect(),
    }
}
