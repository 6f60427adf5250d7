//! The handle of the connection, and its circuit breaker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use thiserror::Error;
use tokio::sync::{Notify, mpsc};

use crate::config::{RedisConfig, RedisConfigError};
use crate::connect::{RedisConnector, redis_problem};
use crate::keeper::{Keeper, RedisChange};
use crate::stats::{CommandOutcome, Counters, RedisCommand, RedisStats};

/// So many commands that fail one after the other, whoever sends them, and Redis is away.
const MAX_FAILURES: u32 = 3;

/// Redis cannot be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("Redis cannot be reached")]
pub struct RedisAway;

/// The connection to Redis that all requests share. It opens and checks itself in the background.
///
/// It is a circuit breaker too. After a few failures in a row the connection is given up, and
/// commands fail at once, until the background task has opened a new one and Redis has answered on
/// it: no request is used to find out.
#[derive(Debug)]
pub struct RedisClient {
    connection: ArcSwapOption<Connection>,
    prefix: String,
    counters: Counters,
    /// How many servers use the same Redis and prefix; 1 until they were counted.
    servers: AtomicU32,
    problem: Mutex<Option<String>>,
    changes: tokio::sync::Mutex<mpsc::Receiver<RedisChange>>,
    given_up: Notify,
    keeper: Mutex<Option<tokio::task::AbortHandle>>,
}

/// An open connection.
pub(crate) struct Connection {
    pub(crate) commands: MultiplexedConnection,
    /// The name of the script of rates.
    pub(crate) lease_script: String,
    failures: AtomicU32,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(commands: MultiplexedConnection, lease_script: String) -> Self {
        Self {
            commands,
            lease_script,
            failures: AtomicU32::new(0),
        }
    }
}

impl RedisClient {
    /// Starts to connect; `None` if no Redis is configured. From within a runtime.
    ///
    /// # Errors
    /// What is wrong with the configuration. That Redis cannot be reached is no error.
    pub fn start(config: &RedisConfig) -> Result<Option<Arc<Self>>, RedisConfigError> {
        if !config.is_configured() {
            return Ok(None);
        }
        config.check()?;
        let connector = RedisConnector::new(config)?;
        let (sender, changes) = mpsc::channel(64);
        let client = Arc::new(Self {
            connection: ArcSwapOption::empty(),
            prefix: config.key_prefix.clone(),
            counters: Counters::default(),
            servers: AtomicU32::new(1),
            problem: Mutex::new(Some("it was not reached yet".to_owned())),
            changes: tokio::sync::Mutex::new(changes),
            given_up: Notify::new(),
            keeper: Mutex::default(),
        });
        let keeper = Keeper::new(connector, Arc::downgrade(&client), sender);
        let task = tokio::spawn(keeper.run());
        *client.keeper.lock() = Some(task.abort_handle());
        Ok(Some(client))
    }

    /// Whether commands are sent.
    pub fn is_connected(&self) -> bool {
        self.connection.load().is_some()
    }

    /// Why commands are not sent, for people.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// How many servers share this Redis, as far as is known, at least 1. While Redis is away it is
    /// the last count.
    pub fn servers(&self) -> u32 {
        self.servers.load(Ordering::Relaxed)
    }

    /// The next time that Redis was lost or found. One task may wait for it.
    pub async fn next_change(&self) -> RedisChange {
        match self.changes.lock().await.recv().await {
            Some(change) => change,
            // The connection is not looked after any longer.
            None => std::future::pending().await,
        }
    }

    /// Its figures.
    pub fn stats(&self) -> RedisStats {
        RedisStats {
            servers: self.servers(),
            is_connected: self.is_connected(),
            ..self.counters.read()
        }
    }

    /// The name of a key.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    pub(crate) fn connection(&self) -> Option<Arc<Connection>> {
        self.connection.load_full()
    }

    pub(crate) fn open(&self, connection: Connection, servers: u32) {
        self.servers.store(servers.max(1), Ordering::Relaxed);
        *self.problem.lock() = None;
        self.connection.store(Some(Arc::new(connection)));
    }

    pub(crate) fn set_servers(&self, servers: u32) {
        self.servers.store(servers.max(1), Ordering::Relaxed);
    }

    /// Stops sending commands.
    pub(crate) fn close(&self, problem: String) {
        *self.problem.lock() = Some(problem);
        self.connection.store(None);
    }

    /// Until a connection was given up.
    pub(crate) async fn until_given_up(&self) {
        self.given_up.notified().await;
    }

    /// Sends a command, if Redis is there.
    pub(crate) async fn send<T: FromRedisValue>(
        &self,
        kind: RedisCommand,
        command: impl FnOnce(&Connection) -> Cmd,
    ) -> Result<T, SendError> {
        let Some(connection) = self.connection() else {
            self.counters
                .add(kind, CommandOutcome::NotSent, Duration::ZERO);
            return Err(SendError::Away);
        };
        let command = command(&connection);
        self.send_on(&connection, kind, &command).await
    }

    /// Sends a command on a connection, and counts how that went.
    pub(crate) async fn send_on<T: FromRedisValue>(
        &self,
        connection: &Arc<Connection>,
        kind: RedisCommand,
        command: &Cmd,
    ) -> Result<T, SendError> {
        let began = Instant::now();
        let mut commands = connection.commands.clone();
        let answer = command.query_async(&mut commands).await;
        let outcome = match &answer {
            Ok(_) => CommandOutcome::Answered,
            Err(error) if error.is_timeout() => CommandOutcome::TimedOut,
            // It is sent again as a whole; see `rates`.
            Err(error) if is_unknown_script(error) => CommandOutcome::Answered,
            Err(_) => CommandOutcome::Failed,
        };
        self.counters.add(kind, outcome, began.elapsed());
        match &answer {
            Err(error) if outcome != CommandOutcome::Answered => {
                self.note_failure(connection, error);
            }
            _ => connection.failures.store(0, Ordering::Relaxed),
        }
        answer.map_err(|error| match is_unknown_script(&error) {
            true => SendError::UnknownScript,
            false => SendError::Away,
        })
    }

    fn note_failure(&self, connection: &Arc<Connection>, error: &RedisError) {
        // Somebody else has written to this key: that says nothing of the others.
        if error.code() == Some("WRONGTYPE") {
            return;
        }
        let failures = connection.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures < MAX_FAILURES && !error.is_unrecoverable_error() {
            return;
        }
        // Not the next connection, if this failure is late.
        let is_current = self
            .connection()
            .is_some_and(|current| Arc::ptr_eq(&current, connection));
        if is_current {
            self.close(redis_problem(error));
            self.given_up.notify_one();
        }
    }
}

impl Drop for RedisClient {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get_mut().take() {
            keeper.abort();
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    Away,
    /// Redis has forgotten the script.
    UnknownScript,
}

impl From<SendError> for RedisAway {
    fn from(_: SendError) -> Self {
        Self
    }
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

#[cfg(test)]
mod tests;
