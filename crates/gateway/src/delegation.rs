//! What a caller may hand on: never more than it may do itself.

use serde_json::Value;
use tidegate_store::ApiKey;

use crate::{ApiKeyError, Caller, Grant, GrantConfig, Permission, Principal, ResourcePattern};

/// A permission with the resources that somebody has it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPermission {
    /// The permission.
    pub permission: Permission,
    /// The resources.
    pub resources: Vec<ResourcePattern>,
}

/// Who changes API keys.
#[derive(Clone, Copy, Debug)]
pub enum ChangedBy<'a> {
    /// Somebody who can write to the database anyway, by name.
    Operator(&'a str),
    /// A caller of a server, who can give nobody more than they have.
    Caller(&'a Caller),
}

impl ChangedBy<'_> {
    /// The name in the audit log.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Operator(name) => (*name).to_owned(),
            Self::Caller(caller) => caller.principal().to_string(),
        }
    }

    /// When a key ends that this one makes: no later than this one's own, or it would outlive it.
    pub(crate) fn limit_expiry(&self, wanted_ms: Option<i64>) -> Option<i64> {
        let own_ms = match self {
            Self::Caller(caller) => caller.key_expires_ms(),
            Self::Operator(_) => None,
        };
        match (wanted_ms, own_ms) {
            (Some(wanted), Some(own)) => Some(wanted.min(own)),
            (wanted, own) => wanted.or(own),
        }
    }

    /// Refuses to give somebody of a tenant more than this one has.
    pub(crate) fn check_grants(
        &self,
        tenant: &str,
        grants: &[GrantConfig],
    ) -> Result<(), ApiKeyError> {
        self.check_tenant(tenant)?;
        let Self::Caller(caller) = self else {
            return Ok(());
        };
        for config in grants {
            if !caller.may_give(&config.grant()?) {
                let resources = config.resources.join(", ");
                let (who, role) = (caller.principal(), config.role);
                return Err(ApiKeyError::NotPermitted(format!(
                    "{who} may not give the role {role} on {resources}, which permits more than {who} may do"
                )));
            }
        }
        Ok(())
    }

    /// Refuses to show this one a key that replaces another and permits more than this one has.
    pub(crate) fn check_key(&self, key: &ApiKey) -> Result<(), ApiKeyError> {
        match read_grants(&key.grants) {
            Some(grants) => self.check_grants(&key.tenant, &grants),
            None if matches!(self, Self::Operator(_)) => Ok(()),
            // A server of a newer version may read more in them.
            None => Err(ApiKeyError::NotPermitted(format!(
                "the roles of the key {:?} are unknown to this server",
                key.name
            ))),
        }
    }

    /// Refuses to change what belongs to another tenant.
    pub(crate) fn check_tenant(&self, tenant: &str) -> Result<(), ApiKeyError> {
        match self {
            Self::Caller(caller) if !caller.may_act_for(tenant) => Err(ApiKeyError::NotPermitted(
                format!("{} is of another tenant than the key", caller.principal()),
            )),
            _ => Ok(()),
        }
    }
}

fn read_grants(grants: &Value) -> Option<Vec<GrantConfig>> {
    serde_json::from_value(grants.clone()).ok()
}

impl Caller {
    /// What the caller may do.
    pub fn permissions(&self) -> Vec<HeldPermission> {
        let mut all = Vec::new();
        for permission in Permission::ALL {
            let resources = self.resources_with(permission);
            if permission != Permission::Public && !resources.is_empty() {
                all.push(HeldPermission {
                    permission,
                    resources,
                });
            }
        }
        all
    }

    /// Whether the caller may do everything that a grant permits.
    pub fn may_give(&self, grant: &Grant) -> bool {
        let mut permissions = Permission::ALL.into_iter();
        permissions.all(|permission| {
            permission == Permission::Public
                || !grant.permissions.contains(permission)
                || self.has_on_all(permission, &grant.resources)
        })
    }

    /// Whether the caller may change what belongs to a tenant: those of a tenant only what is theirs.
    pub fn may_act_for(&self, tenant: &str) -> bool {
        self.tenant().is_empty() || self.tenant() == tenant
    }

