//! Which keys were seen before.

use std::sync::atomic::{AtomicU64, Ordering};

/// Says of each sticky key whether this is its first request since the start of a rollout or experiment.
///
/// Requests of one user are alike: one user whose requests always fail, and who has the new version, looks
/// like a bad version to a test that counts requests. So where assignment is sticky, only the first
/// request of each key counts as evidence, which makes users the unit that was assigned by chance.
///
/// Keys are remembered by one bit of their hash. Two keys with one bit count as one: that loses
/// evidence, but of both versions alike, and never counts a key twice. With as many bits as keys, a
/// third of the keys is lost; choose ten times as many.
#[derive(Debug)]
pub struct FirstSeen {
    words: Box<[AtomicU64]>,
}

impl FirstSeen {
    /// Has seen nothing yet. `bits` is rounded up to a multiple of 64.
    pub fn with_bits(bits: usize) -> Self {
        let words = (0..bits.div_ceil(64).max(1)).map(|_| AtomicU64::new(0));
        Self {
            words: words.collect(),
        }
    }

    /// Whether a key, given by [`Choice::key_hash`](super::Choice::key_hash), is new; from now on it is
    /// not.
    pub fn is_first(&self, key_hash: u64) -> bool {
        // The high bits of the hash chose the version; these must not depend on it.
        let mixed = key_hash.wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(32);
        let bits = self.words.len() as u128 * 64;
        let bit = (u128::from(mixed) * bits) >> 64;
        let (word, mask) = ((bit / 64) as usize, 1 << (bit % 64));
        self.words[word].fetch_or(mask, Ordering::Relaxed) & mask == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assign::Salt;

    #[test]
    fn a_key_is_new_once_and_few_are_lost_in_both_halves_alike() {
        let seen = FirstSeen::with_bits(1 << 17);
        let salt = Salt::of("fraud");
        let mut new = [0; 2];
        for user in 0..13_000 {
            let hash = salt.hash(&format!("user-{user}"));
            new[usize::from(hash >> 63 == 1)] += u32::from(seen.is_first(hash));
            assert!(!seen.is_first(hash));
        }
        // A twentieth is lost: 13 000 of 131 072 bits.
        assert!(new.iter().all(|new| (6000..6400).contains(new)), "{new:?}");
    }
}
