//! The second level of the cache: answers that servers share in Redis.

use std::fmt;
use std::time::{Duration, Instant};

use tidegate_redis::{AnswerStats, SharedAnswer, SharedAnswers};

use super::control::CacheControl;
use super::key::CacheKey;
use super::response_cache::CachePolicy;

/// How answers become bytes, and bytes answers.
#[derive(Debug)]
pub struct AnswerCodec<V> {
    /// The bytes of an answer.
    pub encode: fn(&V) -> Vec<u8>,
    /// The answer, and the memory that it takes; `None` for bytes that are not those of an answer.
    pub decode: fn(Vec<u8>) -> Option<(V, usize)>,
}

/// Answers in Redis.
pub(super) struct SharedCache<V> {
    answers: SharedAnswers,
    codec: AnswerCodec<V>,
}

/// An answer that another server may have computed.
pub(super) struct FoundAnswer<V> {
    pub(super) value: V,
    pub(super) bytes: usize,
    pub(super) age: Duration,
}

impl<V> fmt::Debug for SharedCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCache").finish_non_exhaustive()
    }
}

impl<V: Clone + Send + Sync + 'static> SharedCache<V> {
    pub(super) fn new(answers: SharedAnswers, codec: AnswerCodec<V>) -> Self {
        Self { answers, codec }
    }

    /// A fresh answer, if there is one. A request with a deadline spends at most half of its time on
    /// the question.
    pub(super) async fn find(
        &self,
        key: CacheKey,
        policy: CachePolicy,
        control: CacheControl,
        deadline: Option<Instant>,
    ) -> Option<FoundAnswer<V>> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // If Redis is slow, half of the time is left to compute the answer.
        let at_most = left.map_or(Duration::MAX, |left| left / 2);
        let stored = self.answers.get(key.bytes(), at_most).await?;
        let is_too_old = control.max_age.is_some_and(|max_age| stored.age > max_age);
        if stored.age >= policy.ttl || is_too_old {
            return None;
        }
        let (value, bytes) = (self.codec.decode)(stored.payload)?;
        Some(FoundAnswer {
            value,
            bytes,
            age: stored.age,
        })
    }

    /// Keeps an answer that was computed now.
    pub(super) fn keep(&self, key: CacheKey, policy: CachePolicy, value: &V, bytes: usize) {
        let (value, encode) = (value.clone(), self.codec.encode);
        self.answers.put(SharedAnswer {
            key: *key.bytes(),
            ttl: policy.ttl,
            bytes,
            encode: Box::new(move || encode(&value)),
        });
    }

    pub(super) fn stats(&self) -> AnswerStats {
        self.answers.stats()
    }
}

#[cfg(test)]
mod tests;
