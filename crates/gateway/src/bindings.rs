//! Which roles the subject of a token or of a client certificate has.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use tidegate_tokens::{JwtIssuerConfig, VerifiedToken};

use crate::{ClientCertificate, Grant, GrantConfig, Identity, PatternError, Principal, Role};

/// A role for those whose tokens fulfil every condition, or who have such a certificate, as people
/// write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingConfig {
    /// `viewer`, `caller`, `deployer`, `operator` or `admin`.
    pub role: Role,
    /// As in [`GrantConfig::resources`]; everything if absent.
    #[serde(default = "crate::config::everything")]
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
    /// The name of a client certificate; `*` at its end stands for any rest. Such a binding is not for
    /// tokens.
    #[serde(default)]
    pub certificate: Option<String>,
    /// The tenant of those whose token names none, and of certificates.
    #[serde(default)]
    pub tenant: Option<String>,
}

/// A binding that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum BindingError {
    #[error("auth.binding: name a subject (\"*\" for every one), a group, claims or a certificate")]
    NoCondition,
    #[error(
        "auth.binding: {0:?} is a certificate, so issuer, subject, group and claims, which are of \
         tokens, cannot be set beside it"
    )]
    CertificateAndToken(String),
    #[error("auth.binding: in the certificate {0:?}, `*` may stand at the end only")]
    CertificatePattern(String),
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
    /// The bindings of certificates.
    pub(crate) fn of_certificates(configs: &[BindingConfig]) -> Result<Self, BindingError> {
        let mut bindings = Vec::new();
        for config in configs {
            if let Some(pattern) = &config.certificate {
                config.check_certificate(pattern)?;
                bindings.push(Binding::new(config)?);
            }
        }
        Ok(Self(bindings))
    }

    /// The identity of the subject of a certificate. Without a binding it may do nothing.
    pub(crate) fn certificate_identity(&self, certificate: &ClientCertificate) -> Identity {
        let name = certificate.name();
        let mut grants = Vec::new();
        let mut tenant = None;
        for Binding { config, grant } in &self.0 {
            let pattern = config.certificate.as_deref();
            if pattern.is_some_and(|pattern| matches_pattern(pattern, name)) {
                grants.push(grant.clone());
                tenant = tenant.or(config.tenant.as_deref());
            }
        }
        Identity::new(
            Principal::Certificate(name.clone()),
            tenant.unwrap_or(""),
            grants,
        )
        .valid_until(Some(certificate.expires_ms()))
    }

    /// The bindings of tokens.
    pub(crate) fn parse(
        configs: &[BindingConfig],
        issuers: &[JwtIssuerConfig],
    ) -> Result<Self, BindingError> {
        let of_tokens = configs.iter().filter(|config| config.certificate.is_none());
        let bindings = of_tokens.map(|config| {
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
            Binding::new(config)
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
            .with_claims(claims_of(token))
            .in_groups(token.groups.clone())
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

impl Binding {
    fn new(config: &BindingConfig) -> Result<Self, BindingError> {
        let grant = GrantConfig {
            role: config.role,
            resources: config.resources.clone(),
        };
        Ok(Self {
            config: config.clone(),
            grant: Arc::new(grant.grant()?),
        })
    }
}

/// Whether a name is the pattern, or begins with what stands before its `*`.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

impl BindingConfig {
    fn check_certificate(&self, pattern: &str) -> Result<(), BindingError> {
        let has_token_condition = self.issuer.is_some()
            || self.subject.is_some()
            || self.group.is_some()
            || !self.claims.is_empty();
        if has_token_condition {
            return Err(BindingError::CertificateAndToken(pattern.to_owned()));
        }
        let fixed = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern.is_empty() || fixed.contains('*') {
            return Err(BindingError::CertificatePattern(pattern.to_owned()));
        }
        Ok(())
    }

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

/// The claims that are kept of a token; its subject is always one of them.
fn claims_of(token: &VerifiedToken) -> Map<String, Value> {
    let mut claims = token.claims.clone();
    claims
        .entry("sub")
        .or_insert_with(|| Value::String(token.subject.clone()));
    claims
}

/// Whether a claim has a value, alone or in a list.
fn has(token: &VerifiedToken, (claim, value): (&String, &String)) -> bool {
    match token.claims.get(claim) {
        Some(Value::String(found)) => found == value,
        Some(Value::Array(found)) => found.iter().any(|found| found.as_str() == Some(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Permission;

    fn binding(certificate: &str) -> BindingConfig {
        BindingConfig {
            role: Role::Caller,
            resources: vec!["fraud*".to_owned()],
            issuer: None,
            subject: None,
            group: None,
            claims: BTreeMap::new(),
            certificate: Some(certificate.to_owned()),
            tenant: Some("acme".to_owned()),
        }
    }

    #[test]
    fn a_certificate_has_the_roles_of_the_bindings_that_match_its_name() {
        let bindings = Bindings::of_certificates(&[binding("spiffe://cluster/ns/ml/*")]).unwrap();
        for (name, may) in [
            ("spiffe://cluster/ns/ml/sa/shop", true),
            ("spiffe://cluster/ns/mlx/sa/shop", false),
            ("xspiffe://cluster/ns/ml/sa/shop", false),
        ] {
            let identity = bindings.certificate_identity(&ClientCertificate::new(name, 1));
            assert_eq!(
                identity.roles_permit(Permission::Call, "fraud-eu"),
                may,
                "{name}"
            );
            assert!(!identity.roles_permit(Permission::Call, "churn"));
            assert_eq!(identity.tenant(), if may { "acme" } else { "" });
            assert_eq!(
                identity.principal().to_string(),
                format!("certificate:{name}")
            );
        }
    }

    #[test]
    fn a_binding_of_a_certificate_has_no_conditions_of_tokens() {
        let mixed = BindingConfig {
            subject: Some("*".to_owned()),
            ..binding("shop")
        };
        let error = Bindings::of_certificates(&[mixed]).unwrap_err();
        assert!(matches!(error, BindingError::CertificateAndToken(_)));
        for wrong in ["", "a*b", "**"] {
            let error = Bindings::of_certificates(&[binding(wrong)]).unwrap_err();
            assert!(
                matches!(error, BindingError::CertificatePattern(_)),
                "{wrong}"
            );
        }
        assert!(
            Bindings::parse(&[binding("shop")], &[])
                .unwrap()
                .0
                .is_empty()
        );
    }
}
