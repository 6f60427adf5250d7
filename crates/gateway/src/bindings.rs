//! Which roles the subject of a token has.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use tidegate_tokens::{JwtIssuerConfig, VerifiedToken};

use crate::{Grant, GrantConfig, Identity, PatternError, Principal, Role};

/// A role for those whose tokens fulfil every condition, as people write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingConfig {
    /// `viewer`, `caller`, `deployer`, `operator` or `admin`.
    pub role: Role,
    /// As in [`GrantConfig::resources`]; everything if absent.
    #[serde(default = "everything")]
    pub resources: Vec<String>,
    /// The issuer of the token; any of the configured ones if absent.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The subject of the token; `*` for every one.
    #[serde(default)]
    pub subject: Option<String>,
    /// A group that the token must name.
    #[serde(default)]
    pub group: Option<String>,
    /// Claims with the value that each must have.
    #[serde(default)]
    pub claims: BTreeMap<String, String>,
    /// The tenant of those whose token names none.
    #[serde(default)]
    pub tenant: Option<String>,
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

/// A binding that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum BindingError {
    #[error("auth.binding: name a subject (\"*\" for every one), a group or claims")]
    NoCondition,
    #[error("auth.binding: there is no issuer {0:?} in auth.issuer")]
    UnknownIssuer(String),
    #[error("auth.binding: {0}")]
    Pattern(#[from] PatternError),
}

/// All bindings.
#[derive(Debug, Default)]
pub(crate) struct Bindings(Vec<Binding>);

#[derive(Debug)]
struct Binding {
    config: BindingConfig,
    grant: Arc<Grant>,
}

impl Bindings {
    pub(crate) fn parse(
        configs: &[BindingConfig],
        issuers: &[JwtIssuerConfig],
    ) -> Result<Self, BindingError> {
        let bindings = configs.iter().map(|config| {
            let has_condition =
                config.subject.is_some() || config.group.is_some() || !config.claims.is_empty();
            if !has_condition {
                return Err(BindingError::NoCondition);
            }
            if let Some(named) = &config.issuer
                && !issuers.iter().any(|issuer| issuer.issuer == *named)
            {
                return Err(BindingError::UnknownIssuer(named.clone()));
            }
            let grant = GrantConfig {
                role: config.role,
                resources: config.resources.clone(),
            };
            Ok(Binding {
                config: config.clone(),
                grant: Arc::new(grant.grant()?),
            })
        });
        Ok(Self(bindings.collect::<Result<_, _>>()?))
    }

    /// The identity of the subject of a token. Without a binding it may do nothing.
    pub(crate) fn identity(&self, token: &VerifiedToken) -> Identity {
        let fulfilled = self
            .0
            .iter()
            .filter(|binding| binding.config.matches(token));
        let mut grants = Vec::new();
        let mut tenant = token.tenant.as_deref();
        for binding in fulfilled {
            grants.push(binding.grant.clone());
            tenant = tenant.or(binding.config.tenant.as_deref());
        }
        let issuer = token.issuer.split_once("://").map_or("", |(_, rest)| rest);
        // The issuer is a part of the name: another one may give the same subject to somebody else.
        let name = format!("{}@{issuer}", token.subject);
        Identity::new(Principal::User(name.into()), tenant.unwrap_or(""), grants)
            .valid_until(Some(token.expires_at.saturating_mul(1000)))
    }

    /// The issuers as they must be configured for these bindings: the claims that a binding reads are
    /// kept.
    pub(crate) fn with_claims(
        configs: &[BindingConfig],
        issuers: &[JwtIssuerConfig],
    ) -> Vec<JwtIssuerConfig> {
        let mut issuers = issuers.to_vec();
        for issuer in &mut issuers {
            for claim in configs.iter().flat_map(|config| config.claims.keys()) {
                if !issuer.kept_claims.contains(claim) {
                    issuer.kept_claims.push(claim.clone());
                }
            }
        }
        issuers
    }
}

impl BindingConfig {
    fn matches(&self, token: &VerifiedToken) -> bool {
        let is_issuer = self
            .issuer
            .as_ref()
            .is_none_or(|issuer| *issuer == token.issuer);
        let subject = self.subject.as_deref();
        let is_subject = subject.is_none_or(|subject| subject == "*" || subject == token.subject);
        let is_group = self
            .group
            .as_ref()
            .is_none_or(|group| token.groups.contains(group));
        is_issuer && is_subject && is_group && self.claims.iter().all(|claim| has(token, claim))
    }
}

/// Whether a claim has a value, alone or in a list.
fn has(token: &VerifiedToken, (claim, value): (&String, &String)) -> bool {
    match token.claims.get(claim) {
        Some(Value::String(found)) => found == value,
        Some(Value::Array(found)) => found.iter().any(|found| found.as_str() == Some(value)),
        _ => false,
    }
}
