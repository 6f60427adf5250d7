//! Signing keys: the key that signs on this machine, trusted keys and revoked keys.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::{Digest, Error, ErrorCode, Result};

const SIGNING: &str = "signing.pem";
const TRUSTED: &str = "trusted";
const REVOKED: &str = "revoked";

/// The id of a public key: the first 16 hexadecimal digits of the SHA-256 of its DER form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    /// The id of a key.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidKey`] if it has no DER form.
    pub(crate) fn of(key: &VerifyingKey) -> Result<Self> {
        let der = key
            .to_public_key_der()
            .map_err(|error| invalid("the key", &error))?;
        Ok(Self(Digest::of(der.as_bytes()).hex()[..16].to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.len() == 16
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(
            ErrorCode::InvalidKey,
            format!("{text:?} is not a key id: a key id has 16 hexadecimal digits"),
        ))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key that is in the folder, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// Its id.
    pub id: KeyId,
    /// Whether it is revoked.
    pub revoked: bool,
    /// Whether it is the one that signs here.
    pub signs: bool,
}

/// The keys of a folder.
#[derive(Clone, Debug, Default)]
pub struct SigningKeys {
    signer: Option<(KeyId, SigningKey)>,
    trusted: BTreeMap<KeyId, VerifyingKey>,
    revoked: BTreeMap<KeyId, VerifyingKey>,
}

impl SigningKeys {
    /// Reads the keys of a folder; a missing folder has none.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidKey`] or [`ErrorCode::KeyUnavailable`] name the file that cannot be
    /// read.
    pub fn open(folder: &Path) -> Result<Self> {
        let signing = folder.join(SIGNING);
        let signer = match read(&signing)? {
            None => None,
            Some(pem) => {
                let key = SigningKey::from_pkcs8_pem(&pem)
                    .map_err(|error| invalid(&signing.display().to_string(), &error))?;
                Some((KeyId::of(&key.verifying_key())?, key))
            }
        };
        let revoked = public_keys(&folder.join(REVOKED))?;
        let mut trusted = public_keys(&folder.join(TRUSTED))?;
        // Revoking leaves the file of the trusted key where it is, so a key can be in both folders.
        trusted.retain(|id, _| !revoked.contains_key(id));
        Ok(Self {
            signer,
            trusted,
            revoked,
        })
    }

    /// The key that signs here, if there is one that is not revoked.
    pub(crate) fn signer(&self) -> Option<(&KeyId, &SigningKey)> {
        self.signer
            .as_ref()
            .map(|(id, key)| (id, key))
            .filter(|(id, _)| !self.revoked.contains_key(*id))
    }

    pub(crate) fn trusted(&self, id: &KeyId) -> Option<&VerifyingKey> {
        self.trusted.get(id)
    }

    pub(crate) fn is_revoked(&self, id: &KeyId) -> bool {
        self.revoked.contains_key(id)
    }

    /// Every key of the folder.
    pub fn list(&self) -> Vec<TrustedKey> {
        let trusted = self.trusted.keys().map(|id| (id, false));
        let keys = trusted.chain(self.revoked.keys().map(|id| (id, true)));
        let mut keys: Vec<TrustedKey> = keys
            .map(|(id, revoked)| TrustedKey {
                id: id.clone(),
                revoked,
                signs: self.signs(id),
            })
            .collect();
        keys.sort_by(|one, two| one.id.cmp(&two.id));
        keys
    }

    fn signs(&self, id: &KeyId) -> bool {
        self.signer.as_ref().is_some_and(|(own, _)| own == id)
    }

    /// Makes a signing key, trusts it, and returns its id. An earlier signing key stays trusted,
    /// and its private half is kept beside the new one.
    ///
    /// # Errors
    /// [`ErrorCode::FileUnusable`] if the folder cannot be written.
    pub fn generate(folder: &Path) -> Result<KeyId> {
        let secret: [u8; 32] = random()?;
        let key = SigningKey::from_bytes(&secret);
        let id = KeyId::of(&key.verifying_key())?;
        // PKCS#8 version 1, without the public half: what other tools read too.
        let pair = KeypairBytes {
            secret_key: secret,
            public_key: None,
        };
        let pem = pair
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| invalid("the new key", &error))?;
        make_folder(folder)?;
        let signing = folder.join(SIGNING);
        // A private key cannot be made a second time, so it is renamed and not overwritten.
        if let Some((old, _)) = Self::open(folder)?.signer {
            let renamed = folder.join(format!("signing-{old}.pem"));
            std::fs::rename(&signing, &renamed).map_err(|error| Error::file(&renamed, &error))?;
        }
        write_private(&signing, pem.as_bytes())?;
        write_public(&folder.join(TRUSTED), &id, &key.verifying_key())?;
        Ok(id)
    }

    /// Trusts the public key of a PEM file and gives its id. A key that was revoked is valid again.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidKey`] if the file is not an Ed25519 public key.
    pub fn trust(folder: &Path, file: &Path) -> Result<KeyId> {
        let pem =
            read(file)?.ok_or_else(|| Error::file(file, &std::io::ErrorKind::NotFound.into()))?;
        let key = VerifyingKey::from_public_key_pem(&pem)
            .map_err(|error| invalid(&file.display().to_string(), &error))?;
        let id = KeyId::of(&key)?;
        write_public(&folder.join(TRUSTED), &id, &key)?;
        let revoked = key_file(&folder.join(REVOKED), &id);
        match std::fs::remove_file(&revoked) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file(&revoked, &error))
            }
            _ => Ok(id),
        }
    }

    /// Revokes a trusted key: its signatures are no longer accepted.
    ///
    /// # Errors
    /// [`ErrorCode::UntrustedKey`] if no such key is trusted.
    pub fn revoke(folder: &Path, id: &KeyId) -> Result<()> {
        let keys = Self::open(folder)?;
        if keys.is_revoked(id) {
            return Ok(());
        }
        let Some(key) = keys.trusted.get(id) else {
            return Err(Error::new(
                ErrorCode::UntrustedKey,
                format!("no key {id} is trusted in {}", folder.display()),
            ));
        };
        write_public(&folder.join(REVOKED), id, key)
    }
}

