//! Encryption at rest: every object has a data key of its own, which the registry's key wraps.

mod cipher;
mod command;

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

/// What the database keeps of an encrypted object.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    /// The key that wraps the data key.
    key_id: String,
    /// The wrapped data key, as hexadecimal digits.
    wrapped: String,
    /// The nonce prefix of the object's chunks, as hexadecimal digits.
    nonce: String,
}

const NONCE_BYTES: usize = 12;

impl Keyring {
    /// Reads the keys that a configuration names.
    pub(crate) fn open(config: &EncryptionConfig) -> Result<Self> {
        let file = |path: &std::path::PathBuf| {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Error::new(
                    ErrorCode::KeyUnavailable,
                    format!("{}: {error}", path.display()),
                )
            })?;
            Wrapping::key(&text, &path.display().to_string())
        };
        let current = match (
            &config.key_file,
            &config.key_env,
            config.key_command.is_empty(),
        ) {
            (None, None, true) => None,
            (Some(path), None, true) => Some(file(path)?),
            (None, Some(name), true) => {
                let text = std::env::var(name).map_err(|error| {
                    Error::new(
                        ErrorCode::KeyUnavailable,
                        format!("environment {name}: {error}"),
                    )
                })?;
                Some(Wrapping::key(&text, &format!("environment {name}"))?)
            }
            (None, None, false) => {
                let Some(id) = config.key_id.clone() else {
                    return Err(config_error(
                        "key_command needs key_id, the name of the key behind it",
                    ));
                };
                Some(Wrapping::Command {
                    id,
                    command: config.key_command.clone(),
                })
            }
            _ => {
                return Err(config_error(
                    "only one of key_file, key_env and key_command may be set",
                ));
            }
        };
        Ok(Self {
            current,
            previous: config
                .previous_keys
                .iter()
                .map(file)
                .collect::<Result<_>>()?,
        })
    }

    /// A cipher for a new object and the envelope to keep; none where nothing is encrypted.
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

    /// The same data key wrapped by the current key; none if it already is.
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
        let corrupt = || {
            Error::new(
                ErrorCode::EnvelopeCorrupt,
                format!("the envelope of {digest} was changed"),
            )
        };
        let envelope: Envelope = serde_json::from_str(envelope).map_err(|_| corrupt())?;
        let nonce = from_hex(&envelope.nonce)
            .and_then(|nonce| nonce.try_into().ok())
            .ok_or_else(corrupt)?;
        let wrapped = from_hex(&envelope.wrapped).ok_or_else(corrupt)?;
        let known = || self.current.iter().chain(&self.previous);
        let Some(wrapping) = known().find(|wrapping| wrapping.id() == envelope.key_id) else {
            let have: Vec<&str> = known().map(Wrapping::id).collect();
            let have = if have.is_empty() {
                "none".to_owned()
            } else {
                have.join(", ")
            };
            let problem = format!(
                "{digest} is encrypted for key {}, configured is {have}",
                envelope.key_id
            );
            return Err(Error::new(ErrorCode::WrongKey, problem));
        };
        let key = match wrapping {
            Wrapping::Command { command, .. } => command::run(command, "unwrap", &wrapped).await?,
            Wrapping::Key { key, .. } => {
                let (prefix, sealed) = wrapped.split_at_checked(NONCE_BYTES).ok_or_else(corrupt)?;
                let prefix: [u8; NONCE_BYTES] = prefix.try_into().map_err(|_| corrupt())?;
                let aad = associated(digest, &nonce);
                let payload = Payload {
                    msg: sealed,
                    aad: &aad,
                };
                Aes256Gcm::new(key.into())
                    .decrypt(&Nonce::from(prefix), payload)
                    .map_err(|_| corrupt())?
            }
        };
        Ok((
            key.try_into().map_err(|_| corrupt())?,
            nonce,
            envelope.key_id,
        ))
    }
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
    fn key(text: &str, place: &str) -> Result<Self> {
        let key = from_hex(text.trim()).and_then(|key| <[u8; 32]>::try_from(key).ok());
        let wrong = || {
            Error::new(
                ErrorCode::InvalidKey,
                format!("{place}: an encryption key has 64 hexadecimal digits"),
            )
        };
        let key = key.ok_or_else(wrong)?;
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
