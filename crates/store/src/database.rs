//! Opening the database and changing it in transactions.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Connection, Executor, Row, Transaction};

use crate::StoreError;

/// The schema, step by step; the first is version 1. Steps are added and never changed.
const STEPS: [&str; 2] = [
    include_str!("../schema/0001.sql"),
    include_str!("../schema/0002.sql"),
];
/// How long a connection waits for other writers.
const WRITER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait for a connection of the pool. Those who hold one may be waiting for a writer.
const POOL_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
// Queries are short, and writers take turns anyway: more connections would only wait. PostgreSQL
// counts the connections of all replicas against one limit.
const MAX_CONNECTIONS: u32 = 8;
/// Any number, as long as every build takes the same one.
const MIGRATION_LOCK: i64 = 0x7469_6465;

/// An open database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: AnyPool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

impl Store {
    /// Opens a database and brings its schema up to date: a `postgres://` URL, a `sqlite:` URL, or
    /// the path of a SQLite file, which is created if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Open`] if it cannot be opened, [`StoreError::NewerSchema`] if a newer build
    /// has changed it.
    pub async fn open(database: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let (kind, url) = connection_url(database);
        // SQLite makes the file, but not the folders that it lies in.
        if kind == Kind::Sqlite {
            make_folder(database).map_err(|error| open_error(database, &error))?;
        }
        let options =
            AnyConnectOptions::from_str(&url).map_err(|error| open_error(database, &error))?;
        if kind == Kind::Postgres {
            // The pool would go on trying where nobody listens.
            reach(&options)
                .await
                .map_err(|problem| open_error(database, &problem))?;
        }
        let pool = AnyPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            // Longer with SQLite: those who hold a connection may first wait for a writer, as long
            // as `busy_timeout` allows.
            .acquire_timeout(if kind == Kind::Sqlite {
                POOL_TIMEOUT
            } else {
                WRITER_TIMEOUT
            })
            .after_connect(move |connection, _| {
                Box::pin(async move { prepare(connection, kind).await })
            });
        let pool = pool
            .connect_with(options)
            .await
            .map_err(|error| open_error(database, &error))?;
        let store = Self { pool, kind };
        store.migrate().await?;
        Ok(store)
    }

    /// Closes all connections; SQLite folds its log into the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Begins a change on behalf of `actor`, as soon as there is no other writer.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the database cannot be reached, or other writers take too
    /// long.
    pub async fn write(&self, actor: &str) -> Result<Write, StoreError> {
        // Updating the row without changing it locks it: on PostgreSQL, the next writer waits here
        // until this one commits. So numbers of changes follow the order of commits.
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE counters SET value = value WHERE name = 'change'")
            .execute(&mut *transaction)
            .await?;
        Ok(Write {
            transaction,
            actor: actor.to_owned(),
        })
    }

    /// Begins a transaction for writing.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let begin = match self.kind {
            // A transaction that begins as a reader and writes later fails at once, without
            // waiting, if another one wrote in between. This one waits for the lock at its start.
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN",
        };
        Ok(self.pool.begin_with(begin).await?)
    }

    /// The time of the database's machine, in milliseconds since 1970: times that are compared must
    /// come from one clock.
    pub(crate) async fn clock_ms(&self, connection: &mut AnyConnection) -> Result<i64, StoreError> {
        match self.kind {
            // The file and its users are on one machine.
            Kind::Sqlite => Ok(now_ms()),
            Kind::Postgres => {
                let sql =
                    "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now_ms";
                Ok(sqlx::query(sql)
                    .fetch_one(connection)
                    .await?
                    .try_get("now_ms")?)
            }
        }
    }

    /// A value that belongs to the whole database.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn property(&self, name: &str) -> Result<Option<String>, StoreError> {
        let query = sqlx::query("SELECT value FROM properties WHERE name = $1").bind(name);
        let row = query.fetch_optional(&self.pool).await?;
        row.map(|row| row.try_get("value").map_err(StoreError::from))
            .transpose()
    }

    pub(crate) async fn connection(&self) -> Result<PoolConnection<Any>, StoreError> {
        Ok(self.pool.acquire().await?)
    }

    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let known = STEPS.len() as i64;
        let read = "SELECT COALESCE(MAX(version), 0) AS version FROM schema_version";
        // First without a lock, as most starts find the schema up to date. An error means that the
        // table is not there yet.
        if let Ok(row) = sqlx::query(read).fetch_one(&self.pool).await {
            match row.try_get::<i64, _>("version")? {
                found if found == known => return Ok(()),
                found if found > known => return Err(StoreError::NewerSchema { found, known }),
                _ => {}
            }
        }
        let mut transaction = match self.kind {
            Kind::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await?,
            Kind::Postgres => {
                let mut transaction = self.pool.begin().await?;
                // Replicas that start together would run the same step twice. The lock ends with
                // the transaction.
                let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATION_LOCK);
                lock.execute(&mut *transaction).await?;
                transaction
            }
        };
        transaction
            .execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY)")
            .await?;
        // Read again under the lock: another process may have brought the schema up to date.
        let found = sqlx::query(read)
            .fetch_one(&mut *transaction)
            .await?
            .try_get::<i64, _>("version")?;
        for (step, version) in STEPS
            .iter()
            .zip(1i64..)
            .skip(usize::try_from(found).unwrap_or(0))
        {
            sqlx::raw_sql(*step).execute(&mut *transaction).await?;
            let record =
                sqlx::query("INSERT INTO schema_version (version) VALUES ($1)").bind(version);
            record.execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// A change in progress. It is the only one until it is committed or dropped.
#[derive(Debug)]
pub struct Write {
    transaction: Transaction<'static, Any>,
    actor: String,
}

impl Write {
    /// Makes everything that was done through this value visible and durable.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot guarantee that; then nothing was changed.
    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }

    /// Who makes the change.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    /// A value that belongs to the whole database, as this change sees it.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn property(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        let query = sqlx::query("SELECT value FROM properties WHERE name = $1").bind(name);
        let row = query.fetch_optional(self.connection()).await?;
        row.map(|row| row.try_get("value").map_err(StoreError::from))
            .transpose()
    }

    /// Sets a value that belongs to the whole database.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn set_property(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO properties (name, value) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        sqlx::query(sql)
            .bind(name)
            .bind(value)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}