/// Makes a key for encryption at rest: a file of 64 hexadecimal digits, which must not exist yet.
///
/// # Errors
/// [`ErrorCode::FileUnusable`] if it cannot be written.
pub fn generate_key(file: &Path) -> Result<()> {
    let digits = crate::digest::to_hex(&random::<32>()?);
    write_private(file, format!("{digits}\n").as_bytes())
}

/// Bytes from the operating system's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(
            ErrorCode::KeyUnavailable,
            format!("the system gives no random numbers: {error}"),
        )
    })?;
    Ok(bytes)
}

fn public_keys(folder: &Path) -> Result<BTreeMap<KeyId, VerifyingKey>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries.map_err(|error| Error::file(folder, &error))?,
    };
    let mut keys = BTreeMap::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        let Some(pem) = read(&path)? else { continue };
        let key = VerifyingKey::from_public_key_pem(&pem)
            .map_err(|error| invalid(&path.display().to_string(), &error))?;
        keys.insert(KeyId::of(&key)?, key);
    }
    Ok(keys)
}

fn read(file: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new(
            ErrorCode::KeyUnavailable,
            format!("{}: {error}", file.display()),
        )),
    }
}

fn key_file(folder: &Path, id: &KeyId) -> PathBuf {
    folder.join(format!("{id}.pem"))
}

fn write_public(folder: &Path, id: &KeyId, key: &VerifyingKey) -> Result<()> {
    make_folder(folder)?;
    let pem = key
        .to_public_key_pem(LineEnding::LF)
        .map_err(|error| invalid("the key", &error))?;
    let file = key_file(folder, id);
    std::fs::write(&file, pem).map_err(|error| Error::file(&file, &error))
}

/// Writes a file that only its owner can read, whole or not at all, and never over another one.
fn write_private(file: &Path, bytes: &[u8]) -> Result<()> {
    // The mode is set when the file is made: no moment in which others can read the key.
    let mut part: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(|error| Error::file(file, &error))?;
    part.write_all(bytes)
        // A key must survive a power cut: it cannot be made a second time.
        .and_then(|()| part.sync_all())
        .map_err(|error| Error::file(file, &error))
}

fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, &error))
}

fn invalid(what: &str, error: &dyn fmt::Display) -> Error {
    Error::new(
        ErrorCode::InvalidKey,
        format!("{what} is not an Ed25519 key in PEM format: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_rotate_and_are_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let keys = || SigningKeys::open(folder.path()).unwrap();
        assert!(keys().list().is_empty() && keys().signer().is_none());
        let old = SigningKeys::generate(folder.path()).unwrap();
        let new = SigningKeys::generate(folder.path()).unwrap();
        assert_eq!(keys().signer().unwrap().0, &new);
        assert!(
            keys().trusted(&old).is_some(),
            "what was signed before stays valid"
        );
        assert!(folder.path().join(format!("signing-{old}.pem")).exists());

        SigningKeys::revoke(folder.path(), &old).unwrap();
        assert!(keys().trusted(&old).is_none() && keys().is_revoked(&old));
        SigningKeys::revoke(folder.path(), &new).unwrap();
        assert!(keys().signer().is_none(), "a revoked key signs no more");
        let unknown =
            SigningKeys::revoke(folder.path(), &"0123456789abcdef".parse().unwrap()).unwrap_err();
        assert_eq!(unknown.code, ErrorCode::UntrustedKey);

        let pem = folder.path().join(format!("trusted/{new}.pem"));
        assert_eq!(SigningKeys::trust(folder.path(), &pem).unwrap(), new);
        assert!(keys().signer().is_some());
    }

    #[test]
    fn private_keys_are_private_and_never_overwritten() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        SigningKeys::generate(folder.path()).unwrap();
        let mode = |file: &Path| std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path().join(SIGNING)), 0o600);
        let file = folder.path().join("data.key");
        generate_key(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
        assert_eq!(
            generate_key(&file).unwrap_err().code,
            ErrorCode::FileUnusable
        );
    }

    #[test]
    fn another_file_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SIGNING), "not a key").unwrap();
        let error = SigningKeys::open(folder.path()).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidKey);
        assert!(error.message.contains("signing.pem"), "{error}");
    }
}
