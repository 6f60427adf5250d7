//! The policy of one endpoint, in the form in which requests use it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use http::HeaderMap;
use thiserror::Error;
use tidegate_delivery::assign::{Assignment, AssignmentMismatch, Choice, Exposure, Router};
use tidegate_delivery::policy::{Attribute, TrafficPolicy};
use tidegate_gateway::{Caller, Gateway};

use super::{OutputWatch, RunningCascade, ShadowCopy};
use crate::pipeline::{Executed, RequestRecord};
use crate::{ExposedUser, InferRequest, Version};

/// The traffic policy of an endpoint.
#[derive(Debug)]
pub struct EndpointTraffic {
    endpoint: Arc<str>,
    revision: i64,
    policy: TrafficPolicy,
    router: Router,
    cascade: Option<Arc<RunningCascade>>,
}

/// A policy that this server cannot follow.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TrafficError {
    #[error(
        "{0} cannot be used: the version is chosen before the inputs are read. Use a header, a claim, \
         the tenant or the principal"
    )]
    Field(Attribute),
    #[error(
        "{0} cannot be used: no issuer of tokens keeps this claim. Add it to auth.issuer.kept_claims"
    )]
    Claim(Attribute),
    #[error(
        "the policy has fallbacks, which the server does not take from a policy: write them as \
         [[endpoints.fallback]] in the configuration"
    )]
    Fallbacks,
    #[error("the policy has experiments, which are started with tidegate experiment start")]
    Experiments,
    #[error(transparent)]
    Assignment(#[from] AssignmentMismatch),
}

/// The version that a policy has chosen for a request.
#[derive(Debug)]
pub(crate) struct Chosen {
    traffic: Arc<EndpointTraffic>,
    choice: Choice,
    /// What is noted of the endpoint's answers, if its versions are compared and chance has chosen this one.
    watch: Option<Arc<OutputWatch>>,
    /// Whether this request is evidence.
    is_evidence: bool,
    /// The version that checks the answer of a cascade's first one.
    auditor: Option<usize>,
}

/// What sees the answer to a request for which a policy has chosen the version.
pub(crate) struct AnswerWatchers {
    shadow_copy: Option<Box<ShadowCopy>>,
    watch: Option<Arc<OutputWatch>>,
}

impl EndpointTraffic {
    /// A policy of an endpoint, with the keys that each version has. `replica` spreads the requests without
    /// a key differently on each server.
    ///
    /// # Errors
    /// If the keys are of another policy.
    pub fn new(
        endpoint: &str,
        revision: i64,
        policy: TrafficPolicy,
        assignment: &Assignment,
        replica: u64,
    ) -> Result<Arc<Self>, TrafficError> {
        let router = Router::new(&policy, assignment, replica)?;
        Ok(Arc::new(Self {
            endpoint: endpoint.into(),
            revision,
            cascade: policy
                .cascade()
                .cloned()
                .map(RunningCascade::new)
                .map(Arc::new),
            policy,
            router,
        }))
    }

    /// The same policy, which goes on with the cascade of the policy before, if that asked the same versions:
    /// what was checked, and that it has stopped, is not forgotten.
    #[must_use]
    pub fn continuing(self: Arc<Self>, before: Option<&Self>) -> Arc<Self> {
        let asks_the_same = |before: &&Self| {
            before.policy.cascade() == self.policy.cascade()
                && before.policy.split() == self.policy.split()
        };
        let cascade = before
            .filter(asks_the_same)
            .and_then(|before| before.cascade.clone());
        match (cascade, Arc::try_unwrap(self)) {
            (Some(cascade), Ok(policy)) => Arc::new(Self {
                cascade: Some(cascade),
                ..policy
            }),
            (_, Ok(policy)) => Arc::new(policy),
            // Somebody uses it already.
            (_, Err(shared)) => shared,
        }
    }

