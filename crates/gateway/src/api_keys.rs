//! API keys in the database: how they are created, replaced, revoked and read.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use thiserror::Error;
use tidegate_store::{ApiKey, AuditEntry, NewEvent, Store, StoreError, Write};

use crate::{
    Caller, ChangedBy, Grant, GrantConfig, Identity, KeyDigest, KeyTable, NewApiKey, PatternError,
    Principal, ResourcePattern, StoredKey,
};

/// Longest name of a key or tenant, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// The most valid keys of a tenant: every server holds them all in memory.
const MAX_VALID_KEYS: usize = 10_000;

/// The API keys of a database.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    store: Store,
}

/// A key that is to be created.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    /// Its name, which no other valid key has.
    pub name: String,
    /// The tenant that it belongs to; empty for none.
    pub tenant: String,
    /// What its owner may do.
    pub grants: Vec<GrantConfig>,
    /// How long it is valid; for ever if absent.
    pub valid_for: Option<Duration>,
}

/// Whether the last key may be revoked that can manage keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastAdminKey {
    /// Not without other ways in: nobody could make a new one over the network.
    Keep,
    /// Others may manage keys by a token or a certificate.
    OthersManageKeys,
    /// Somebody has asked for it.
    Forced,
}

impl LastAdminKey {
    /// What holds where somebody may have forced it, and others may manage keys without one.
    pub fn of(is_forced: bool, others_manage_keys: bool) -> Self {
        match (is_forced, others_manage_keys) {
            (true, _) => Self::Forced,
            (false, true) => Self::OthersManageKeys,
            (false, false) => Self::Keep,
        }
    }
}

