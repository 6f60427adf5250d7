//! What an answer depends on, as a hash.

use sha2::{Digest, Sha256};

/// The hash of everything that an answer depends on. Nobody finds two requests of the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The keys of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheKeys {
    /// In this process.
    pub own: CacheKey,
    /// Among all servers; `None` if the answer is not shared.
    pub shared: Option<CacheKey>,
}

impl From<CacheKey> for CacheKeys {
    fn from(own: CacheKey) -> Self {
        Self { own, shared: None }
    }
}

/// Makes a [`CacheKey`] of parts. Each part is hashed with its length, so that no two lists of parts
/// make the same key.
#[derive(Clone, Debug, Default)]
pub struct CacheKeyHasher(Sha256);

impl CacheKeyHasher {
    /// Adds bytes.
    pub fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// Adds a number.
    pub fn add_number(&mut self, number: u64) {
        self.add(&number.to_le_bytes());
    }

    /// The key of all parts.
    pub fn finish(self) -> CacheKey {
        CacheKey(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[&[u8]]) -> CacheKey {
        let mut hasher = CacheKeyHasher::default();
        for part in parts {
            hasher.add(part);
        }
        hasher.finish()
    }

    #[test]
    fn where_parts_end_makes_a_difference() {
        assert_eq!(key(&[b"ab", b"c"]), key(&[b"ab", b"c"]));
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
        assert_ne!(key(&[b"a"]), key(&[b"a", b""]));
    }
}
