//! How long the database is waited for: no query, lock or transaction waits without an end.
//!
//! A database that vanishes without a word leaves its connections open, and the drivers wait for an
//! answer for ever. Every statement of this crate goes through [`Bounded`], which gives up.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, TryStreamExt};
use sqlx::any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::{Any, Either, Error, Execute, Executor, SqlStr};
use tokio::time::timeout;

/// How long answers of the database are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the question whether anything changed: one row, which every database gives at once.
    pub poll: Duration,
    /// For each row of other reads. PostgreSQL gives them without waiting for writers.
    pub read: Duration,
    /// For each statement that writes: it waits its turn behind other writers.
    pub write: Duration,
    /// For each step of a change of the schema.
    pub migration: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(3),
            read: Duration::from_secs(10),
            // A bit longer than the database itself waits for a lock, so that it says why.
            write: Duration::from_secs(35),
            migration: Duration::from_secs(300),
        }
    }
}

/// What statements are run on, with a limit on the silence before each part of the answer.
#[derive(Debug)]
pub(crate) struct Bounded<E> {
    inner: E,
    silence: Duration,
}

impl<E> Bounded<E> {
    pub(crate) fn new(inner: E, silence: Duration) -> Self {
        Self { inner, silence }
    }
}

/// Waits for a step that is no statement, such as a commit.
pub(crate) async fn bounded<T>(
    step: impl Future<Output = Result<T, Error>>,
    silence: Duration,
) -> Result<T, Error> {
    timeout(silence, step)
        .await
        .unwrap_or_else(|_| Err(no_answer(silence)))
}

fn no_answer(silence: Duration) -> Error {
    let problem = format!("it did not answer within {silence:?}");
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, problem))
}

impl<'c, E: Executor<'c, Database = Any>> Executor<'c> for Bounded<E> {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, Q>(
        self,
        query: Q,
    ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
    where
        'c: 'e,
        Q: 'q + Execute<'q, Any>,
    {
        let silence = self.silence;
        let answers = self.inner.fetch_many(query);
        stream::try_unfold(answers, move |mut answers| async move {
            let next = bounded(answers.try_next(), silence).await?;
            Ok(next.map(|answer| (answer, answers)))
        })
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, Q>(self, query: Q) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'c: 'e,
        Q: 'q + Execute<'q, Any>,
    {
        Box::pin(bounded(self.inner.fetch_optional(query), self.silence))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'c: 'e,
    {
        Box::pin(bounded(
            self.inner.prepare_with(sql, parameters),
            self.silence,
        ))
    }
}
