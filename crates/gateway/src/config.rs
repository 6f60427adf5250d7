//! The configuration of authentication.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use tidegate_tokens::JwtIssuerConfig;

use crate::{
    BindingConfig, Grant, LoginConfig, PatternError, Permission, Permissions, ResourcePattern, Role,
};

/// The `[auth]` section of `tidegate.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Whether callers need credentials. If false, everybody who can connect may do everything, and
    /// the server listens only on loopback addresses.
    pub enabled: bool,
    /// The database with the API keys, as in `registry.database`; by default the database of the
    /// registry.
    pub database: Option<String>,
    /// How often the server checks for new and revoked API keys, and for changed policies, in
    /// milliseconds, at least 50.
    pub refresh_ms: u64,
    /// Cedar policies that decide besides the roles: a file, or a folder with files `*.cedar`. They are
    /// read again when they change.
    pub policies: Option<PathBuf>,
    /// Whether the server is ready only once it has read the API keys.
    pub keys_required: bool,
    /// Whether everybody may read `/metrics`.
    pub public_metrics: bool,
    /// What callers without credentials may do; nothing by default.
    pub anonymous: Vec<GrantConfig>,
    /// The issuers whose tokens are accepted.
    pub issuer: Vec<JwtIssuerConfig>,
    /// The roles of the subjects of tokens.
    pub binding: Vec<BindingConfig>,
    /// How people log in to the console.
    pub login: LoginConfig,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            database: None,
            refresh_ms: 500,
            policies: None,
            keys_required: true,
            public_metrics: false,
            anonymous: Vec::new(),
            issuer: Vec::new(),
            binding: Vec::new(),
            login: LoginConfig::default(),
        }
    }
}

impl AuthConfig {
    /// What callers without credentials may do.
    ///
    /// # Errors
    /// A resource that cannot be read.
    pub fn anonymous_grants(&self) -> Result<Vec<Grant>, PatternError> {
        let mut grants = self
            .anonymous
            .iter()
            .map(GrantConfig::grant)
            .collect::<Result<Vec<_>, _>>()?;
        if self.public_metrics {
            grants.push(Grant {
                permissions: Permissions::of(&[Permission::ViewMetrics]),
                resources: vec![ResourcePattern::everything()],
            });
        }
        Ok(grants)
    }
}

impl AuthConfig {
    /// Whether somebody may manage the API keys of all tenants without having one: by a token, a
    /// certificate, or nothing at all. Roles alone count: what policies permit may end with their next
    /// change.
    pub fn has_other_key_managers(&self) -> bool {
        let mut bindings = self.binding.iter();
        let anonymous = self.anonymous.iter();
        let mut anonymous = anonymous.filter(|grant| grant.manages_keys());
        anonymous.next().is_some()
            || bindings.any(|binding| {
                let grant = GrantConfig {
                    role: binding.role,
                    resources: binding.resources.clone(),
                };
                let is_used = binding.certificate.is_some() || !self.issuer.is_empty();
                // Whoever belongs to a tenant manages the keys of that tenant alone.
                is_used && binding.tenant.is_none() && grant.manages_keys()
            })
    }
}

/// A role on some resources, as people write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantConfig {
    /// `viewer`, `caller`, `deployer`, `operator` or `admin`.
    pub role: Role,
    /// Names of endpoints and models; `fraud*` is every name that begins with `fraud`; or
    /// `KIND:NAME`. If absent, everything.
    #[serde(default = "everything")]
    pub resources: Vec<String>,
}

pub(crate) fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

impl GrantConfig {
    /// Whether it permits to manage API keys.
    pub(crate) fn manages_keys(&self) -> bool {
        let grant = self.grant();
        grant.is_ok_and(|grant| grant.manages_keys())
    }

    /// The grant that this describes.
    ///
    /// # Errors
    /// A resource that cannot be read.
    pub fn grant(&self) -> Result<Grant, PatternError> {
        let resources = self.resources.iter().map(|resource| resource.parse());
        Ok(Grant::of_role(
            self.role,
            resources.collect::<Result<_, _>>()?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_without_resources_is_for_everything() {
        let grant: GrantConfig = serde_json::from_str(r#"{"role": "viewer"}"#).unwrap();
        assert!(grant.grant().unwrap().permits(Permission::ViewMetrics, ""));
    }

    #[test]
    fn an_admin_by_certificate_or_token_manages_keys_without_one() {
        let binding = |role, certificate: Option<&str>| BindingConfig {
            role,
            resources: everything(),
            issuer: None,
            subject: certificate.is_none().then(|| "ada".to_owned()),
            group: None,
            claims: std::collections::BTreeMap::new(),
            certificate: certificate.map(str::to_owned),
            tenant: None,
        };
        let has_managers = |binding| {
            let config = AuthConfig {
                binding: vec![binding],
                ..AuthConfig::default()
            };
            config.has_other_key_managers()
        };
        assert!(has_managers(binding(Role::Admin, Some("ops"))));
        let of_tenant = BindingConfig {
            tenant: Some("acme".to_owned()),
            ..binding(Role::Admin, Some("ops"))
        };
        assert!(!has_managers(of_tenant));
        assert!(!has_managers(binding(Role::Operator, Some("ops"))));
        // Without an issuer there are no tokens.
        assert!(!has_managers(binding(Role::Admin, None)));
        assert!(!AuthConfig::default().has_other_key_managers());
    }

    #[test]
    fn public_metrics_open_nothing_else() {
        let config = AuthConfig {
            public_metrics: true,
            ..AuthConfig::default()
        };
        let grants = config.anonymous_grants().unwrap();
        for permission in Permission::ALL {
            let may = grants.iter().any(|grant| grant.permits(permission, ""));
            assert_eq!(may, permission == Permission::ViewMetrics, "{permission:?}");
        }
    }
}
