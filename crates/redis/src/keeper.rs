//! Keeps a connection open: connects, checks, counts the servers, and connects again.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use redis::Cmd;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::client::{Connection, RedisClient};
use crate::connect::{RedisConnector, redis_problem};
use crate::rates::SCRIPT;
use crate::stats::RedisCommand;

/// How often an open connection is checked, and this server says that it is there.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// A server that has said nothing for so long is not counted, in milliseconds.
const SERVER_GONE_MS: u64 = 5000;
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// Notes a server in a sorted set by the time of Redis, and counts those that were noted lately. It
/// writes, so that a Redis that cannot be written to counts as away.
const COUNT_SERVERS: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])";

/// Redis was lost or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisChange {
    /// It cannot be reached.
    Lost {
        /// Why, for people.
        problem: String,
    },
    /// It can be reached again.
    Found {
        /// How long it was away.
        away: Duration,
    },
}

pub(crate) struct Keeper {
    connector: RedisConnector,
    client: Weak<RedisClient>,
    changes: mpsc::Sender<RedisChange>,
    /// Tells this server from the others.
    id: String,
    /// Since when Redis is away, if it is.
    lost_at: Option<Instant>,
}

impl Keeper {
    pub(crate) fn new(
        connector: RedisConnector,
        client: Weak<RedisClient>,
        changes: mpsc::Sender<RedisChange>,
    ) -> Self {
        let mut id = [0; 16];
        // Without randomness the servers would be counted as one, so that each allows the whole rate
        // while Redis is away.
        if getrandom::fill(&mut id).is_err() {
            warn!("no randomness: the servers that use Redis cannot be told apart");
        }
        Self {
            connector,
            client,
            changes,
            id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            lost_at: None,
        }
    }

    /// Until the client is gone.
    pub(crate) async fn run(mut self) {
        let mut backoff = MIN_BACKOFF;
        loop {
            match self.connect().await {
                Ok(()) => {
                    backoff = MIN_BACKOFF;
                    self.check_until_lost().await;
                }
                Err(problem) => {
                    self.tell_lost(problem);
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
            }
            if self.client.strong_count() == 0 {
                return;
            }
        }
    }

    /// Opens a connection, and lets commands use it once Redis has answered on it.
    async fn connect(&mut self) -> Result<(), String> {
        let mut commands = self.connector.connect().await?;
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(SCRIPT);
        let loaded = load.query_async::<String>(&mut commands).await;
        let lease_script = loaded.map_err(|error| redis_problem(&error))?;
        let Some(client) = self.client.upgrade() else {
            return Ok(());
        };
        let count = self.count_servers(&client);
        let servers = count.query_async::<u32>(&mut commands).await;
        let servers = servers.map_err(|error| redis_problem(&error))?;
        client.open(Connection::new(commands, lease_script), servers);
        self.tell_found();
        Ok(())
    }

    async fn check_until_lost(&mut self) {
        loop {
            let Some(client) = self.client.upgrade() else {
                return;
            };
            let Some(connection) = client.connection() else {
                let problem = client.problem();
                return self.tell_lost(problem.unwrap_or_default());
            };
            self.check(&client, &connection).await;
            if client.is_connected() {
                tokio::select! {
                    () = client.until_given_up() => {}
                    () = tokio::time::sleep(CHECK_EVERY) => {}
                }
            }
        }
    }

    async fn check(&self, client: &RedisClient, connection: &Arc<Connection>) {
        let count = self.count_servers(client);
        let counted = client.send_on::<u32>(connection, RedisCommand::Check, &count);
        if let Ok(servers) = counted.await {
            client.set_servers(servers);
        }
    }

    fn count_servers(&self, client: &RedisClient) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(COUNT_SERVERS).arg(1).arg(client.key("servers"));
        command.arg(&self.id).arg(SERVER_GONE_MS);
        command
    }

    fn tell_lost(&mut self, problem: String) {
        if let Some(client) = self.client.upgrade() {
            client.close(problem.clone());
        }
        if self.lost_at.is_some() {
            return;
        }
        self.lost_at = Some(Instant::now());
        warn!(problem, "Redis cannot be reached");
        // Whoever does not listen misses it.
        let _ = self.changes.try_send(RedisChange::Lost { problem });
    }

    fn tell_found(&mut self) {
        info!("connected to Redis");
        if let Some(lost_at) = self.lost_at.take() {
            let away = lost_at.elapsed();
            let _ = self.changes.try_send(RedisChange::Found { away });
        }
    }
}
