//! SHA-256 digests, and lists of files that have one.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Error, ErrorCode, Result};

/// The SHA-256 of a content.
///
/// ```
/// use tidegate_registry::Digest;
///
/// let digest = Digest::of(b"abc");
/// let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// assert_eq!(digest.to_string(), text);
/// assert_eq!(text.parse::<Digest>(), Ok(digest));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        to_hex(&self.0)
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest of a list of files, in the order of their paths. It identifies the content of a
    /// version.
    pub(crate) fn of_files<'a>(files: impl Iterator<Item = (&'a str, i64, &'a str)>) -> Self {
        /// Fields in the order of the alphabet and no white space: there is one way only to write a
        /// list.
        #[derive(Serialize)]
        struct Canonical<'a> {
            files: Vec<CanonicalFile<'a>>,
            schema: u32,
        }
        #[derive(Serialize)]
        struct CanonicalFile<'a> {
            bytes: i64,
            path: &'a str,
            sha256: &'a str,
        }
        let mut files: Vec<_> = files
            .map(|(path, bytes, sha256)| CanonicalFile {
                bytes,
                path,
                sha256,
            })
            .collect();
        // The order in which a folder is walked differs between machines.
        files.sort_by(|one, two| one.path.cmp(two.path));
        let text =
            serde_json::to_vec(&Canonical { files, schema: 1 }).expect("plain data can be written");
        Self::of(&text)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// Takes 64 hexadecimal digits, with or without `sha256:` before them.
    fn from_str(text: &str) -> Result<Self> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let bytes = from_hex(digits).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| {
            Error::new(
                ErrorCode::InvalidReference,
                format!("{:?} is not a SHA-256 digest", shorten(text)),
            )
        })
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.hex()
    }
}

/// Takes a content piece by piece.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// The length and digest of a file; `progress` is called with the bytes of every piece. Blocks.
pub(crate) fn hash_file(path: &Path, progress: &dyn Fn(u64)) -> Result<(u64, Digest)> {
    let mut file = File::open(path).map_err(|error| Error::file(path, &error))?;
    // 1 MiB: few system calls, and a small part of the memory that a push takes anyway.
    let mut piece = vec![0; 1 << 20];
    let (mut hasher, mut length) = (Hasher::default(), 0);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((length, hasher.finish())),
            Ok(read) => {
                hasher.update(&piece[..read]);
                length += read as u64;
                progress(read as u64);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::file(path, &error)),
        }
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The reverse of [`to_hex`]; takes capital digits too.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    text.as_bytes().chunks(2).map(hex_pair).collect()
}

/// One byte; `None` if a digit is missing or wrong.
fn hex_pair(pair: &[u8]) -> Option<u8> {
    let (high, low) = (hex_digit(*pair.first()?)?, hex_digit(*pair.get(1)?)?);
    Some(high << 4 | low)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        // FIPS 180-4, the message "abc".
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").hex(), abc);
        assert_eq!(
            format!("sha256:{abc}").parse::<Digest>().unwrap(),
            Digest::of(b"abc")
        );
        assert_eq!(
            abc.to_uppercase().parse::<Digest>().unwrap(),
            Digest::of(b"abc")
        );
        for wrong in [
            "",
            "abc",
            &abc[1..],
            &format!("{abc}00"),
            &abc.replace('b', "g"),
        ] {
            assert_eq!(
                wrong.parse::<Digest>().unwrap_err().code,
                ErrorCode::InvalidReference
            );
        }
    }

    #[test]
    fn a_list_of_files_has_one_digest_in_any_order() {
        let (one, two) = (("a", 1, "00"), ("b", 2, "11"));
        let digest = Digest::of_files([one, two].into_iter());
        assert_eq!(digest, Digest::of_files([two, one].into_iter()));
        assert_ne!(
            digest,
            Digest::of_files([("a", 1, "11"), ("b", 2, "00")].into_iter())
        );
        let text =
            br#"{"files":[{"bytes":1,"path":"a","sha256":"00"},{"bytes":2,"path":"b","sha256":"11"}],"schema":1}"#;
        assert_eq!(digest, Digest::of(text));
    }
}
