//! The shares of tenants in what a server does.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::LimitError;
use crate::Caller;

/// The largest weight: enough to tell tenants apart, and a tenant of weight 1 still gets a part of
/// what runs within a second.
const MAX_WEIGHT: u32 = 1000;
const MAX_NAME_BYTES: usize = 256;

/// One `[[limits.tenant]]`: the share of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantConfig {
    /// The tenant.
    pub name: String,
    /// Its share beside that of others, from 1 to 1000: while requests wait, a tenant of weight 2 gets
    /// twice the rows of one of weight 1.
    pub weight: u32,
}

impl Default for TenantConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            weight: 1,
        }
    }
}

/// Who a request is scheduled for, and with which weight. Requests without a tenant are those of one
/// more tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantShare {
    tenant: Option<Arc<str>>,
    weight: u32,
}

impl Default for TenantShare {
    fn default() -> Self {
        Self {
            tenant: None,
            weight: 1,
        }
    }
}

impl TenantShare {
    /// The share of a tenant. A weight of 0 counts as 1.
    pub fn new(tenant: impl Into<Arc<str>>, weight: u32) -> Self {
        Self {
            tenant: Some(tenant.into()),
            weight: weight.max(1),
        }
    }

    /// The tenant; `None` for requests without one.
    pub fn tenant(&self) -> &Option<Arc<str>> {
        &self.tenant
    }

    /// The weight, at least 1.
    pub fn weight(&self) -> u32 {
        self.weight
    }
}

/// The weights that are configured; every other tenant has weight 1.
#[derive(Debug, Default)]
pub(crate) struct TenantWeights(HashMap<String, u32>);

impl TenantWeights {
    /// # Errors
    /// What is wrong with a tenant.
    pub(crate) fn parse(tenants: &[TenantConfig]) -> Result<Self, LimitError> {
        let mut weights = HashMap::new();
        for TenantConfig { name, weight } in tenants {
            let has_name = (1..=MAX_NAME_BYTES).contains(&name.len());
            if !has_name || name.chars().any(char::is_control) {
                return Err(LimitError::Tenant);
            }
            if !(1..=MAX_WEIGHT).contains(weight) {
                return Err(LimitError::Weight(name.clone()));
            }
            if weights.insert(name.clone(), *weight).is_some() {
                return Err(LimitError::DuplicateTenant(name.clone()));
            }
        }
        Ok(Self(weights))
    }

    /// The share of a caller. It takes neither a lock nor memory.
    pub(crate) fn share(&self, caller: &Caller) -> TenantShare {
        match &caller.identity {
            // Without a tenant there is nothing to clone: the counter of one shared name would be in
            // the way of all threads.
            Some(identity) if !identity.tenant.is_empty() => TenantShare {
                weight: self.weight(&identity.tenant),
                tenant: Some(identity.tenant.clone()),
            },
            _ => TenantShare::default(),
        }
    }

    fn weight(&self, tenant: &str) -> u32 {
        if self.0.is_empty() {
            return 1;
        }
        self.0.get(tenant).copied().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, Principal};

    fn caller(tenant: &str) -> Caller {
        let identity = Identity::new(Principal::Anonymous, tenant, Vec::new());
        Caller::known(Arc::new(identity), None)
    }

    fn tenant(name: &str, weight: u32) -> TenantConfig {
        TenantConfig {
            name: name.to_owned(),
            weight,
        }
    }

    #[test]
    fn tenants_have_their_configured_weight_and_others_have_weight_1() {
        let weights = TenantWeights::parse(&[tenant("acme", 4)]).unwrap();
        assert_eq!(weights.share(&caller("acme")), TenantShare::new("acme", 4));
        assert_eq!(weights.share(&caller("shop")), TenantShare::new("shop", 1));
    }

    #[test]
    fn callers_without_a_tenant_share_one_place() {
        let weights = TenantWeights::default();
        assert_eq!(weights.share(&caller("")), TenantShare::default());
        let open = Caller::UNCHECKED;
        assert_eq!(weights.share(&open), TenantShare::default());
    }

    #[test]
    fn tenants_without_name_or_with_a_weight_out_of_range_are_refused() {
        let error = |tenants: &[TenantConfig]| TenantWeights::parse(tenants).unwrap_err();
        assert_eq!(error(&[tenant("", 1)]), LimitError::Tenant);
        assert_eq!(error(&[tenant("a\nb", 1)]), LimitError::Tenant);
        for weight in [0, 1001] {
            assert_eq!(
                error(&[tenant("a", weight)]),
                LimitError::Weight("a".into())
            );
        }
        let twice = [tenant("a", 1), tenant("a", 2)];
        assert_eq!(error(&twice), LimitError::DuplicateTenant("a".into()));
    }
}
