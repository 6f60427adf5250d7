//! A rollout as it is written.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::check::Check;
use crate::policy::{Share, VersionName};

/// How traffic goes from one version to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// In steps, compared with the version before at the same time.
    #[default]
    Canary,
    /// All at once, as the version before stays loaded to go back to. Only checks that need no control
    /// say anything then.
    BlueGreen,
    /// First copies of requests alone, whose answers nobody sees, then in steps.
    ShadowThenCanary,
}

/// A step of a rollout. It ends when both minima are reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The share of requests that the new version answers; in a step of copies, that is copied to it.
    pub weight: Share,
    /// How long it takes at least.
    #[serde(default = "default_duration_s")]
    pub min_duration_s: u64,
    /// How many requests the new version gets in it at least.
    #[serde(default = "default_requests")]
    pub min_requests: u64,
}

/// One endpoint, and the versions between which it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The endpoint.
    pub endpoint: String,
    /// The last known-good version, which is gone back to.
    pub from: VersionName,
    /// The new version.
    pub to: VersionName,
}

/// What a rollout shall do. [`RolloutSpec::check`] says whether it can.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutSpec {
    /// The endpoints that change, together.
    pub targets: Vec<Target>,
    /// How.
    #[serde(default)]
    pub strategy: Strategy,
    /// The steps, of rising weights; the last one is 100 %.
    pub steps: Vec<Step>,
    /// The step of copies, for `shadow-then-canary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Step>,
    /// What is compared.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// The probability that any of the checks without an `alpha` of its own ever fails while the new
    /// version is no worse; it is split over them.
    #[serde(default = "default_alpha")]
    pub alpha: f64,
    /// How long a step waits for its requests before the rollout is held.
    #[serde(default = "default_max_step_s")]
    pub max_step_s: u64,
}

/// What is wrong with a rollout.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum InvalidSpec {
    #[error("a rollout needs 1 to 16 targets, of which each endpoint is one only")]
    Targets,
    #[error("version {version} of endpoint {endpoint} is both from and to")]
    SameVersion {
        endpoint: String,
        version: VersionName,
    },
    #[error("a rollout needs 1 to 50 steps of rising weights above 0%, of which the last is 100%")]
    Steps,
    #[error("blue-green has one step, of 100%")]
    BlueGreen,
    #[error("shadow is the step of copies of shadow-then-canary, with a weight above 0%; {0}")]
    Shadow(&'static str),
    #[error("alpha is {0}, it must be above 0 and at most 0.5")]
    Alpha(f64),
    #[error("the checks' own alphas are {0} together, they must be below 1")]
    AlphaSum(f64),
    #[error("a rollout has at most 32 checks")]
    Checks,
    #[error("there are two checks {0:?}")]
    DuplicateCheck(String),
    #[error("check {name:?}: {problem}")]
    Check { name: String, problem: String },
    #[error("max_step_s is {0}, it must be at least each step's min_duration_s")]
    MaxStep(u64),
}

const fn default_duration_s() -> u64 {
    300
}

const fn default_requests() -> u64 {
    100
}

const fn default_alpha() -> f64 {
    0.01
}

const fn default_max_step_s() -> u64 {
    24 * 3600
}

impl RolloutSpec {
    /// A rollout of one endpoint by canary with these weights, without checks.
    pub fn canary(target: Target, weights: &[Share]) -> Self {
        let step = |weight: &Share| Step {
            weight: *weight,
            min_duration_s: default_duration_s(),
            min_requests: default_requests(),
        };
        Self {
            targets: vec![target],
            strategy: Strategy::Canary,
            steps: weights.iter().map(step).collect(),
            shadow: None,
            checks: Vec::new(),
            alpha: default_alpha(),
            max_step_s: default_max_step_s(),
        }
    }

    /// Whether it can be done as it is written.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), InvalidSpec> {
        self.check_targets()?;
        self.check_steps()?;
        self.check_checks()
    }

    /// The step with this number; steps of copies come first.
    pub(super) fn step(&self, number: usize) -> Option<&Step> {
        self.shadow.iter().chain(&self.steps).nth(number)
    }

    /// Whether the step with this number only copies requests.
    pub(super) const fn is_shadow(&self, number: usize) -> bool {
        self.shadow.is_some() && number == 0
    }

    /// Alpha of each check, in order.
    pub(super) fn alphas(&self) -> Vec<f64> {
        let without = self
            .checks
            .iter()
            .filter(|check| check.alpha.is_none())
            .count();
        let own = self.checks.iter().map(|check| check.alpha);
        own.map(|alpha| alpha.unwrap_or(self.alpha / without.max(1) as f64))
            .collect()
    }

    fn check_targets(&self) -> Result<(), InvalidSpec> {
        for (index, target) in self.targets.iter().enumerate() {
            if self.targets[..index]
                .iter()
                .any(|other| other.endpoint == target.endpoint)
            {
                return Err(InvalidSpec::Targets);
            }
            if target.from == target.to {
                let (endpoint, version) = (target.endpoint.clone(), target.to.clone());
                return Err(InvalidSpec::SameVersion { endpoint, version });
            }
        }
        let fits = (1..=16).contains(&self.targets.len());
        if fits {
            Ok(())
        } else {
            Err(InvalidSpec::Targets)
        }
    }

    fn check_steps(&self) -> Result<(), InvalidSpec> {
        let mut before = Share::NONE;
        for step in &self.steps {
            if step.weight <= before {
                return Err(InvalidSpec::Steps);
            }
            before = step.weight;
        }
        if before != Share::ALL || self.steps.len() > 50 {
            return Err(InvalidSpec::Steps);
        }
        if self.strategy == Strategy::BlueGreen && self.steps.len() != 1 {
            return Err(InvalidSpec::BlueGreen);
        }
        match (&self.shadow, self.strategy == Strategy::ShadowThenCanary) {
            (None, true) => return Err(InvalidSpec::Shadow("it is missing")),
            (Some(_), false) => return Err(InvalidSpec::Shadow("the strategy is another one")),
            (Some(step), true) if step.weight == Share::NONE => {
                return Err(InvalidSpec::Shadow("it has none"));
            }
            _ => {}
        }
        let mut steps = self.shadow.iter().chain(&self.steps);
        if steps.any(|step| step.min_duration_s > self.max_step_s) {
            return Err(InvalidSpec::MaxStep(self.max_step_s));
        }
        Ok(())
    }

    fn check_checks(&self) -> Result<(), InvalidSpec> {
        if !(self.alpha > 0.0 && self.alpha <= 0.5) {
            return Err(InvalidSpec::Alpha(self.alpha));
        }
        if self.checks.len() > 32 {
            return Err(InvalidSpec::Checks);
        }
        for (index, check) in self.checks.iter().enumerate() {
            if self.checks[..index]
                .iter()
                .any(|other| other.name == check.name)
            {
                return Err(InvalidSpec::DuplicateCheck(check.name.clone()));
            }
            let name = check.name.clone();
            let named = |problem| InvalidSpec::Check { name, problem };
            check.check().map_err(named)?;
        }
        let own: f64 = self.checks.iter().filter_map(|check| check.alpha).sum();
        if own < 1.0 {
            Ok(())
        } else {
            Err(InvalidSpec::AlphaSum(own))
        }
    }
}