/// Why keys could not be changed.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ApiKeyError {
    #[error(
        "{0:?} is not a name of a key or tenant: use 1 to 128 letters, digits, and the signs - _ . @"
    )]
    Name(String),
    #[error("there is a valid key {0:?} already: rotate it, or choose another name")]
    Exists(String),
    #[error("the name {0:?} is taken: choose another one")]
    Taken(String),
    #[error(
        "tenant {0:?} has {MAX_VALID_KEYS} valid keys, the most that there may be: revoke some"
    )]
    TooMany(String),
    #[error("a key that is valid for no time opens nothing: give at least a second")]
    NoTime,
    #[error(
        "{0:?} is the last key that can manage keys: create another one first, or force it \
         (--force, ?force=true)"
    )]
    LastAdmin(String),
    #[error("there is no valid key {0:?}")]
    Unknown(String),
    #[error("a key needs at least one role")]
    NoGrants,
    #[error("{0}")]
    NotPermitted(String),
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error("the system has no random numbers: {0}")]
    Random(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ApiKeys {
    /// The keys of an open database.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Creates a key.
    ///
    /// # Errors
    /// [`ApiKeyError`]; then nothing was created.
    pub async fn create(
        &self,
        by: ChangedBy<'_>,
        new: &KeyRequest,
    ) -> Result<NewApiKey, ApiKeyError> {
        check_name(&new.name)?;
        if !new.tenant.is_empty() {
            check_name(&new.tenant)?;
        }
        if new.grants.is_empty() {
            return Err(ApiKeyError::NoGrants);
        }
        if new.valid_for.is_some_and(|time| time.is_zero()) {
            return Err(ApiKeyError::NoTime);
        }
        for resource in new.grants.iter().flat_map(|grant| &grant.resources) {
            ResourcePattern::of_new_key(resource)?;
        }
        by.check_grants(&new.tenant, &new.grants)?;
        let grants = new.grants.iter().map(GrantConfig::grant);
        let grants: Vec<Grant> = grants.collect::<Result<_, _>>()?;
        by.check_policies(&key_identity(&new.name, &new.tenant), &grants)?;
        let secret = generate()?;
        let actor = by.name();
        let mut write = self.store.write(&actor).await?;
        let now_ms = write.now_ms();
        let named = write.api_keys_named(&new.name).await?;
        check_name_is_free(by, new, &named, now_ms)?;
        let valid = write.valid_api_keys(&new.tenant, now_ms).await?;
        if valid >= MAX_VALID_KEYS {
            return Err(ApiKeyError::TooMany(new.tenant.clone()));
        }
        let key = ApiKey {
            id: random_id()?,
            name: new.name.clone(),
            digest: secret.digest().to_string(),
            hint: secret.hint().to_owned(),
            tenant: new.tenant.clone(),
            grants: json!(new.grants),
            created_ms: now_ms,
            created_by: actor,
            expires_ms: by.limit_expiry(new.valid_for.map(|time| after(now_ms, time))),
            revoked_ms: None,
            last_used_ms: None,
        };
        write.add_api_key(&key).await?;
        let detail = json!({"name": key.name, "tenant": key.tenant, "grants": key.grants,
            "expires_ms": key.expires_ms});
        audit(&mut write, "key.create", &key.name, (&Value::Null, &detail)).await?;
        write.record(event("key.created", detail)).await?;
        write.commit().await?;
        Ok(secret)
    }

    /// Creates a key of the same name, tenant and roles. The earlier ones stay valid for `overlap`,
    /// so that their users can change over one by one. A key that was valid for some time is
    /// followed by one that is valid as long.
    ///
    /// # Errors
    /// [`ApiKeyError::Unknown`] if there is no valid key of this name; then nothing was changed.
    pub async fn rotate(
        &self,
        by: ChangedBy<'_>,
        name: &str,
        overlap: Duration,
    ) -> Result<NewApiKey, ApiKeyError> {
        let secret = generate()?;
        let actor = by.name();
        let mut write = self.store.write(&actor).await?;
        let now_ms = write.now_ms();
        let mut valid = write.api_keys_named(name).await?;
        valid.retain(|key| is_valid(key, now_ms));
        let Some(newest) = valid.last() else {
            return Err(ApiKeyError::Unknown(name.to_owned()));
        };
        for key in &valid {
            by.check_key(key)?;
            by.check_policies(&key_identity(&key.name, &key.tenant), &grants_of(key))?;
        }
        let lifetime_ms = newest.expires_ms.map(|end| end - newest.created_ms);
        let next = ApiKey {
            id: random_id()?,
            digest: secret.digest().to_string(),
            hint: secret.hint().to_owned(),
            created_ms: now_ms,
            created_by: actor,
            expires_ms: by.limit_expiry(lifetime_ms.map(|time| now_ms.saturating_add(time))),
            last_used_ms: None,
            ..newest.clone()
        };
        if ends_before(&next, newest) {
            // It ends with the key of the caller: another key that manages keys must remain.
            check_managers_remain(&write.unrevoked_api_keys().await?, name, now_ms)?;
        }
        let overlap_end = after(now_ms, overlap);
        for key in &valid {
            // A key that would have expired earlier is not given more time.
            let end = key
                .expires_ms
                .map_or(overlap_end, |end| end.min(overlap_end));
            write.end_api_key(&key.id, Some(end), None).await?;
        }
        write.add_api_key(&next).await?;
        let detail = json!({"name": name, "earlier_keys_end_ms": overlap_end});
        audit(&mut write, "key.rotate", name, (&Value::Null, &detail)).await?;
        write.record(event("key.rotated", detail)).await?;
        write.commit().await?;
        Ok(secret)
    }

    /// Ends every valid key of a name, and gives their number.
    ///
    /// # Errors
    /// [`ApiKeyError::Unknown`] if there is none, [`ApiKeyError::LastAdmin`].
    pub async fn revoke(
        &self,
        by: ChangedBy<'_>,
        name: &str,
        last_admin: LastAdminKey,
    ) -> Result<usize, ApiKeyError> {
        let mut write = self.store.write(&by.name()).await?;
        let now_ms = write.now_ms();
        let mut valid = write.api_keys_named(name).await?;
        valid.retain(|key| is_valid(key, now_ms));
        if valid.is_empty() {
            return Err(ApiKeyError::Unknown(name.to_owned()));
        }
        for key in &valid {
            by.check_key(key)?;
        }
        if last_admin == LastAdminKey::Keep {
            check_managers_remain(&write.unrevoked_api_keys().await?, name, now_ms)?;
        }
        for key in &valid {
            write
                .end_api_key(&key.id, key.expires_ms, Some(now_ms))
                .await?;
        }
        let forced = last_admin == LastAdminKey::Forced;
        let detail = json!({"name": name, "keys": valid.len(), "forced": forced});
        audit(&mut write, "key.revoke", name, (&detail, &Value::Null)).await?;
        write.record(event("key.revoked", detail)).await?;
        write.commit().await?;
        Ok(valid.len())
    }

    /// Every key, also expired and revoked ones.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn list(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.store.api_keys().await
    }

    /// The keys that open something, for requests to look them up.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn table(&self, previous: &KeyTable) -> Result<KeyTable, StoreError> {
        let keys = self.store.api_keys().await?;
        let stored = keys.into_iter().filter_map(stored_key).collect();
        Ok(KeyTable::new(stored, previous))
    }
}

