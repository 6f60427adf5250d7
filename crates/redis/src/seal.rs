//! Seals what is stored: encrypted and authenticated, bound to its name and to the format.
//!
//! ```text
//! format version (1) | nonce (12) | AES-256-GCM of: flags (1) | computed_ms (8) | bytes (4) | payload
//! ```
//!
//! The key of each value is HMAC-SHA-256 of its name with the secret of the configuration. So a value
//! that was cut off, altered, or copied to another name does not open, and whoever reads Redis learns
//! neither answers nor requests.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

/// Changes whenever the format of a value does, that of the payload included.
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 13;
const COMPRESSED: u8 = 1;
/// Smaller payloads are not worth the time.
const MIN_COMPRESSED_BYTES: usize = 512;
const ZSTD_LEVEL: i32 = 1;

/// What a value is sealed and named with.
pub(crate) struct Seal {
    secret: hmac::Key,
    max_bytes: usize,
}

/// A value that was opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) payload: Vec<u8>,
    /// When it was computed, in milliseconds since 1970.
    pub(crate) computed_ms: i64,
}

impl Seal {
    /// Values are at most `max_bytes` long, before and after they are compressed.
    pub(crate) fn new(secret: &str, max_bytes: usize) -> Self {
        Self {
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            max_bytes,
        }
    }

    /// The name of a value, from which its key cannot be told.
    pub(crate) fn name(&self, key: &[u8; 32]) -> String {
        let digest = self.derive(b"name", key);
        digest.as_ref()[..20]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// `None` without randomness.
    pub(crate) fn seal(&self, key: &[u8; 32], value: &Opened) -> Option<Vec<u8>> {
        let (flags, payload) = compressed(&value.payload);
        let payload = payload.as_deref().unwrap_or(&value.payload);
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut plain = Vec::with_capacity(HEADER_BYTES + payload.len());
        plain.push(flags);
        plain.extend(value.computed_ms.to_le_bytes());
        plain.extend(u32::try_from(value.payload.len()).ok()?.to_le_bytes());
        plain.extend(payload);
        let tag = self.cipher(key)?.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from([VERSION]),
            &mut plain,
        );
        let mut sealed = vec![VERSION];
        sealed.extend(nonce);
        sealed.extend(plain);
        sealed.extend(tag.ok()?.as_ref());
        Some(sealed)
    }

    /// `None` for whatever was not sealed for this key, with this secret, in this format.
    pub(crate) fn open(&self, key: &[u8; 32], sealed: &mut [u8]) -> Option<Opened> {
        let (version, rest) = sealed.split_first_mut()?;
        if *version != VERSION {
            return None;
        }
        let (nonce, sealed) = rest.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self
            .cipher(key)?
            .open_in_place(nonce, Aad::from([VERSION]), sealed);
        let (header, payload) = plain.ok()?.split_at_mut_checked(HEADER_BYTES)?;
        let computed_ms = i64::from_le_bytes(header[1..9].try_into().ok()?);
        let bytes = u32::from_le_bytes(header[9..13].try_into().ok()?) as usize;
        if bytes > self.max_bytes {
            return None;
        }
        let payload = match header[0] {
            COMPRESSED => zstd::bulk::decompress(payload, bytes).ok()?,
            _ => payload.to_vec(),
        };
        (payload.len() == bytes).then_some(Opened {
            payload,
            computed_ms,
        })
    }

    fn cipher(&self, key: &[u8; 32]) -> Option<LessSafeKey> {
        let own = self.derive(b"seal", key);
        let own = UnboundKey::new(&AES_256_GCM, own.as_ref()).ok()?;
        Some(LessSafeKey::new(own))
    }

    fn derive(&self, purpose: &[u8], key: &[u8; 32]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(purpose);
        context.update(key);
        context.sign()
    }
}

/// The compressed payload, if that is worth it: at least an eighth smaller.
fn compressed(payload: &[u8]) -> (u8, Option<Vec<u8>>) {
    if payload.len() < MIN_COMPRESSED_BYTES {
        return (0, None);
    }
    match zstd::bulk::compress(payload, ZSTD_LEVEL) {
        Ok(small) if small.len() < payload.len() / 8 * 7 => (COMPRESSED, Some(small)),
        _ => (0, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn seal() -> Seal {
        Seal::new("a secret of the configuration", 1 << 20)
    }

    fn value(payload: &[u8]) -> Opened {
        Opened {
            payload: payload.to_vec(),
            computed_ms: 1_790_000_000_000,
        }
    }

    #[test]
    fn what_is_sealed_opens_again() {
        let random: Vec<u8> = (0..4000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        for payload in [&b""[..], b"abc", &[1; 5000], &random] {
            let mut sealed = seal().seal(&KEY, &value(payload)).unwrap();
            assert_eq!(seal().open(&KEY, &mut sealed), Some(value(payload)));
        }
    }

    #[test]
    fn only_what_gets_smaller_is_compressed() {
        let sealed = |payload: &[u8]| seal().seal(&KEY, &value(payload)).unwrap().len();
        assert!(sealed(&[0; 100_000]) < 200);
        assert_eq!(sealed(&[0; 100]), 100 + 1 + 12 + 13 + 16);
    }

    #[test]
    fn whatever_was_altered_cut_off_or_moved_does_not_open() {
        let sealed = seal().seal(&KEY, &value(b"0.98")).unwrap();
        for end in 0..sealed.len() {
            assert_eq!(
                seal().open(&KEY, &mut sealed[..end].to_vec()),
                None,
                "{end}"
            );
        }
        for place in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[place] ^= 1;
            assert_eq!(seal().open(&KEY, &mut altered), None, "{place}");
        }
        assert_eq!(seal().open(&[8; 32], &mut sealed.clone()), None);
        let other = Seal::new("another secret", 1 << 20);
        assert_eq!(other.open(&KEY, &mut sealed.clone()), None);
        assert_ne!(other.name(&KEY), seal().name(&KEY));
    }

    #[test]
    fn a_value_that_grows_beyond_the_limit_does_not_open() {
        let mut sealed = seal().seal(&KEY, &value(&[0; 100_000])).unwrap();
        let small = Seal::new("a secret of the configuration", 99_999);
        assert_eq!(small.open(&KEY, &mut sealed), None);
    }
}
