//! The API keys that a server knows, as requests look them up.

use std::collections::HashMap;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::api_key::{KEY_PREFIX, has_valid_checksum};
use crate::identity::LastUsed;
use crate::{BadCredentials, Grant, Identity, KeyDigest, Principal};

/// A key as it is stored. Revoked keys are left out.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// What tells it from all others, also from one of the same name that it replaces.
    pub id: String,
    /// The name that people gave it.
    pub name: String,
    /// The digest of its text.
    pub digest: KeyDigest,
    /// The tenant that it belongs to; empty for none.
    pub tenant: String,
    /// What its owner may do.
    pub grants: Vec<Grant>,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: Option<i64>,
}

/// Keys by their digests.
#[derive(Debug, Default)]
pub struct KeyTable {
    buckets: HashMap<u64, Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    id: String,
    digest: KeyDigest,
    identity: Arc<Identity>,
}

impl KeyTable {
    /// A table of these keys. It goes on counting where `previous` noted when each was used.
    pub fn new(keys: Vec<StoredKey>, previous: &Self) -> Self {
        let used: HashMap<&str, &Arc<LastUsed>> = previous
            .entries()
            .map(|entry| (entry.id.as_str(), &entry.identity.last_used))
            .collect();
        let mut table = Self::default();
        for key in keys {
            let last_used = used.get(key.id.as_str()).copied().cloned();
            table.insert(key, last_used.unwrap_or_default());
        }
        table
    }

    fn insert(&mut self, key: StoredKey, last_used: Arc<LastUsed>) {
        let grants = key.grants.into_iter().map(Arc::new).collect();
        let identity = Identity::new(Principal::ApiKey(key.name.into()), key.tenant, grants)
            .valid_until(key.expires_ms)
            .counting_uses(last_used);
        let entry = Entry {
            id: key.id,
            digest: key.digest,
            identity: Arc::new(identity),
        };
        self.buckets
            .entry(entry.digest.bucket())
            .or_default()
            .push(entry);
    }

    /// Whether a text is meant to be an API key.
    pub(crate) fn is_key(text: &str) -> bool {
        text.starts_with(KEY_PREFIX)
    }

    /// The owner of a key.
    pub(crate) fn find(&self, key: &str, now_ms: i64) -> Result<&Arc<Identity>, BadCredentials> {
        if !has_valid_checksum(key) {
            return Err(BadCredentials::Checksum);
        }
        self.find_digest(&KeyDigest::of(key), now_ms)
    }

    /// The owner of the key with a digest.
    pub(crate) fn find_digest(
        &self,
        digest: &KeyDigest,
        now_ms: i64,
    ) -> Result<&Arc<Identity>, BadCredentials> {
        let entry = self.entry(digest).ok_or(BadCredentials::UnknownKey)?;
        if entry.identity.has_expired(now_ms) {
            return Err(BadCredentials::ExpiredKey);
        }
        entry.identity.last_used.set(now_ms);
        Ok(&entry.identity)
    }

    /// Compares whole digests in constant time.
    fn entry(&self, digest: &KeyDigest) -> Option<&Entry> {
        let bucket = self.buckets.get(&digest.bucket())?;
        bucket
            .iter()
            .find(|entry| entry.digest.0.ct_eq(&digest.0).into())
    }

    /// When each key was used last, by its id, in milliseconds since 1970; only those that were.
    pub fn last_used(&self) -> impl Iterator<Item = (&str, i64)> {
        self.entries()
            .filter_map(|entry| Some((entry.id.as_str(), entry.identity.last_used.ms()?)))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NewApiKey;

    fn stored(key: &NewApiKey, expires_ms: Option<i64>) -> StoredKey {
        StoredKey {
            id: "1".to_owned(),
            name: "ci".to_owned(),
            digest: key.digest(),
            tenant: "acme".to_owned(),
            grants: Vec::new(),
            expires_ms,
        }
    }

    #[test]
    fn a_key_leads_to_its_owner_until_it_expires() {
        let key = NewApiKey::generate().unwrap();
        let table = KeyTable::new(vec![stored(&key, Some(1000))], &KeyTable::default());
        let identity = table.find(key.reveal(), 999).unwrap();
        assert_eq!(identity.principal().to_string(), "key:ci");
        assert_eq!(identity.tenant(), "acme");
        let expired = table.find(key.reveal(), 1000).unwrap_err();
        assert_eq!(expired, BadCredentials::ExpiredKey);
    }

    #[test]
    fn another_key_and_a_mistyped_one_are_refused() {
        let (key, other) = (
            NewApiKey::generate().unwrap(),
            NewApiKey::generate().unwrap(),
        );
        let table = KeyTable::new(vec![stored(&key, None)], &KeyTable::default());
        let unknown = table.find(other.reveal(), 0).unwrap_err();
        assert_eq!(unknown, BadCredentials::UnknownKey);
        let cut = &key.reveal()[..40];
        assert_eq!(table.find(cut, 0).unwrap_err(), BadCredentials::Checksum);
    }

    #[test]
    fn a_new_table_remembers_when_keys_were_used() {
        let key = NewApiKey::generate().unwrap();
        let first = KeyTable::new(vec![stored(&key, None)], &KeyTable::default());
        assert_eq!(first.last_used().count(), 0);
        first.find(key.reveal(), 5000).unwrap();
        let second = KeyTable::new(vec![stored(&key, None)], &first);
        assert_eq!(second.last_used().collect::<Vec<_>>(), [("1", 5000)]);
    }
}
