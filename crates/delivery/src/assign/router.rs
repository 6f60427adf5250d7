//! A policy, compiled for the request path.

use std::borrow::Cow;

use thiserror::Error;

use super::assignment::Assignment;
use super::compiled::{CompiledSplit, index_of};
use super::experiments::{CompiledExperiment, ExposedArm, Exposure};
use super::point::{Salt, scale};
use super::sequence::Sequence;
use crate::policy::{Attribute, Condition, Share, TrafficPolicy, VersionName};

/// Picks the versions of one endpoint, for one policy. It allocates nothing, and never blocks.
#[derive(Debug)]
pub struct Router {
    versions: Vec<VersionName>,
    salt: Salt,
    sticky: Option<Attribute>,
    rules: Vec<CompiledRule>,
    split: CompiledSplit,
    experiments: Vec<CompiledExperiment>,
    cascade: Option<CompiledCascade>,
    shadows: Vec<CompiledShadow>,
}

#[derive(Debug)]
struct CompiledRule {
    when: Vec<Condition>,
    split: CompiledSplit,
}

#[derive(Debug)]
struct CompiledShadow {
    version: usize,
    share: Share,
    sequence: Sequence,
}

#[derive(Debug)]
struct CompiledCascade {
    first: usize,
    audit: Share,
    sequence: Sequence,
}

/// The version of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its place in [`Router::versions`].
    pub version: usize,
    /// Its share at the time of the choice: the probability with which it was chosen, which analyses
    /// must use instead of the share at a later time.
    pub share: Share,
    /// The place of the rule in the policy, if one applied.
    pub rule: Option<usize>,
    /// The hash of the request's sticky key, if that decided.
    pub key_hash: Option<u64>,
    /// The experiment that decided, if the request is a part of one.
    pub exposure: Option<Exposure>,
}

/// Segments that are not those of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the segments of version {0} are not as long as its weight: they are of another policy")]
pub struct AssignmentMismatch(pub VersionName);

impl Router {
    /// The router of a policy and its segments. `replica` is any number that differs between the
    /// replicas of the server.
    ///
    /// # Errors
    /// If the segments belong to another policy.
    pub fn new(
        policy: &TrafficPolicy,
        assignment: &Assignment,
        replica: u64,
    ) -> Result<Self, AssignmentMismatch> {
        let salt = Salt::of(&assignment.salt);
        let mut starts = Starts {
            replica,
            salt,
            used: 0,
        };
        let mut versions = Vec::new();
        let split = CompiledSplit::new(
            policy.split(),
            &assignment.segments,
            starts.next(),
            &mut versions,
        )?;
        let mut rules = Vec::with_capacity(policy.rules().len());
        for rule in policy.rules() {
            let segments = assignment.rules.get(&rule.name);
            let first = || AssignmentMismatch(rule.split.versions()[0].version.clone());
            let segments = segments.ok_or_else(first)?;
            let split = CompiledSplit::new(&rule.split, segments, starts.next(), &mut versions)?;
            rules.push(CompiledRule {
                when: rule.when.clone(),
                split,
            });
        }
        let mut experiments = Vec::with_capacity(policy.experiments().len());
        for experiment in policy.experiments() {
            experiments.push(CompiledExperiment::new(experiment, &mut versions));
        }
        let cascade = policy.cascade().map(|cascade| CompiledCascade {
            first: index_of(&cascade.first, &mut versions),
            audit: cascade.audit,
            sequence: starts.next(),
        });
        let mut shadows = Vec::with_capacity(policy.shadows().len());
        for shadow in policy.shadows() {
            shadows.push(CompiledShadow {
                version: index_of(&shadow.version, &mut versions),
                share: shadow.share,
                sequence: starts.next(),
            });
        }
        let sticky = policy.sticky().cloned();
        Ok(Self {
            versions,
            salt,
            sticky,
            rules,
            split,
            experiments,
            cascade,
            shadows,
        })
    }

    /// All versions that it can choose. Those without weight are among them.
    pub fn versions(&self) -> &[VersionName] {
        &self.versions
    }

    /// The version for a request. `value` says what the request has of an attribute, as text; it is
    /// asked for what rules look at, for whose request it is, and for the sticky key.
    pub fn choose<'a>(&self, value: impl Fn(&Attribute) -> Option<Cow<'a, str>>) -> Choice {
        let rule = self.rules.iter().position(|rule| rule.applies(&value));
        if rule.is_none()
            && let Some(choice) = self.choose_by_experiment(&value)
        {
            return choice;
        }
        let split = rule.map_or(&self.split, |rule| &self.rules[rule].split);
        let key = self.sticky.as_ref().and_then(&value);
        let key_hash = key.map(|key| self.salt.hash(&key));
        let (version, share) = split.owner(key_hash.map_or_else(|| split.next_point(), scale));
        Choice {
            version,
            share,
            rule,
            key_hash,
            exposure: None,
        }
    }

    /// The version that a cascade asks first; `None` without one, and for requests that a rule or an
    /// experiment decides.
    pub fn first_of_cascade<'a>(
        &self,
        value: impl Fn(&Attribute) -> Option<Cow<'a, str>>,
    ) -> Option<Choice> {
        let cascade = self.cascade.as_ref()?;
        if self.rules.iter().any(|rule| rule.applies(&value))
            || self
                .experiments
                .iter()
                .any(|experiment| experiment.expose(&value).is_some())
        {
            return None;
        }
        Some(Choice {
            version: cascade.first,
            share: Share::ALL,
            rule: None,
            key_hash: None,
            exposure: None,
        })
    }

    /// Whether a version of the weights checks this answer of a cascade.
    pub fn is_audited(&self) -> bool {
        let cascade = self.cascade.as_ref();
        cascade.is_some_and(|cascade| cascade.sequence.next_point() < cascade.audit.parts())
    }

    /// The version of the arm of a user who takes part in an experiment.
    fn choose_by_experiment<'a>(
        &self,
        value: &impl Fn(&Attribute) -> Option<Cow<'a, str>>,
    ) -> Option<Choice> {
        for (experiment, compiled) in self.experiments.iter().enumerate() {
            if let Some(exposed) = compiled.expose(value) {
                let ExposedArm {
                    arm,
                    user,
                    version,
                    share,
                } = exposed;
                return Some(Choice {
                    version,
                    share,
                    rule: None,
                    key_hash: None,
                    exposure: Some(Exposure {
                        experiment,
                        arm,
                        user,
                    }),
                });
            }
        }
        None
    }

    /// The versions that get a copy of a request that `answered_by` answers. A version gets no copy
    /// of what it answers itself.
    pub fn shadows(&self, answered_by: usize) -> impl Iterator<Item = usize> + '_ {
        let shadows = self
            .shadows
            .iter()
            .filter(move |shadow| shadow.version != answered_by);
        let drawn = shadows.filter(|shadow| shadow.sequence.next_point() < shadow.share.parts());
        drawn.map(|shadow| shadow.version)
    }
}

impl CompiledRule {
    fn applies<'a>(&self, value: &impl Fn(&Attribute) -> Option<Cow<'a, str>>) -> bool {
        let mut conditions = self.when.iter();
        conditions.all(|condition| condition.holds(value(&condition.attribute).as_deref()))
    }
}

/// Where sequences start: each of each replica somewhere else.
struct Starts {
    replica: u64,
    salt: Salt,
    used: u32,
}

impl Starts {
    fn next(&mut self) -> Sequence {
        self.used += 1;
        let name = format!("{} {}", self.replica, self.used);
        Sequence::starting_at(self.salt.hash(&name))
    }
}

#[cfg(test)]
mod tests;