    /// Checks that requests can be looked at as a policy wants it.
    ///
    /// # Errors
    /// What cannot be.
    pub fn check(policy: &TrafficPolicy, gateway: &Gateway) -> Result<(), TrafficError> {
        if !policy.fallbacks().is_empty() {
            return Err(TrafficError::Fallbacks);
        }
        for attribute in policy.attributes() {
            match attribute {
                Attribute::Field(_) => return Err(TrafficError::Field(attribute.clone())),
                Attribute::Claim(name) if !gateway.keeps_claim(name) => {
                    return Err(TrafficError::Claim(attribute.clone()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The number of the change that set the policy; 0 for one of the configuration.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The policy.
    pub fn policy(&self) -> &TrafficPolicy {
        &self.policy
    }

    /// Its cascade.
    pub fn cascade(&self) -> Option<&RunningCascade> {
        self.cascade.as_deref()
    }

    /// Every version that the policy names.
    pub fn versions(&self) -> BTreeSet<String> {
        named_versions(&self.policy)
    }

    pub(super) fn choose(
        self: &Arc<Self>,
        caller: &Caller,
        headers: &HeaderMap,
        watch: Option<Arc<OutputWatch>>,
    ) -> Chosen {
        let value = |attribute: &Attribute| value_of(attribute, caller, headers);
        let choice = self.router.choose(value);
        // Whoever a rule or an experiment applies to is not like the others.
        let is_by_weight = choice.rule.is_none() && choice.exposure.is_none();
        let watch = watch.filter(|_| is_by_weight);
        let is_evidence = watch
            .as_ref()
            .is_some_and(|watch| watch.is_first(choice.key_hash));
        Chosen {
            choice,
            traffic: self.clone(),
            watch,
            is_evidence,
            auditor: None,
        }
    }

    /// The first version of the cascade, and whether one of the weights checks its answer; `None` for a
    /// request that a rule or an experiment decides.
    pub(crate) fn choose_first(
        self: &Arc<Self>,
        caller: &Caller,
        headers: &HeaderMap,
    ) -> Option<Chosen> {
        let value = |attribute: &Attribute| value_of(attribute, caller, headers);
        let choice = self.router.first_of_cascade(value)?;
        let is_audited = self.router.is_audited();
        Some(Chosen {
            choice,
            traffic: self.clone(),
            watch: None,
            is_evidence: false,
            auditor: is_audited
                .then(|| self.router.choose(value).version)
                .filter(|auditor| *auditor != choice.version),
        })
    }
}

/// Every version that a policy names: for answers and for shadows.
pub fn named_versions(policy: &TrafficPolicy) -> BTreeSet<String> {
    let shadows = policy.shadows().iter().map(|shadow| &shadow.version);
    let versions = policy.answering().into_iter().chain(shadows);
    versions
        .map(|version| version.as_str().to_owned())
        .collect()
}

fn value_of<'a>(
    attribute: &Attribute,
    caller: &'a Caller,
    headers: &'a HeaderMap,
) -> Option<Cow<'a, str>> {
    match attribute {
        Attribute::Header(name) => {
            let value = headers.get(name.as_str())?;
            // Bytes that are no text are a value too: equal ones must reach the same version.
            Some(String::from_utf8_lossy(value.as_bytes()))
        }
        Attribute::Claim(name) => caller.claim(name),
        Attribute::Tenant => Some(caller.tenant())
            .filter(|tenant| !tenant.is_empty())
            .map(Cow::Borrowed),
        Attribute::Principal => Some(Cow::Owned(caller.principal().to_string())),
        // No policy with a field is put in force.
        Attribute::Field(_) => None,
    }
}

impl Chosen {
    /// The version, by number or alias.
    pub(crate) fn version(&self) -> &str {
        self.traffic.router.versions()[self.choice.version].as_str()
    }

    /// Notes that a request was given to the version, if it is compared with others.
    pub(crate) fn note(&self, version: &Version, record: &mut RequestRecord<'_>) {
        if self.watch.is_some() {
            record.chosen(version.stats().counters(), self.is_evidence);
        }
        if let (Some(exposure), Some(prediction)) = (self.choice.exposure, &record.prediction) {
            prediction.set_exposure(|| self.exposed_user(exposure));
        }
    }

    fn exposed_user(&self, exposure: Exposure) -> ExposedUser {
        let experiment = &self.traffic.policy.experiments()[exposure.experiment];
        ExposedUser {
            experiment: experiment.name.clone(),
            arm: self.version().to_owned(),
            user: exposure.user,
        }
    }

    /// What sees the answer to the request.
    pub(crate) fn watchers(self, request: &InferRequest) -> AnswerWatchers {
        AnswerWatchers {
            shadow_copy: self.shadow_copy(request),
            watch: self.watch.filter(|_| self.is_evidence),
        }
    }

    /// A copy of the request for the shadows that are to get one.
    fn shadow_copy(&self, request: &InferRequest) -> Option<Box<ShadowCopy>> {
        if let Some(auditor) = self.auditor {
            return Some(self.audit_copy(auditor, request));
        }
        if self.traffic.policy.shadows().is_empty() {
            return None;
        }
        let shadows = self.traffic.router.shadows(self.choice.version);
        let versions = self.traffic.router.versions();
        let shadows: Vec<Arc<str>> = shadows
            .map(|shadow| versions[shadow].as_str().into())
            .collect();
        if shadows.is_empty() {
            return None;
        }
        let mut copy = ShadowCopy::new(self.traffic.endpoint.clone(), shadows, request.clone());
        copy.watch = self.watch.clone().filter(|_| self.is_evidence);
        Some(Box::new(copy))
    }

    /// A copy of the request for the version that checks the answer.
    fn audit_copy(&self, auditor: usize, request: &InferRequest) -> Box<ShadowCopy> {
        let auditor: Arc<str> = self.traffic.router.versions()[auditor].as_str().into();
        let endpoint = self.traffic.endpoint.clone();
        let mut copy = ShadowCopy::new(endpoint, vec![auditor], request.clone());
        copy.audit = Some(self.traffic.clone());
        Box::new(copy)
    }
}

impl AnswerWatchers {
    /// Notes what was answered, and returns the copy for shadows, if some get one.
    pub(crate) fn answered(
        self,
        version: &Arc<Version>,
        executed: &Executed,
    ) -> Option<Box<ShadowCopy>> {
        if let Some(watch) = &self.watch {
            let signature = &version.signature().outputs;
            let outputs = executed.outputs.iter();
            let outputs =
                outputs.map(|output| (signature[output.index].name.as_str(), &output.tensor));
            watch.add(version.number(), outputs);
        }
        let mut copy = self.shadow_copy?;
        copy.answered(version, executed);
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn policy(text: &str) -> TrafficPolicy {
        toml::from_str(text).unwrap()
    }

    fn traffic(text: &str) -> Arc<EndpointTraffic> {
        let policy = policy(text);
        let assignment = Assignment::new("fraud", &policy);
        EndpointTraffic::new("fraud", 1, policy, &assignment, 0).unwrap()
    }

    fn anonymous() -> Caller {
        let gateway = Gateway::open();
        let headers = HeaderMap::new();
        gateway
            .known_caller(tidegate_gateway::Credentials::of(&headers))
            .unwrap()
    }

    #[test]
    fn a_rule_on_a_header_goes_before_the_weights() {
        let traffic = traffic(
            "versions = [{ version = 7 }]\n[[rules]]\nname = 'beta'\nversions = [{ version = 8 }]\n\
             when = [{ attribute = 'header:x-beta', equals = '1' }]",
        );
        let mut headers = HeaderMap::new();
        assert_eq!(traffic.choose(&anonymous(), &headers, None).version(), "7");
        headers.insert("x-beta", HeaderValue::from_static("1"));
        assert_eq!(traffic.choose(&anonymous(), &headers, None).version(), "8");
    }

    #[test]
    fn equal_keys_get_the_same_version() {
        let traffic = traffic(
            "sticky = 'header:x-user'\n\
             versions = [{ version = 7, weight = '50%' }, { version = 8, weight = '50%' }]",
        );
        let mut headers = HeaderMap::new();
        let mut versions = BTreeSet::new();
        for user in 0..32 {
            headers.insert("x-user", HeaderValue::from(user));
            let first = traffic.choose(&anonymous(), &headers, None);
            let again = traffic.choose(&anonymous(), &headers, None);
            assert_eq!(first.version(), again.version());
            versions.insert(first.version().to_owned());
        }
        assert_eq!(versions.len(), 2);
    }

    #[test]
    fn what_cannot_be_looked_at_is_refused() {
        let gateway = Gateway::open();
        let check = |sticky: &str| {
            let text = format!("sticky = '{sticky}'\nversions = [{{ version = 7 }}]");
            EndpointTraffic::check(&policy(&text), &gateway)
        };
        assert!(matches!(check("field:amount"), Err(TrafficError::Field(_))));
        assert!(matches!(check("claim:plan"), Err(TrafficError::Claim(_))));
        for attribute in ["header:x-user", "tenant", "principal"] {
            assert_eq!(check(attribute), Ok(()));
        }
        let fallbacks = policy("versions = [{ version = 7 }]\nfallbacks = [{ version = 6 }]");
        assert_eq!(
            EndpointTraffic::check(&fallbacks, &gateway),
            Err(TrafficError::Fallbacks)
        );
    }
}