/// Checks that a server accepts connections.
async fn reach(options: &AnyConnectOptions) -> Result<(), String> {
    let connection =
        tokio::time::timeout(CONNECT_TIMEOUT, AnyConnection::connect_with(options)).await;
    let connection =
        connection.map_err(|_| format!("it does not answer within {CONNECT_TIMEOUT:?}"))?;
    let closed = connection.map_err(|error| error.to_string())?.close().await;
    closed.map_err(|error| error.to_string())
}

/// Settings of a new connection. A commit is on the disk before it is acknowledged.
async fn prepare(connection: &mut AnyConnection, kind: Kind) -> Result<(), sqlx::Error> {
    if kind == Kind::Postgres {
        return Ok(());
    }
    let timeout = format!("PRAGMA busy_timeout = {}", WRITER_TIMEOUT.as_millis());
    connection.execute(sqlx::AssertSqlSafe(timeout)).await?;
    // Two processes that open a new file at the same moment cannot both change its mode; SQLite
    // does not wait here.
    let mut tries = 0;
    while let Err(error) = connection.execute("PRAGMA journal_mode = WAL").await {
        tries += 1;
        if tries > 100 {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // With a write-ahead log, NORMAL could lose the last commits in a power cut.
    connection.execute("PRAGMA synchronous = FULL").await?;
    // SQLite checks foreign keys only where a connection asks for it.
    connection.execute("PRAGMA foreign_keys = ON").await?;
    Ok(())
}

/// The driver's URL of what the user wrote.
fn connection_url(database: &str) -> (Kind, String) {
    if database.starts_with("postgres:") || database.starts_with("postgresql:") {
        return (Kind::Postgres, database.to_owned());
    }
    let path = sqlite_path(database);
    let mut url = String::from("sqlite:");
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                url.push(char::from(byte))
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    (Kind::Sqlite, url + "?mode=rwc")
}

fn sqlite_path(database: &str) -> &str {
    database
        .strip_prefix("sqlite://")
        .or_else(|| database.strip_prefix("sqlite:"))
        .unwrap_or(database)
}

fn make_folder(database: &str) -> std::io::Result<()> {
    match Path::new(sqlite_path(database)).parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::create_dir_all(folder),
        _ => Ok(()),
    }
}

fn open_error(database: &str, problem: &dyn Display) -> StoreError {
    StoreError::Open {
        database: without_password(database),
        problem: problem.to_string(),
    }
}

/// `scheme://user:…@host` for messages.
fn without_password(database: &str) -> String {
    let Some((scheme, rest)) = database.split_once("://") else {
        return database.to_owned();
    };
    // The last `@`, because a password may have one.
    let Some((user, host)) = rest.rsplit_once('@') else {
        return database.to_owned();
    };
    let user = user.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}:…@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_odd_characters_becomes_one_url() {
        let url = |database| connection_url(database).1;
        assert_eq!(
            url("/data/a b?c#d.db"),
            "sqlite:/data/a%20b%3Fc%23d.db?mode=rwc"
        );
        assert_eq!(url("sqlite:///data/x.db"), "sqlite:/data/x.db?mode=rwc");
        assert_eq!(connection_url("postgres://h/d").0, Kind::Postgres);
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(
            without_password("postgres://me:s@cret@host/db"),
            "postgres://me:…@host/db"
        );
        assert_eq!(without_password("/data/x.db"), "/data/x.db");
    }
}
