//! What is sent and answered.

use serde::{Deserialize, Serialize};
use tidegate_gateway::{Caller, GrantConfig};
use tidegate_store::ApiKey;
use utoipa::{IntoParams, ToSchema};

/// A role on some resources.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes GrantConfig")]
struct KeyGrant {
    /// `viewer`, `caller`, `deployer`, `operator` or `admin`.
    role: String,
    /// Names of endpoints and models, `fraud*`, or `KIND:NAME`; everything if absent.
    resources: Option<Vec<String>>,
}

/// A key that is to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    /// Its name, which no other valid key has.
    pub(super) name: String,
    /// The tenant that it belongs to; that of the caller if absent.
    pub(super) tenant: Option<String>,
    /// What its owner may do: not more than the caller may.
    #[schema(value_type = Vec<KeyGrant>)]
    pub(super) grants: Vec<GrantConfig>,
    /// How long it is valid, in seconds, at least 1; until it is revoked if absent.
    #[schema(minimum = 1)]
    pub(super) valid_for_s: Option<u64>,
}

/// How a key is replaced.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRotation {
    /// How long the earlier key stays valid, in seconds; a day if absent.
    pub(super) overlap_s: Option<u64>,
}

/// How a key is revoked.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub(super) struct KeyRevocation {
    /// Also the last key that can manage keys.
    pub(super) force: bool,
}

/// A new key. It is shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct ShownKey {
    pub(super) name: String,
    pub(super) key: String,
}

/// A key without its text.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[allow(missing_docs, reason = "as in the database")]
pub struct ListedKey {
    pub id: String,
    pub name: String,
    /// Its first characters.
    pub hint: String,
    pub tenant: String,
    #[schema(value_type = Vec<KeyGrant>)]
    pub grants: serde_json::Value,
    pub created_ms: i64,
    pub created_by: String,
    pub expires_ms: Option<i64>,
    pub revoked_ms: Option<i64>,
    pub last_used_ms: Option<i64>,
}

impl From<ApiKey> for ListedKey {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            hint: key.hint,
            tenant: key.tenant,
            grants: key.grants,
            created_ms: key.created_ms,
            created_by: key.created_by,
            expires_ms: key.expires_ms,
            revoked_ms: key.revoked_ms,
            last_used_ms: key.last_used_ms,
        }
    }
}

/// Who a caller is.
#[derive(Serialize, ToSchema)]
pub(super) struct WhoAmI {
    /// `anonymous`, `key:NAME`, `user:SUBJECT@ISSUER` or `certificate:NAME`.
    principal: String,
    /// The tenant; empty for none.
    tenant: String,
    /// What the roles permit, without what policies forbid. Policies may permit more on some resources.
    permissions: Vec<PermissionOn>,
    /// Whether policies decide besides the roles.
    policies: bool,
}

/// A permission with the resources that it is on.
#[derive(Serialize, ToSchema)]
struct PermissionOn {
    permission: &'static str,
    resources: Vec<String>,
}

impl From<&Caller> for WhoAmI {
    fn from(caller: &Caller) -> Self {
        let permissions = caller.permissions().into_iter().map(|held| PermissionOn {
            permission: held.permission.name(),
            resources: held.resources.iter().map(ToString::to_string).collect(),
        });
        Self {
            principal: caller.principal().to_string(),
            tenant: caller.tenant().to_owned(),
            permissions: permissions.collect(),
            policies: caller.has_policies(),
        }
    }
}
