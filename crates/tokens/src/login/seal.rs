//! What a browser keeps for the server, and can neither read nor change.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::LoginError;

/// Longest text that is opened, in bytes.
const MAX_SEALED_BYTES: usize = 4096;

/// Seals with AES-256-GCM and a random key that only this process has. Nonces are random: at 96 bits
/// two of them are equal only after far more logins than a process sees (NIST SP 800-38D, 8.3).
pub struct LoginSeal(LessSafeKey);

impl LoginSeal {
    /// A seal with a new key.
    pub fn new() -> Result<Self, LoginError> {
        let mut key = [0; 32];
        fill(&mut key)?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| no_random())?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// The sealed form of a value, as text for a cookie.
    pub fn seal(&self, value: &impl Serialize) -> Result<String, LoginError> {
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce)?;
        let mut text = serde_json::to_vec(value).map_err(|_| LoginError::State)?;
        let sealed = self.0.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut text,
        );
        sealed.map_err(|_| LoginError::State)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat()))
    }

    /// The value that was sealed.
    ///
    /// # Errors
    /// [`LoginError::State`] if this seal did not make the text.
    pub fn open<T: DeserializeOwned>(&self, sealed: &str) -> Result<T, LoginError> {
        if sealed.len() > MAX_SEALED_BYTES {
            return Err(LoginError::State);
        }
        let mut bytes = URL_SAFE_NO_PAD
            .decode(sealed)
            .map_err(|_| LoginError::State)?;
        let (nonce, text) = bytes
            .split_at_mut_checked(NONCE_LEN)
            .ok_or(LoginError::State)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| LoginError::State)?;
        let opened = self.0.open_in_place(nonce, Aad::empty(), text);
        let opened = opened.map_err(|_| LoginError::State)?;
        serde_json::from_slice(opened).map_err(|_| LoginError::State)
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), LoginError> {
    SystemRandom::new().fill(bytes).map_err(|_| no_random())
}

fn no_random() -> LoginError {
    LoginError::Issuer("the system has no random bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_seal_that_made_a_text_opens_it_and_only_as_it_was() {
        let (seal, other) = (LoginSeal::new().unwrap(), LoginSeal::new().unwrap());
        let sealed = seal.seal(&"secret").unwrap();
        assert_ne!(sealed, seal.seal(&"secret").unwrap(), "a nonce of its own");
        assert_eq!(seal.open::<String>(&sealed).unwrap(), "secret");
        assert!(other.open::<String>(&sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(seal.open::<String>(&changed).is_err(), "{at}");
        }
        for wrong in ["", "AAAA", "not base64!", &"A".repeat(5000)] {
            assert!(seal.open::<String>(wrong).is_err(), "{wrong}");
        }
    }
}
