//! Encryption at rest: every object has a data key of its own, which the registry's key wraps.

mod cipher;
mod command;

use std::path::Path;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use serde::{Deserialize, Serialize};

pub(crate) use cipher::{CHUNK, Cipher, TRAILER, stored_chunks, stored_length};

use crate::digest::{from_hex, to_hex};
use crate::keys::random;
use crate::{Digest, EncryptionConfig, Error, ErrorCode, Result};

/// The keys that wrap data keys: the current one, and earlier ones that still unwrap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keyring {
    current: Option<Wrapping>,
    previous: Vec<Wrapping>,
}

#[derive(Clone)]
enum Wrapping {
    Key { id: String, key: [u8; 32] },
    Command { id: String, command: Vec<String> },
}

/// The fields that the database stores of an encrypted object.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    /// The key that wraps the data key.
    key_id: String,
    /// The wrapped data key, as hexadecimal digits.
    wrapped: String,
    /// The nonce prefix of the object's chunks, as hexadecimal digits.
    nonce: String,
}

// 96 bits, the nonce length that AES-GCM is specified for (NIST SP 800-38D, 5.2.1.1).
const NONCE_BYTES: usize = 12;

impl Keyring {
    /// Reads the keys that a configuration names.
    pub(crate) fn open(config: &EncryptionConfig) -> Result<Self> {
        let current = current_key(config)?;
        let previous = config
            .previous_keys
            .iter()
            .map(|path| Wrapping::from_file(path))
            .collect::<Result<_>>()?;
        Ok(Self { current, previous })
    }

    /// A cipher for a new object, and the envelope to store; `None` without encryption.
    pub(crate) async fn seal(&self, digest: &Digest) -> Result<Option<(Cipher, String)>> {
        let Some(wrapping) = &self.current else {
            return Ok(None);
        };
        let (key, nonce) = (random::<32>()?, random::<7>()?);
        let envelope = wrap(wrapping, &key, &nonce, digest).await?;
        Ok(Some((Cipher::new(&key, &nonce, digest), envelope)))
    }

    /// The cipher of an object, from its envelope.
    pub(crate) async fn open_envelope(&self, envelope: &str, digest: &Digest) -> Result<Cipher> {
        let (key, nonce, _) = self.unwrap(envelope, digest).await?;
        Ok(Cipher::new(&key, &nonce, digest))
    }

    /// The same data key, wrapped by the current key; `None` if it already is.
    pub(crate) async fn rewrap(&self, envelope: &str, digest: &Digest) -> Result<Option<String>> {
        let Some(current) = &self.current else {
            return Err(config_error("there is no current key to wrap with"));
        };
        let (key, nonce, id) = self.unwrap(envelope, digest).await?;
        if id == current.id() {
            return Ok(None);
        }
        Ok(Some(wrap(current, &key, &nonce, digest).await?))
    }

    async fn unwrap(&self, envelope: &str, digest: &Digest) -> Result<([u8; 32], [u8; 7], String)> {
        let envelope: Envelope =
            serde_json::from_str(envelope).map_err(|_| corrupt_envelope(digest))?;
        let nonce = from_hex(&envelope.nonce)
            .and_then(|nonce| nonce.try_into().ok())
            .ok_or_else(|| corrupt_envelope(digest))?;
        let wrapped = from_hex(&envelope.wrapped).ok_or_else(|| corrupt_envelope(digest))?;
        let key = match self.wrapping(&envelope.key_id, digest)? {
            Wrapping::Command { command, .. } => command::run(command, "unwrap", &wrapped).await?,
            Wrapping::Key { key, .. } => {
                decrypt(key, &wrapped, digest, &nonce).ok_or_else(|| corrupt_envelope(digest))?
            }
        };
        let key = key.try_into().map_err(|_| corrupt_envelope(digest))?;
        Ok((key, nonce, envelope.key_id))
    }

    /// The key that an object was encrypted for.
    fn wrapping(&self, id: &str, digest: &Digest) -> Result<&Wrapping> {
        self.known()
            .find(|wrapping| wrapping.id() == id)
            .ok_or_else(|| {
                let have: Vec<&str> = self.known().map(Wrapping::id).collect();
                let have = if have.is_empty() {
                    "none".to_owned()
                } else {
                    have.join(", ")
                };
                let problem = format!("{digest} is encrypted for key {id}, configured is {have}");
                Error::new(ErrorCode::WrongKey, problem)
            })
    }

    fn known(&self) -> impl Iterator<Item = &Wrapping> {
        self.current.iter().chain(&self.previous)
    }
}

