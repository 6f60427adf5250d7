//! Tokens that were verified before.

use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};

use crate::VerifiedToken;

/// Threads that look up at the same time seldom meet in one shard.
const SHARDS: usize = 16;

/// The SHA-256 of a whole token. A part of it would not do: two tokens that differ elsewhere would
/// share an entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(crate) fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }
}

/// The most recently used tokens that one key set has verified. It lives and dies with that key set.
pub(crate) struct TokenCache {
    shards: [Mutex<LruCache<TokenDigest, Arc<VerifiedToken>>>; SHARDS],
    max_in_shard: usize,
}

impl TokenCache {
    pub(crate) fn new(max_tokens: usize) -> Self {
        Self {
            // Unbounded ones take no memory before they need it; `insert` bounds them.
            shards: std::array::from_fn(|_| Mutex::new(LruCache::unbounded())),
            max_in_shard: max_tokens.div_ceil(SHARDS),
        }
    }

    pub(crate) fn get(&self, digest: &TokenDigest) -> Option<Arc<VerifiedToken>> {
        self.shard(digest).lock().get(digest).cloned()
    }

    pub(crate) fn insert(&self, digest: TokenDigest, token: Arc<VerifiedToken>) {
        let mut shard = self.shard(&digest).lock();
        shard.put(digest, token);
        while shard.len() > self.max_in_shard {
            shard.pop_lru();
        }
    }

    pub(crate) fn remove(&self, digest: &TokenDigest) {
        self.shard(digest).lock().pop(digest);
    }

    fn shard(&self, digest: &TokenDigest) -> &Mutex<LruCache<TokenDigest, Arc<VerifiedToken>>> {
        &self.shards[usize::from(digest.0[0]) % SHARDS]
    }
}
