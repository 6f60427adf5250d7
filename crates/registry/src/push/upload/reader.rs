//! Reading a content in parts, hashed and encrypted on the way.

use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::{PART_BYTES, Task, changed};
use crate::digest::Hasher;
use crate::encryption::CHUNK;
use crate::push::blocking;
use crate::{Error, ErrorCode, Result, Source};

/// Reads a content part by part, in order, hashed and sealed on the way.
pub(super) struct Reader<'a> {
    task: &'a Task,
    part_bytes: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(task: &'a Task) -> Self {
        // Whatever fits into one part is one, also where the parts of larger contents are smaller.
        Self {
            task,
            part_bytes: u64::try_from(task.upload.part_bytes).unwrap_or(PART_BYTES),
        }
    }

    pub(super) fn parts(&self) -> usize {
        usize::try_from(self.task.file.bytes.div_ceil(self.part_bytes).max(1)).unwrap_or(usize::MAX)
    }

    pub(super) fn length(&self, at: usize) -> u64 {
        self.part_bytes
            .min(self.task.file.bytes - at as u64 * self.part_bytes)
    }

    /// The part as it is stored, unless it is not `wanted`, and the hash so far.
    pub(super) async fn part(
        &mut self,
        at: usize,
        mut hasher: Hasher,
        wanted: bool,
    ) -> Result<(Option<Bytes>, Hasher)> {
        let (offset, length) = (at as u64 * self.part_bytes, self.length(at));
        let (source, cipher) = (self.task.file.source.clone(), self.task.cipher.clone());
        let (path, end) = (self.task.file.path.clone(), at + 1 == self.parts());
        let digest = self.task.file.digest;
        blocking(move || {
            let plain = read(&source, offset, length)
                .map_err(|error| changed(&path, &error.to_string()))?;
            hasher.update(&plain);
            let part = match cipher {
                _ if !wanted => None,
                None => Some(plain),
                Some(cipher) => {
                    let sealed =
                        cipher
                            .seal(offset / CHUNK as u64, &plain, end)
                            .map_err(|failed| {
                                Error::new(
                                    ErrorCode::TooLarge,
                                    format!(
                                        "{digest} cannot be encrypted at chunk {}",
                                        failed.chunk
                                    ),
                                )
                            })?;
                    Some(Bytes::from(sealed))
                }
            };
            Ok((part, hasher))
        })
        .await
    }
}

fn read(source: &Source, offset: u64, length: u64) -> std::io::Result<Bytes> {
    let length = usize::try_from(length).map_err(std::io::Error::other)?;
    match source {
        Source::Bytes(bytes) => {
            let from = usize::try_from(offset).map_err(std::io::Error::other)?;
            Ok(Bytes::copy_from_slice(&bytes[from..from + length]))
        }
        Source::File(path) => {
            let mut bytes = vec![0; length];
            std::fs::File::open(path)?.read_exact_at(&mut bytes, offset)?;
            Ok(bytes.into())
        }
    }
}
