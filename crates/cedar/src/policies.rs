//! Decisions by policies.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use cedar_policy::{Authorizer, Decision, PolicySet};
use tidegate_gateway::{Extent, Identity, Permission, PolicyDecider, PolicyDecision};
use tracing::warn;

use crate::approximation::{for_all, for_any};
use crate::cache::{DecisionCache, Question};
use crate::parsed::Parsed;
use crate::request::request;
use crate::{PoliciesError, PolicyProblem, PolicyText};

/// Shortest time between two lines of the log about policies that fail, in milliseconds.
const WARN_EVERY_MS: i64 = 10_000;

/// A fixed set of policies. New policies are a new set, with an empty cache of its own.
pub struct CedarPolicies {
    parsed: Parsed,
    /// For one resource.
    one: PolicySet,
    /// For all resources of a kind together.
    all: PolicySet,
    /// For the question whether there is any resource.
    any: PolicySet,
    authorizer: Authorizer,
    cache: DecisionCache,
    stats: Arc<PolicyStats>,
}

/// A decision with what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The decision.
    pub decision: PolicyDecision,
    /// The ids of the policies that decided.
    pub policies: Vec<String>,
    /// What went wrong.
    pub errors: Vec<String>,
}

/// Counts what policies did, over several sets.
#[derive(Debug, Default)]
pub struct PolicyStats {
    evaluated: AtomicU64,
    failed: AtomicU64,
    warned_ms: AtomicI64,
}

impl PolicyStats {
    /// Decisions that were not in the cache.
    pub fn evaluated(&self) -> u64 {
        self.evaluated.load(Ordering::Relaxed)
    }

    /// Questions that were denied because a policy could not be evaluated.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether a line of the log is due.
    fn may_warn(&self) -> bool {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = since_1970.map_or(0, |time| time.as_millis() as i64);
        let warned_ms = self.warned_ms.load(Ordering::Relaxed);
        now_ms - warned_ms >= WARN_EVERY_MS
            && self
                .warned_ms
                .compare_exchange(warned_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl CedarPolicies {
    /// The policies of a text.
    ///
    /// # Errors
    /// [`PoliciesError::Policies`] with every problem that there is.
    pub fn parse(text: &PolicyText) -> Result<Self, PoliciesError> {
        let parsed = Parsed::of(text)?;
        let (mut one, mut all, mut any) = (PolicySet::new(), PolicySet::new(), PolicySet::new());
        for policy in &parsed.policies {
            let derived = [Ok(Some(policy.clone())), for_all(policy), for_any(policy)];
            for (set, derived) in [&mut one, &mut all, &mut any].into_iter().zip(derived) {
                let added = match derived {
                    Ok(None) => continue,
                    Ok(Some(policy)) => set.add(policy).map_err(|error| error.to_string()),
                    Err(error) => Err(error),
                };
                added.map_err(|error| unusable(text, policy.id().to_string(), error))?;
            }
        }
        Ok(Self {
            parsed,
            one,
            all,
            any,
            authorizer: Authorizer::new(),
            cache: DecisionCache::default(),
            stats: Arc::default(),
        })
    }

    /// The same, which goes on counting in `stats`.
    #[must_use]
    pub fn counting(self, stats: Arc<PolicyStats>) -> Self {
        Self { stats, ..self }
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.parsed.policies.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.parsed.policies.is_empty()
    }

    /// What looks wrong, and does no harm.
    pub fn warnings(&self) -> &[PolicyProblem] {
        &self.parsed.warnings
    }

    /// Refuses policies that read a claim which is kept of no token.
    ///
    /// # Errors
    /// [`PoliciesError::Policies`].
    pub fn check_claims(&self, is_kept: impl Fn(&str) -> bool) -> Result<(), PoliciesError> {
        let claims = self.parsed.claims.iter();
        let unknown: Vec<PolicyProblem> = claims
            .filter(|used| !is_kept(&used.claim))
            .map(|used| PolicyProblem {
                message: format!(
                    "it reads the claim {0:?}, which is kept of no issuer's tokens: add {0:?} to kept_claims of \
                     an [[auth.issuer]]",
                    used.claim
                ),
                ..used.place.clone()
            })
            .collect();
        match unknown.is_empty() {
            true => Ok(()),
            false => Err(PoliciesError::Policies(unknown)),
        }
    }

    /// What the policies say; from the cache if the same was asked before.
    pub fn decide(
        &self,
        identity: &Identity,
        permission: Permission,
        extent: Extent<'_>,
    ) -> PolicyDecision {
        let question = Question::new(identity, permission, extent);
        let decision = match self.cache.get(question) {
            Some(decision) => decision,
            None => {
                let decided = self.evaluate(identity, permission, extent);
                self.cache.keep(question, decided.decision);
                self.note(&decided, identity, permission);
                decided.decision
            }
        };
        if decision == PolicyDecision::Failed {
            self.stats.failed.fetch_add(1, Ordering::Relaxed);
        }
        decision
    }

    /// What the policies say, and why; not from the cache.
    pub fn evaluate(
        &self,
        identity: &Identity,
        permission: Permission,
        extent: Extent<'_>,
    ) -> Decided {
        let (request, entities) = match request(identity, permission, extent) {
            Ok(request) => request,
            Err(error) => {
                return Decided {
                    decision: PolicyDecision::Failed,
                    policies: Vec::new(),
                    errors: vec![error],
                };
            }
        };
        let set = match extent {
            Extent::One(_) => &self.one,
            Extent::All => &self.all,
            Extent::Any => &self.any,
        };
        let response = self.authorizer.is_authorized(&request, set, &entities);
        let diagnostics = response.diagnostics();
        let errors: Vec<String> = diagnostics.errors().map(ToString::to_string).collect();
        let mut policies: Vec<String> = diagnostics.reason().map(ToString::to_string).collect();
        policies.sort();
        // Cedar leaves policies with errors out. One of them may be what forbids the request.
        let decision = match response.decision() {
            _ if !errors.is_empty() => PolicyDecision::Failed,
            Decision::Allow => PolicyDecision::Permit,
            Decision::Deny if policies.is_empty() => PolicyDecision::Silent,
            Decision::Deny => PolicyDecision::Forbid,
        };
        Decided {
            decision,
            policies,
            errors,
        }
    }

    fn note(&self, decided: &Decided, identity: &Identity, permission: Permission) {
        self.stats.evaluated.fetch_add(1, Ordering::Relaxed);
        let principal = identity.principal();
        let (permission, policies) = (permission.name(), &decided.policies);
        tracing::debug!(%principal, permission, ?policies, decision = ?decided.decision, "decided by policies");
        if decided.decision == PolicyDecision::Failed && self.stats.may_warn() {
            let errors = decided.errors.join("; ");
            warn!(%principal, permission, errors, "a policy cannot be evaluated; the request is denied");
        }
    }
}

impl PolicyDecider for CedarPolicies {
    fn decide(
        &self,
        identity: &Identity,
        permission: Permission,
        extent: Extent<'_>,
    ) -> PolicyDecision {
        Self::decide(self, identity, permission, extent)
    }
}

fn unusable(text: &PolicyText, policy: String, message: String) -> PoliciesError {
    let file = text.files.first().map(|(path, _)| path.clone());
    PoliciesError::Policies(vec![PolicyProblem {
        file: file.unwrap_or_default(),
        line: 1,
        policy: Some(policy),
        message,
    }])
}

#[cfg(test)]
mod tests;
