//! The form of API keys: `tdg_`, 43 random characters, and 6 characters of a checksum.
//!
//! The prefix lets scanners find keys in code and logs. With the checksum a key that was mistyped
//! or cut off is refused without a look at the table, and a scanner rarely takes another text for a
//! key. (The same idea as in GitHub's tokens, described in its blog on 5 April 2021.)

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What every key begins with.
pub const KEY_PREFIX: &str = "tdg_";
/// 62^43 is more than 2^256.
const RANDOM_CHARACTERS: usize = 43;
const CHECKSUM_CHARACTERS: usize = 6;
/// Characters after the prefix that are shown in lists: enough to tell keys apart, too few to guess.
const SHOWN_CHARACTERS: usize = 6;
const LENGTH: usize = KEY_PREFIX.len() + RANDOM_CHARACTERS + CHECKSUM_CHARACTERS;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What is stored of a key: its SHA-256. A key has 256 random bits, so that nobody finds it from its
/// hash, and a slow hash would only make requests slow.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest(pub(crate) [u8; 32]);

impl KeyDigest {
    /// The digest of a key.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// From the form of [`fmt::Display`].
    pub fn from_hex(hex: &str) -> Option<Self> {
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(digest))
    }

    /// What a table looks it up by. Somebody who measures the time of the look-up learns bits of a
    /// hash that they cannot choose.
    pub(crate) fn bucket(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}

/// A new key, which is shown once. It is erased from memory when it is dropped, and does not print.
pub struct NewApiKey(Zeroizing<String>);

impl NewApiKey {
    /// A key of 256 random bits.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut key = Zeroizing::new(String::with_capacity(LENGTH));
        key.push_str(KEY_PREFIX);
        while key.len() < KEY_PREFIX.len() + RANDOM_CHARACTERS {
            let mut bytes = Zeroizing::new([0u8; 64]);
            getrandom::fill(&mut *bytes)?;
            // Six bits each. Two of the 64 values have no character and are left out, so that all 62 are
            // equally likely.
            let characters = bytes
                .iter()
                .filter_map(|byte| ALPHABET.get(usize::from(byte & 63)));
            let missing = KEY_PREFIX.len() + RANDOM_CHARACTERS - key.len();
            for character in characters.take(missing) {
                key.push(char::from(*character));
            }
        }
        let checksum = checksum(&key);
        key.extend(checksum.map(char::from));
        Ok(Self(key))
    }

    /// The key, to show it to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(&self.0)
    }

    /// Its beginning, to tell it from others.
    pub fn hint(&self) -> &str {
        &self.0[..KEY_PREFIX.len() + SHOWN_CHARACTERS]
    }
}

impl fmt::Debug for NewApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewApiKey(..)")
    }
}

/// Whether a text has the form of a key, its checksum included.
pub(crate) fn has_valid_checksum(text: &str) -> bool {
    if text.len() != LENGTH || !text.is_ascii() {
        return false;
    }
    let (key, sum) = text.split_at(LENGTH - CHECKSUM_CHARACTERS);
    checksum(key) == sum.as_bytes()
}

/// The CRC-32 of a text in base 62.
fn checksum(text: &str) -> [u8; CHECKSUM_CHARACTERS] {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [b'0'; CHECKSUM_CHARACTERS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_a_checksum_that_finds_typing_mistakes() {
        let key = NewApiKey::generate().unwrap();
        let text = key.reveal();
        assert_eq!(text.len(), 53);
        assert!(has_valid_checksum(text), "{text}");
        for position in KEY_PREFIX.len()..text.len() {
            let mut wrong = text.as_bytes().to_vec();
            wrong[position] = if wrong[position] == b'x' { b'y' } else { b'x' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert!(!has_valid_checksum(&wrong), "{position}");
        }
        assert!(!has_valid_checksum(&text[..52]));
    }

    #[test]
    fn keys_differ_and_do_not_print() {
        let (one, two) = (
            NewApiKey::generate().unwrap(),
            NewApiKey::generate().unwrap(),
        );
        assert_ne!(one.reveal(), two.reveal());
        assert!(!format!("{one:?}{:?}", one.digest()).contains(&one.reveal()[4..10]));
    }

    #[test]
    fn the_checksum_is_the_crc_32_in_base_62() {
        let crc = crc32fast::hash(b"123456789");
        assert_eq!(crc, 0xcbf4_3926, "the check value of CRC-32/ISO-HDLC");
        let value = checksum("123456789")
            .into_iter()
            .fold(0u64, |value, digit| {
                let digit = ALPHABET.iter().position(|known| *known == digit).unwrap();
                value * 62 + digit as u64
            });
        assert_eq!(value, 0xcbf4_3926);
    }

    #[test]
    fn digests_are_read_back() {
        let digest = KeyDigest::of("tdg_x");
        assert_eq!(KeyDigest::from_hex(&digest.to_string()), Some(digest));
        assert_eq!(KeyDigest::from_hex("00"), None);
    }
}
