//! One object's bytes in authenticated chunks.
//!
//! The STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, "Online
//! Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance" (2015): changed, missing, moved
//! or truncated chunks are detected. The digest of the plain bytes is authenticated with every
//! chunk.

use aead_stream::{NewStream, Nonce, StreamBE32, StreamPrimitive};
use aes_gcm::{Aes256Gcm, KeyInit};

use crate::Digest;

/// Plain bytes in each chunk but the last.
pub(crate) const CHUNK: usize = 64 << 10;
/// What authentication adds to each chunk.
const TAG: usize = 16;
// Marks the trailer: without it, the last bytes of a broken object could pass as a digest.
const MAGIC: &[u8; 8] = b"tidegate";
/// Bytes after the last chunk: the digest of the content. They distinguish a swapped object from a
/// damaged one.
pub(crate) const TRAILER: usize = MAGIC.len() + 32;

/// The chunk with this number is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) chunk: u64,
}

/// Seals and opens the chunks of one object, in any order.
pub(crate) struct Cipher {
    stream: StreamBE32<Aes256Gcm>,
    digest: Digest,
}

impl Cipher {
    pub(crate) fn new(key: &[u8; 32], nonce: &[u8; 7], digest: &Digest) -> Self {
        let nonce = Nonce::<Aes256Gcm, StreamBE32<Aes256Gcm>>::from(*nonce);
        Self {
            stream: StreamBE32::from_aead(Aes256Gcm::new(key.into()), &nonce),
            digest: *digest,
        }
    }

    /// Seals plain bytes that begin at chunk `first`; all but those with the end are whole chunks.
    /// With the end comes the trailer.
    pub(crate) fn seal(&self, first: u64, plain: &[u8], end: bool) -> Result<Vec<u8>, Failed> {
        let mut sealed =
            Vec::with_capacity(plain.len() + (plain.len() / CHUNK + 1) * TAG + TRAILER);
        for (number, chunk, last) in chunks(plain, CHUNK, first, end) {
            let mut buffer = chunk.to_vec();
            let position = position(number)?;
            let done =
                self.stream
                    .encrypt_in_place(position, last, self.digest.bytes(), &mut buffer);
            done.map_err(|_| Failed { chunk: number })?;
            sealed.extend_from_slice(&buffer);
        }
        if end {
            sealed.extend_from_slice(MAGIC);
            sealed.extend_from_slice(self.digest.bytes());
        }
        Ok(sealed)
    }

    /// The reverse, without the trailer.
    pub(crate) fn open(&self, first: u64, sealed: &[u8], end: bool) -> Result<Vec<u8>, Failed> {
        let mut plain = Vec::with_capacity(sealed.len());
        for (number, chunk, last) in chunks(sealed, CHUNK + TAG, first, end) {
            let mut buffer = chunk.to_vec();
            let position = position(number)?;
            let done =
                self.stream
                    .decrypt_in_place(position, last, self.digest.bytes(), &mut buffer);
            done.map_err(|_| Failed { chunk: number })?;
            plain.extend_from_slice(&buffer);
        }
        Ok(plain)
    }

    /// The content that a trailer names.
    pub(crate) fn trailer(bytes: &[u8]) -> Option<String> {
        bytes
            .strip_prefix(MAGIC)
            .filter(|digest| digest.len() == 32)
            .map(crate::digest::to_hex)
    }
}

/// Pieces with their numbers, and whether each is the object's last; an empty object has one empty
/// chunk.
fn chunks(
    bytes: &[u8],
    size: usize,
    first: u64,
    end: bool,
) -> impl Iterator<Item = (u64, &[u8], bool)> {
    let count = if bytes.is_empty() {
        usize::from(end)
    } else {
        bytes.len().div_ceil(size)
    };
    (0..count).map(move |at| {
        let piece = &bytes[at * size..bytes.len().min((at + 1) * size)];
        (first + at as u64, piece, end && at + 1 == count)
    })
}

fn position(number: u64) -> Result<u32, Failed> {
    // The counter of STREAM has 32 bits: 256 TiB in chunks of 64 KiB.
    u32::try_from(number).map_err(|_| Failed { chunk: number })
}

/// Bytes of an object in the object store.
pub(crate) fn stored_length(plain: u64) -> u64 {
    stored_chunks(plain) + TRAILER as u64
}

/// Bytes of an object's chunks.
pub(crate) fn stored_chunks(plain: u64) -> u64 {
    plain + plain.div_ceil(CHUNK as u64).max(1) * TAG as u64
}
