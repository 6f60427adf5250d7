//! What a caller may hand on: never more than it may do itself.

use serde_json::Value;
use tidegate_store::ApiKey;

use crate::{
    ApiKeyError, Caller, Extent, Grant, GrantConfig, Identity, Permission, Policies,
    PolicyDecision, Principal, ResourcePattern,
};

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

    /// Refuses to show this one a key that policies let do more than it may do itself, or that its roles
    /// let do what policies forbid to this one.
    pub(crate) fn check_policies(
        &self,
        key: &Identity,
        grants: &[Grant],
    ) -> Result<(), ApiKeyError> {
        let Self::Caller(caller) = self else {
            return Ok(());
        };
        let Some(policies) = &caller.policies else {
            return Ok(());
        };
        let who = caller.principal();
        for permission in Permission::ALL {
            let name = permission.name();
            if caller.is_forbidden_some_of(permission, grants) {
                return Err(ApiKeyError::NotPermitted(format!(
                    "{who} may not give the permission {name}: a policy forbids it to {who}, at least on some of \
                     the resources"
                )));
            }
            // Which resources the policies mean cannot be compared, so the caller must have all.
            if may_permit(policies, key, permission) && !caller.may(permission, "") {
                let key = key.principal();
                return Err(ApiKeyError::NotPermitted(format!(
                    "{who} may not make {key}: policies give it the permission {name}, which {who} does not have \
                     on everything"
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

/// Whether policies may permit this somewhere, whatever the roles are.
fn may_permit(policies: &Policies, identity: &Identity, permission: Permission) -> bool {
    policies.decide(identity, permission, Extent::Any) == PolicyDecision::Permit
}

fn read_grants(grants: &Value) -> Option<Vec<GrantConfig>> {
    serde_json::from_value(grants.clone()).ok()
}

impl Caller {
    /// What the caller may do on which resources, as far as that can be told: policies may permit more
    /// on some resources, and forbid it on some of these.
    pub fn permissions(&self) -> Vec<HeldPermission> {
        let mut all = Vec::new();
        for permission in Permission::ALL {
            let mut resources = self.resources_with(permission);
            if self.policies.is_some() {
                resources = self.decided(permission, resources);
            }
            if permission != Permission::Public && !resources.is_empty() {
                all.push(HeldPermission {
                    permission,
                    resources,
                });
            }
        }
        all
    }

    /// Whether policies decide about the caller besides roles.
    pub fn has_policies(&self) -> bool {
        self.policies.is_some()
    }

    /// The resources of roles, without what policies forbid there, and everything where they permit that.
    fn decided(
        &self,
        permission: Permission,
        mut resources: Vec<ResourcePattern>,
    ) -> Vec<ResourcePattern> {
        let everything = ResourcePattern::everything();
        if self.may(permission, "") && !resources.contains(&everything) {
            resources.push(everything);
        }
        let kind = permission.resource_kind();
        resources.retain(|pattern| match pattern.only_name(kind) {
            Some(name) => self.may(permission, name),
            None => self.may_somewhere(permission),
        });
        resources
    }

    /// Whether a policy forbids some of what these grants permit.
    fn is_forbidden_some_of(&self, permission: Permission, grants: &[Grant]) -> bool {
        let (Some(identity), Some(policies)) = (&self.identity, &self.policies) else {
            return false;
        };
        let kind = permission.resource_kind();
        let granted = grants
            .iter()
            .filter(|grant| grant.permissions.contains(permission));
        let mut resources = granted.flat_map(|grant| &grant.resources);
        permission != Permission::Public
            && resources.any(|pattern| {
                let extent = pattern.only_name(kind).map_or(Extent::All, Extent::One);
                let decision = policies.decide(identity, permission, extent);
                pattern.is_for(kind) && !decision.allows(true)
            })
    }

    /// Whether the caller's roles permit everything that a grant permits. What policies permit cannot be
    /// handed on.
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
    use crate::{PolicyDecider, Role};

    #[test]
    fn a_key_makes_no_key_that_outlives_it() {
        let caller = |principal: Principal| {
            let identity = Identity::new(principal, "", Vec::new()).valid_until(Some(1000));
            Caller::known(Arc::new(identity), None)
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
        Caller::known(
            Arc::new(Identity::new(principal, "", grants.collect())),
            None,
        )
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

    /// Forbids `call` on `secret`, and permits it to `key:shop` on some endpoint.
    struct Rules;

    impl PolicyDecider for Rules {
        fn decide(&self, who: &Identity, what: Permission, on: Extent<'_>) -> PolicyDecision {
            let is_shop = *who.principal() == Principal::ApiKey("shop".into());
            match (what, on) {
                (Permission::Call, Extent::One("secret") | Extent::All) => PolicyDecision::Forbid,
                (Permission::Call, Extent::Any) if is_shop => PolicyDecision::Permit,
                _ => PolicyDecision::Silent,
            }
        }
    }

    fn may_make(by: &Caller, name: &str, grant: Grant) -> bool {
        let key = Identity::new(Principal::ApiKey(name.into()), "", Vec::new());
        let by = ChangedBy::Caller(by);
        by.check_policies(&key, &[grant]).is_ok()
    }

    #[test]
    fn nobody_gives_what_policies_forbid_them() {
        let mut root = caller(&[(Role::Admin, "*")]);
        assert!(may_make(&root, "a", grant(Role::Caller, "secret")));
        root.policies = Some(Arc::new(Policies::new(Rules)));
        assert!(may_make(&root, "a", grant(Role::Caller, "fraud")));
        assert!(may_make(&root, "a", grant(Role::Viewer, "*")));
        assert!(!may_make(&root, "a", grant(Role::Caller, "secret")));
        assert!(!may_make(&root, "a", grant(Role::Caller, "secret*")));
        assert!(!may_make(&root, "a", grant(Role::Admin, "*")));
    }

    #[test]
    fn nobody_makes_a_key_that_policies_give_more_than_they_have() {
        let mut root = caller(&[(Role::Admin, "*")]);
        root.policies = Some(Arc::new(Policies::new(Rules)));
        assert!(may_make(&root, "a", grant(Role::Viewer, "*")));
        assert!(!may_make(&root, "shop", grant(Role::Viewer, "*")));
    }

    #[test]
    fn forbidden_resources_are_not_told_as_permitted() {
        let mut shop = caller(&[(Role::Caller, "secret"), (Role::Caller, "fraud")]);
        shop.policies = Some(Arc::new(Policies::new(Rules)));
        let told = shop.permissions();
        let call = told.iter().find(|held| held.permission == Permission::Call);
        let resources = call.unwrap().resources.iter().map(ToString::to_string);
        assert_eq!(resources.collect::<Vec<_>>(), ["fraud"]);
    }
}
