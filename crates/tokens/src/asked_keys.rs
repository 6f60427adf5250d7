//! Which keys strangers have asked for that the key set did not have.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How many are remembered. Whoever sends more ids than that gains no more fetches: their rate is
/// bounded too.
const MAX_REMEMBERED: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
/// How long at least a key that was not found is not looked for again.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Why the key set is looked at again.
#[derive(Clone, Copy, Hash)]
pub(crate) enum Doubt {
    /// It has no key of that id.
    Unknown,
    /// Its key of that id does not fit the signature.
    Changed,
}

/// Key ids for which the key set was fetched again.
pub(crate) struct AskedKeys {
    // Ids come from strangers, so only their hashes are kept, with a key that is not known outside.
    hasher: RandomState,
    asked_at: Mutex<LruCache<u64, Instant>>,
    remembered_for: Duration,
}

impl AskedKeys {
    /// `min_refresh` is the least time between two fetches: it must not pass for one question twice.
    pub(crate) fn new(min_refresh: Duration) -> Self {
        Self {
            remembered_for: REMEMBERED_FOR.max(2 * min_refresh),
            hasher: RandomState::new(),
            asked_at: Mutex::new(LruCache::new(MAX_REMEMBERED)),
        }
    }

    /// When this was first asked, now at the latest.
    pub(crate) fn ask(&self, doubt: Doubt, key_id: Option<&str>, now: Instant) -> Instant {
        let hash = self.hasher.hash_one((doubt, key_id));
        let mut asked_at = self.asked_at.lock();
        match asked_at.get(&hash) {
            Some(at) if now.duration_since(*at) < self.remembered_for => *at,
            _ => {
                asked_at.put(hash, now);
                now
            }
        }
    }
}