/// Refuses a name that somebody has. The audit log, limits and usage know keys by their names, so one
/// that was revoked stays with its tenant, unless somebody gives it away who manages both.
fn check_name_is_free(
    by: ChangedBy<'_>,
    new: &KeyRequest,
    named: &[ApiKey],
    now_ms: i64,
) -> Result<(), ApiKeyError> {
    // What other tenants have is not told.
    if named
        .iter()
        .any(|key| by.check_tenant(&key.tenant).is_err())
    {
        return Err(ApiKeyError::Taken(new.name.clone()));
    }
    if named.iter().any(|key| is_valid(key, now_ms)) {
        return Err(ApiKeyError::Exists(new.name.clone()));
    }
    Ok(())
}

/// Refuses to end the keys of a name if nobody else could do what those do that manage keys.
fn check_managers_remain(keys: &[ApiKey], name: &str, now_ms: i64) -> Result<(), ApiKeyError> {
    let (ending, others): (Vec<_>, Vec<_>) = keys
        .iter()
        .filter(|key| is_valid(key, now_ms) && manages_keys(key))
        .partition(|key| key.name == name);
    for key in ending {
        if !others.iter().any(|other| could_replace(other, key)) {
            return Err(ApiKeyError::LastAdmin(name.to_owned()));
        }
    }
    Ok(())
}

/// Whether a key could make another one like `ending`, and lives as long.
fn could_replace(key: &ApiKey, ending: &ApiKey) -> bool {
    let principal = Principal::ApiKey(key.name.as_str().into());
    let grants = grants_of(key).into_iter().map(Arc::new).collect();
    let identity = Identity::new(principal, key.tenant.as_str(), grants);
    // Roles alone: what policies permit cannot be handed on.
    let caller = Caller::known(Arc::new(identity), None);
    !ends_before(key, ending)
        && caller.may_act_for(&ending.tenant)
        && grants_of(ending).iter().all(|grant| caller.may_give(grant))
}

/// Whom policies see in the owner of a key.
fn key_identity(name: &str, tenant: &str) -> Identity {
    Identity::new(Principal::ApiKey(name.into()), tenant, Vec::new())
}

fn ends_before(key: &ApiKey, other: &ApiKey) -> bool {
    key.expires_ms.unwrap_or(i64::MAX) < other.expires_ms.unwrap_or(i64::MAX)
}

/// The roles of a key. Those that this build cannot read permit nothing.
fn grants_of(key: &ApiKey) -> Vec<Grant> {
    let grants: Vec<GrantConfig> = serde_json::from_value(key.grants.clone()).unwrap_or_default();
    grants
        .iter()
        .filter_map(|grant| grant.grant().ok())
        .collect()
}

fn manages_keys(key: &ApiKey) -> bool {
    grants_of(key).iter().any(Grant::manages_keys)
}

/// Whether a key is neither revoked nor expired.
fn is_valid(key: &ApiKey, now_ms: i64) -> bool {
    key.revoked_ms.is_none() && key.expires_ms.is_none_or(|end| end > now_ms)
}

/// A key as requests look it up; `None` for one that opens nothing.
fn stored_key(key: ApiKey) -> Option<StoredKey> {
    // Expired keys are kept: their owners are told so. They are refused when they are used.
    if key.revoked_ms.is_some() {
        return None;
    }
    Some(StoredKey {
        grants: grants_of(&key),
        digest: KeyDigest::from_hex(&key.digest)?,
        id: key.id,
        name: key.name,
        tenant: key.tenant,
        expires_ms: key.expires_ms,
    })
}

/// Records a change of a key in the audit log, in the transaction of the change.
async fn audit(
    write: &mut Write,
    action: &str,
    key: &str,
    (before, after): (&Value, &Value),
) -> Result<(), StoreError> {
    let entry = AuditEntry::new(write.actor(), action, "ok").about("key", key);
    write
        .append_audit(&entry.with_states(before, after))
        .await?;
    Ok(())
}

fn event(kind: &'static str, detail: serde_json::Value) -> NewEvent<'static> {
    NewEvent {
        kind,
        model: "",
        version: None,
        detail,
    }
}

fn generate() -> Result<NewApiKey, ApiKeyError> {
    NewApiKey::generate().map_err(|error| ApiKeyError::Random(error.to_string()))
}

/// 16 hexadecimal digits.
fn random_id() -> Result<String, ApiKeyError> {
    let id = getrandom::u64().map_err(|error| ApiKeyError::Random(error.to_string()))?;
    Ok(format!("{id:016x}"))
}

fn after(now_ms: i64, time: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

fn check_name(name: &str) -> Result<(), ApiKeyError> {
    if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_name_byte) {
        return Ok(());
    }
    Err(ApiKeyError::Name(name.chars().take(128).collect()))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte)
}
