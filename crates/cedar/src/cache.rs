//! Decisions that were made before.
//!
//! A cache belongs to one set of policies and ends with it, so that no decision outlives the policies
//! that it was made by.

use std::hash::{Hash, Hasher, RandomState};

use hashbrown::{Equivalent, HashMap};
use parking_lot::RwLock;
use tidegate_gateway::{Extent, Identity, Permission, PolicyDecision};

/// More of them make requests wait for one another less often.
const SHARDS: usize = 16;
/// The most decisions that a shard keeps: 20,000 together.
const MAX_IN_SHARD: usize = 1250;
/// The longest name of a resource that is kept, in bytes: clients choose names.
const MAX_NAME_BYTES: usize = 256;

/// Reading takes a shared lock and one look-up, and nothing from time to time: a cache that tidies up
/// behind readers takes them microseconds.
pub(crate) struct DecisionCache {
    shards: [RwLock<Shard>; SHARDS],
}

/// Its hashes are keyed, since clients choose names.
type Shard = HashMap<Key, PolicyDecision, RandomState>;

/// A question, without the text of the resource.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question<'a> {
    fingerprint: &'a [u8; 32],
    permission: Permission,
    extent: Extent<'a>,
}

struct Key {
    fingerprint: [u8; 32],
    permission: Permission,
    extent: KeptExtent,
}

enum KeptExtent {
    One(Box<str>),
    All,
    Any,
}

impl Default for DecisionCache {
    fn default() -> Self {
        let shard = |_| RwLock::new(HashMap::with_hasher(RandomState::new()));
        Self {
            shards: std::array::from_fn(shard),
        }
    }
}

impl DecisionCache {
    pub(crate) fn get(&self, question: Question<'_>) -> Option<PolicyDecision> {
        self.shard(question).read().get(&question).copied()
    }

    pub(crate) fn keep(&self, question: Question<'_>, decision: PolicyDecision) {
        if question.name().len() > MAX_NAME_BYTES {
            return;
        }
        let mut shard = self.shard(question).write();
        if shard.len() >= MAX_IN_SHARD {
            // What is still asked comes back with one evaluation each.
            shard.clear();
        }
        shard.insert(Key::of(question), decision);
    }

    /// By principal and name, so that the questions of one principal are in all shards.
    fn shard(&self, question: Question<'_>) -> &RwLock<Shard> {
        let name = question.name().bytes();
        let sum = name.fold(question.fingerprint[8], u8::wrapping_add);
        &self.shards[sum as usize % SHARDS]
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }
}

impl<'a> Question<'a> {
    pub(crate) fn new(identity: &'a Identity, permission: Permission, extent: Extent<'a>) -> Self {
        Self {
            fingerprint: identity.fingerprint(),
            permission,
            extent,
        }
    }

    fn name(&self) -> &str {
        match self.extent {
            Extent::One(name) => name,
            Extent::All | Extent::Any => "",
        }
    }
}

impl Key {
    fn of(question: Question<'_>) -> Self {
        Self {
            fingerprint: *question.fingerprint,
            permission: question.permission,
            extent: match question.extent {
                Extent::One(name) => KeptExtent::One(name.into()),
                Extent::All => KeptExtent::All,
                Extent::Any => KeptExtent::Any,
            },
        }
    }

    fn question(&self) -> Question<'_> {
        Question {
            fingerprint: &self.fingerprint,
            permission: self.permission,
            extent: match &self.extent {
                KeptExtent::One(name) => Extent::One(name),
                KeptExtent::All => Extent::All,
                KeptExtent::Any => Extent::Any,
            },
        }
    }
}

impl Hash for Question<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // A part of the digest is as good as all of it; equality looks at the whole.
        state.write(&self.fingerprint[..8]);
        state.write_u8(self.permission as u8);
        state.write(self.name().as_bytes());
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.question().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.question() == other.question()
    }
}

impl Eq for Key {}

impl Equivalent<Key> for Question<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.question()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_gateway::Principal;

    use super::*;

    #[test]
    fn it_never_keeps_more_than_its_shards_hold() {
        let cache = DecisionCache::default();
        let ada = Identity::new(Principal::ApiKey("ada".into()), "", Vec::new());
        for number in 0..2 * SHARDS * MAX_IN_SHARD {
            let name = format!("e{number}");
            let question = Question::new(&ada, Permission::Call, Extent::One(&name));
            cache.keep(question, PolicyDecision::Permit);
            assert_eq!(cache.get(question), Some(PolicyDecision::Permit));
        }
        assert!(cache.len() <= SHARDS * MAX_IN_SHARD);
    }
}