    /// When the API key of the caller ends, in milliseconds since 1970. Tokens last minutes and are
    /// renewed by their issuer, who vouches for the person: their end says nothing of a key.
    fn key_expires_ms(&self) -> Option<i64> {
        let identity = self.identity.as_ref()?;
        match identity.principal {
            Principal::ApiKey(_) => identity.expires_ms,
            _ => None,
        }
    }

    fn has_on_all(&self, permission: Permission, resources: &[ResourcePattern]) -> bool {
        let (held, kind) = (self.resources_with(permission), permission.resource_kind());
        let mut resources = resources.iter();
        resources.all(|wanted| held.iter().any(|own| own.covers(wanted, kind)))
    }

    fn resources_with(&self, permission: Permission) -> Vec<ResourcePattern> {
        let Some(identity) = &self.identity else {
            return vec![ResourcePattern::everything()];
        };
        let grants = identity.grants.iter();
        grants
            .filter(|grant| grant.permissions.contains(permission))
            .flat_map(|grant| grant.resources.iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Identity, Role};

    #[test]
    fn a_key_makes_no_key_that_outlives_it() {
        let caller = |principal: Principal| Caller {
            identity: Some(Arc::new(
                Identity::new(principal, "", Vec::new()).valid_until(Some(1000)),
            )),
        };
        let key = caller(Principal::ApiKey("ci".into()));
        let by = ChangedBy::Caller(&key);
        assert_eq!(by.limit_expiry(None), Some(1000));
        assert_eq!(by.limit_expiry(Some(2000)), Some(1000));
        assert_eq!(by.limit_expiry(Some(500)), Some(500));
        let user = caller(Principal::User("ada".into()));
        assert_eq!(ChangedBy::Caller(&user).limit_expiry(None), None);
        assert_eq!(ChangedBy::Operator("root").limit_expiry(None), None);
    }

    fn grant(role: Role, resource: &str) -> Grant {
        Grant::of_role(role, vec![resource.parse().unwrap()])
    }

    fn caller(grants: &[(Role, &str)]) -> Caller {
        let grants = grants.iter().map(|(role, on)| Arc::new(grant(*role, on)));
        let principal = Principal::ApiKey("ada".into());
        Caller {
            identity: Some(Arc::new(Identity::new(principal, "", grants.collect()))),
        }
    }

    #[test]
    fn nobody_gives_more_than_they_have() {
        let root = caller(&[(Role::Admin, "*")]);
        for role in Role::ALL {
            assert!(root.may_give(&grant(role, "*")) && root.may_give(&grant(role, "fraud*")));
        }
        let lead = caller(&[(Role::Admin, "fraud*"), (Role::Admin, "keys:*")]);
        assert!(lead.may_give(&grant(Role::Caller, "fraud-eu")));
        assert!(lead.may_give(&grant(Role::Caller, "fraud*")));
        assert!(lead.may_give(&grant(Role::Caller, "endpoint:fraud-*")));
        for (role, on) in [
            (Role::Caller, "*"),
            (Role::Caller, "fra*"),
            (Role::Caller, "churn"),
            (Role::Caller, "endpoint:*"),
            (Role::Admin, "*"),
            (Role::Viewer, "metrics:*"),
        ] {
            assert!(!lead.may_give(&grant(role, on)), "{role} {on}");
        }
        let viewer = caller(&[(Role::Viewer, "*")]);
        assert!(!viewer.may_give(&grant(Role::Caller, "fraud")));
    }

    #[test]
    fn permissions_are_told_with_their_resources() {
        let told = caller(&[(Role::Caller, "fraud*"), (Role::Caller, "demo")]).permissions();
        let told: Vec<_> = told
            .iter()
            .map(|held| {
                let resources = held.resources.iter().map(ToString::to_string);
                (
                    held.permission.name(),
                    resources.collect::<Vec<_>>().join(" "),
                )
            })
            .collect();
        let both = "fraud* demo".to_owned();
        assert_eq!(told, [("call", both.clone()), ("view-models", both)]);
    }
}