/// The key that new objects are encrypted for; `None` if encryption is not configured.
fn current_key(config: &EncryptionConfig) -> Result<Option<Wrapping>> {
    let has_command = !config.key_command.is_empty();
    let key = match (&config.key_file, &config.key_env, has_command) {
        (None, None, false) => return Ok(None),
        (Some(path), None, false) => Wrapping::from_file(path)?,
        (None, Some(name), false) => Wrapping::from_environment(name)?,
        (None, None, true) => {
            // A command has no content to derive an id from, as a key has.
            let Some(id) = config.key_id.clone() else {
                return Err(config_error(
                    "key_command needs key_id, the name of the key behind it",
                ));
            };
            Wrapping::Command {
                id,
                command: config.key_command.clone(),
            }
        }
        _ => {
            return Err(config_error(
                "only one of key_file, key_env and key_command may be set",
            ));
        }
    };
    Ok(Some(key))
}

/// A data key in plain; `None` if the wrapped key or the nonce was changed, or if the digest is
/// that of another object.
fn decrypt(outer: &[u8; 32], wrapped: &[u8], digest: &Digest, nonce: &[u8; 7]) -> Option<Vec<u8>> {
    let (prefix, sealed) = wrapped.split_at_checked(NONCE_BYTES)?;
    let prefix: [u8; NONCE_BYTES] = prefix.try_into().ok()?;
    let aad = associated(digest, nonce);
    let payload = Payload {
        msg: sealed,
        aad: &aad,
    };
    Aes256Gcm::new(outer.into())
        .decrypt(&Nonce::from(prefix), payload)
        .ok()
}

fn corrupt_envelope(digest: &Digest) -> Error {
    Error::new(
        ErrorCode::EnvelopeCorrupt,
        format!("the encrypted data key of {digest} was changed"),
    )
}

async fn wrap(
    wrapping: &Wrapping,
    key: &[u8; 32],
    nonce: &[u8; 7],
    digest: &Digest,
) -> Result<String> {
    let wrapped = match wrapping {
        Wrapping::Command { command, .. } => command::run(command, "wrap", key).await?,
        Wrapping::Key { key: outer, .. } => {
            let prefix = random::<NONCE_BYTES>()?;
            let aad = associated(digest, nonce);
            let sealed = Aes256Gcm::new(outer.into()).encrypt(
                &Nonce::from(prefix),
                Payload {
                    msg: key,
                    aad: &aad,
                },
            );
            let sealed = sealed.map_err(|_| {
                Error::new(ErrorCode::KeyUnavailable, "the data key cannot be wrapped")
            })?;
            [prefix.as_slice(), &sealed].concat()
        }
    };
    let envelope = Envelope {
        key_id: wrapping.id().to_owned(),
        wrapped: to_hex(&wrapped),
        nonce: to_hex(nonce),
    };
    Ok(serde_json::to_string(&envelope).expect("plain data can be written"))
}

/// Binds a wrapped key to its object.
fn associated(digest: &Digest, nonce: &[u8; 7]) -> Vec<u8> {
    [b"tidegate data key 1".as_slice(), digest.bytes(), nonce].concat()
}

impl Wrapping {
    fn from_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(
                ErrorCode::KeyUnavailable,
                format!("{}: {error}", path.display()),
            )
        })?;
        Self::key(&text, &path.display().to_string())
    }

    fn from_environment(name: &str) -> Result<Self> {
        let text = std::env::var(name).map_err(|error| {
            Error::new(
                ErrorCode::KeyUnavailable,
                format!("environment {name}: {error}"),
            )
        })?;
        Self::key(&text, &format!("environment {name}"))
    }

    fn key(text: &str, place: &str) -> Result<Self> {
        let key = from_hex(text.trim()).and_then(|key| <[u8; 32]>::try_from(key).ok());
        let key = key.ok_or_else(|| {
            Error::new(
                ErrorCode::InvalidKey,
                format!("{place}: an encryption key has 64 hexadecimal digits"),
            )
        })?;
        // The database keeps the id in plain text. A hash with a prefix of its own tells keys apart
        // and gives nothing of the key away.
        let id = Digest::of(&[b"tidegate key id".as_slice(), &key].concat()).hex()[..16].to_owned();
        Ok(Self::Key { id, key })
    }

    fn id(&self) -> &str {
        match self {
            Self::Key { id, .. } | Self::Command { id, .. } => id,
        }
    }
}

impl std::fmt::Debug for Wrapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "key {}", self.id())
    }
}

fn config_error(problem: &str) -> Error {
    Error::new(
        ErrorCode::InvalidConfig,
        format!("registry.encryption: {problem}"),
    )
}

#[cfg(test)]
mod tests;
