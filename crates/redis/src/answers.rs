//! Answers that servers share: read while a request waits, written in the background.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use thiserror::Error;
use tidegate_redaction::Secret;
use tokio::sync::mpsc;

use crate::client::{RedisClient, SendError};
use crate::seal::{Opened, Seal};
use crate::stats::RedisCommand;

/// Answers that wait to be written, at most.
const MAX_QUEUED: usize = 1024;
const MAX_QUEUED_BYTES: usize = 32 << 20;
/// Answers that are written at the same time, at most.
const MAX_WRITTEN_AT_ONCE: usize = 32;
const MIN_SECRET_BYTES: usize = 32;
/// What a sealed value has besides its payload, at most.
const SEAL_BYTES: usize = 64;

/// An answer to keep.
pub struct SharedAnswer {
    /// The hash of everything that it depends on.
    pub key: [u8; 32],
    /// How long it is kept.
    pub ttl: Duration,
    /// How long it is, roughly, in bytes.
    pub bytes: usize,
    /// Makes its bytes, in the background.
    pub encode: Box<dyn FnOnce() -> Vec<u8> + Send>,
}

/// An answer that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Its bytes.
    pub payload: Vec<u8>,
    /// How long ago it was computed, by the clocks of the two servers.
    pub age: Duration,
}

/// What happened to answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerStats {
    /// Found.
    pub found: u64,
    /// Not there.
    pub absent: u64,
    /// There, and not one that a server with the same secret and format has written.
    pub unreadable: u64,
    /// Redis was not asked, or did not answer in time.
    pub unavailable: u64,
    /// Written.
    pub written: u64,
    /// Larger than may be kept.
    pub too_large: u64,
    /// Not written, since too many waited or Redis was away.
    pub dropped: u64,
}

/// A configuration that is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SharedAnswersError {
    #[error("the secret that kept answers are sealed with must have at least 32 characters")]
    ShortSecret,
}

/// Answers in Redis. Whoever asks gets what a server with the same secret has written for the same
/// key, or nothing.
pub struct SharedAnswers {
    redis: Arc<RedisClient>,
    shared: Arc<Shared>,
    queue: mpsc::Sender<SharedAnswer>,
}

struct Shared {
    seal: Seal,
    max_bytes: usize,
    queued_bytes: AtomicUsize,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    found: AtomicU64,
    absent: AtomicU64,
    unreadable: AtomicU64,
    unavailable: AtomicU64,
    written: AtomicU64,
    too_large: AtomicU64,
    dropped: AtomicU64,
}

impl fmt::Debug for SharedAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedAnswers").finish_non_exhaustive()
    }
}

impl SharedAnswers {
    /// Answers of at most `max_bytes` each, sealed with `secret`. From within a runtime.
    ///
    /// # Errors
    /// If the secret is too short to be one.
    pub fn start(
        redis: Arc<RedisClient>,
        secret: &Secret,
        max_bytes: usize,
    ) -> Result<Self, SharedAnswersError> {
        if secret.reveal().len() < MIN_SECRET_BYTES {
            return Err(SharedAnswersError::ShortSecret);
        }
        let (queue, waiting) = mpsc::channel(MAX_QUEUED);
        let shared = Arc::new(Shared {
            seal: Seal::new(secret.reveal(), max_bytes),
            max_bytes,
            queued_bytes: AtomicUsize::new(0),
            counts: Counts::default(),
        });
        tokio::spawn(write_all(redis.clone(), shared.clone(), waiting));
        Ok(Self {
            redis,
            shared,
            queue,
        })
    }

    /// The answer of a key, if it is there and Redis says so within a time.
    pub async fn get(&self, key: &[u8; 32], at_most: Duration) -> Option<StoredAnswer> {
        let counts = &self.shared.counts;
        let name = self.redis.key(&answer_name(&self.shared.seal, key));
        // Not the whole value, whoever has written it: one that is too long does not open.
        let last = self.shared.max_bytes + SEAL_BYTES;
        let read = self.redis.send::<Vec<u8>>(RedisCommand::Get, |_| {
            let mut command = redis::cmd("GETRANGE");
            command.arg(name).arg(0).arg(last);
            command
        });
        let Ok(Ok(mut sealed)) = tokio::time::timeout(at_most, read).await else {
            counts.unavailable.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if sealed.is_empty() {
            counts.absent.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let Some(opened) = self.shared.seal.open(key, &mut sealed) else {
            counts.unreadable.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        counts.found.fetch_add(1, Ordering::Relaxed);
        // Clocks of servers differ: an answer from the future counts as new.
        let age_ms = now_ms().saturating_sub(opened.computed_ms);
        Some(StoredAnswer {
            payload: opened.payload,
            age: Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)),
        })
    }

    /// Keeps an answer that was computed now, soon. Nobody waits for that, and it may not come to it.
    pub fn put(&self, answer: SharedAnswer) {
        let shared = &self.shared;
        if answer.bytes > shared.max_bytes {
            shared.counts.too_large.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let bytes = answer.bytes;
        // Added before it is compared: two threads cannot both take the last of the space.
        let queued = shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = queued <= MAX_QUEUED_BYTES && self.redis.is_connected();
        if !has_room || self.queue.try_send(answer).is_err() {
            shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            shared.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Its figures.
    pub fn stats(&self) -> AnswerStats {
        let counts = &self.shared.counts;
        AnswerStats {
            found: read(&counts.found),
            absent: read(&counts.absent),
            unreadable: read(&counts.unreadable),
            unavailable: read(&counts.unavailable),
            written: read(&counts.written),
            too_large: read(&counts.too_large),
            dropped: read(&counts.dropped),
        }
    }
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Until nobody can send answers any longer.
async fn write_all(
    redis: Arc<RedisClient>,
    shared: Arc<Shared>,
    mut waiting: mpsc::Receiver<SharedAnswer>,
) {
    let mut answers = Vec::new();
    while waiting.recv_many(&mut answers, MAX_WRITTEN_AT_ONCE).await > 0 {
        let writes = answers
            .drain(..)
            .map(|answer| write(&redis, &shared, answer));
        join_all(writes).await;
    }
}

async fn write(redis: &RedisClient, shared: &Shared, answer: SharedAnswer) {
    let computed_ms = now_ms();
    let payload = (answer.encode)();
    let counts = &shared.counts;
    let counted = if payload.len() > shared.max_bytes {
        &counts.too_large
    } else {
        let value = Opened {
            payload,
            computed_ms,
        };
        match store(redis, shared, &answer.key, answer.ttl, &value).await {
            Ok(()) => &counts.written,
            Err(_) => &counts.dropped,
        }
    };
    counted.fetch_add(1, Ordering::Relaxed);
    shared
        .queued_bytes
        .fetch_sub(answer.bytes, Ordering::Relaxed);
}

async fn store(
    redis: &RedisClient,
    shared: &Shared,
    key: &[u8; 32],
    ttl: Duration,
    value: &Opened,
) -> Result<(), SendError> {
    let name = redis.key(&answer_name(&shared.seal, key));
    let sealed = shared.seal.seal(key, value).ok_or(SendError::Away)?;
    // Redis refuses a lifetime of 0.
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
    let written = redis.send::<()>(RedisCommand::Set, |_| {
        let mut command = redis::cmd("SET");
        command.arg(name).arg(sealed).arg("PX").arg(ttl_ms);
        command
    });
    written.await
}

fn answer_name(seal: &Seal, key: &[u8; 32]) -> String {
    format!("answer:{}", seal.name(key))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests;
