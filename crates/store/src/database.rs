//! Opening the database and changing it in transactions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::{Any, AnyConnection, AnyPool, Executor, Row, Transaction};

use crate::StoreError;
use crate::connect::{Address, DatabaseFile, Kind};
use crate::timeouts::{Bounded, Timeouts, bounded};

/// The schema, step by step; the first is version 1. Steps are added and never changed.
const STEPS: [&str; 11] = [
    include_str!("../schema/0001.sql"),
    include_str!("../schema/0002.sql"),
    include_str!("../schema/0003.sql"),
    include_str!("../schema/0004.sql"),
    include_str!("../schema/0005.sql"),
    include_str!("../schema/0006.sql"),
    include_str!("../schema/0007.sql"),
    include_str!("../schema/0008.sql"),
    include_str!("../schema/0009.sql"),
    include_str!("../schema/0010.sql"),
    include_str!("../schema/0011.sql"),
];
/// Any number, as long as every build takes the same one.
const MIGRATION_LOCK: i64 = 0x7469_6465;
/// The time of the database's machine: those who compare times must have one clock.
const POSTGRES_CLOCK: &str = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

/// An open database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: AnyPool,
    kind: Kind,
    timeouts: Timeouts,
    shown: String,
    /// The file that is open, of SQLite.
    file: Option<DatabaseFile>,
}

/// How a database is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// How long it is waited for.
    pub timeouts: Timeouts,
    /// Whether it must have been opened before: nothing is made where nothing is.
    pub must_exist: bool,
}

impl Store {
    /// Opens a database and brings its schema up to date: a `postgres://` URL, a `sqlite:` URL, or
    /// the path of a SQLite file, which is created if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::Open`] if it cannot be opened, [`StoreError::NewerSchema`] if a newer build
    /// has changed it.
    pub async fn open(database: &str) -> Result<Self, StoreError> {
        Self::open_with(database, OpenOptions::default()).await
    }

    /// As [`Store::open`], with options.
    ///
    /// # Errors
    /// Those of [`Store::open`]; [`StoreError::Open`] also where it must exist and does not.
    pub async fn open_with(database: &str, options: OpenOptions) -> Result<Self, StoreError> {
        let address = Address::parse(database)?;
        if options.must_exist {
            address.file()?;
        } else {
            address.make_folder()?;
        }
        let mut store = Self {
            pool: address.connect(&options.timeouts).await?,
            kind: address.kind,
            timeouts: options.timeouts,
            shown: address.shown.clone(),
            file: None,
        };
        if options.must_exist && !store.has_schema().await {
            return Err(address.problem(&"it is empty, but was not empty before"));
        }
        store.migrate().await?;
        store.file = address.file()?;
        Ok(store)
    }

    /// Where it is, for messages: without a password.
    pub fn shown(&self) -> &str {
        &self.shown
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
        let mut change = self.begin().await?;
        // The clock is read in the same statement: after the wait, and without another round trip.
        let now = match self.kind {
            Kind::Sqlite => "value",
            Kind::Postgres => POSTGRES_CLOCK,
        };
        let lock = format!(
            "UPDATE counters SET value = value WHERE name = 'change' RETURNING {now} AS now_ms"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(lock))
            .fetch_one(change.connection())
            .await?;
        let now_ms = match self.kind {
            // The file and its users are on one machine.
            Kind::Sqlite => now_ms(),
            Kind::Postgres => row.try_get("now_ms")?,
        };
        Ok(Write {
            change,
            actor: limited(actor),
            now_ms,
        })
    }

    /// Begins a transaction that is to write.
    pub(crate) async fn begin(&self) -> Result<Change, StoreError> {
        let begin = match self.kind {
            // A transaction that begins as a reader and writes later fails at once, without
            // waiting, if another one wrote in between. This one waits for the lock at its start.
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN",
        };
        self.begin_with(begin, self.timeouts.write).await
    }

    async fn begin_with(
        &self,
        begin: &'static str,
        silence: Duration,
    ) -> Result<Change, StoreError> {
        let transaction = bounded(self.pool.begin_with(begin), silence).await?;
        Ok(Change {
            transaction,
            silence,
        })
    }

    /// The time of the database's machine, in milliseconds since 1970: those who compare times must
    /// have one clock.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn clock_ms(&self) -> Result<i64, StoreError> {
        self.clock_on(self.pool()).await
    }

    pub(crate) async fn clock_on(
        &self,
        executor: impl Executor<'_, Database = Any>,
    ) -> Result<i64, StoreError> {
        match self.kind {
            // The file and its users are on one machine.
            Kind::Sqlite => Ok(now_ms()),
            Kind::Postgres => {
                let sql = format!("SELECT {POSTGRES_CLOCK} AS now_ms");
                Ok(sqlx::query(sqlx::AssertSqlSafe(sql))
                    .fetch_one(executor)
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
        let row = query.fetch_optional(self.pool()).await?;
        row.map(|row| row.try_get("value").map_err(StoreError::from))
            .transpose()
    }

    /// What reads are run on.
    pub(crate) fn pool(&self) -> Bounded<&AnyPool> {
        let silence = match self.kind {
            // A reader may have to wait for the one who repairs the log after a crash.
            Kind::Sqlite => self.timeouts.write,
            Kind::Postgres => self.timeouts.read,
        };
        Bounded::new(&self.pool, silence)
    }

    /// What short writes outside of a change are run on.
    pub(crate) fn writing_pool(&self) -> Bounded<&AnyPool> {
        Bounded::new(&self.pool, self.timeouts.write)
    }

    pub(crate) fn polling_pool(&self) -> Bounded<&AnyPool> {
        Bounded::new(&self.pool, self.timeouts.poll)
    }

    /// Whether the file that is open is still the one that its path leads to.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it was replaced or removed.
    pub fn check_file(&self) -> Result<(), StoreError> {
        self.file.as_ref().map_or(Ok(()), DatabaseFile::check)
    }

    async fn has_schema(&self) -> bool {
        sqlx::query("SELECT version FROM schema_version LIMIT 1")
            .fetch_optional(self.pool())
            .await
            .is_ok_and(|row| row.is_some())
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let known = STEPS.len() as i64;
        let read = "SELECT COALESCE(MAX(version), 0) AS version FROM schema_version";
        // First without a lock, as most starts find the schema up to date. An error means that the
        // table is not there yet.
        if let Ok(row) = sqlx::query(read).fetch_one(self.pool()).await {
            match row.try_get::<i64, _>("version")? {
                found if found == known => return Ok(()),
                found if found > known => return Err(StoreError::NewerSchema { found, known }),
                _ => {}
            }
        }
        let silence = self.timeouts.migration;
        let mut change = match self.kind {
            Kind::Sqlite => self.begin_with("BEGIN IMMEDIATE", silence).await?,
            Kind::Postgres => {
                let mut change = self.begin_with("BEGIN", silence).await?;
                // A step may take longer than a statement usually does.
                sqlx::raw_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
                    .execute(change.connection())
                    .await?;
                // Replicas that start together would run the same step twice. The lock ends with
                // the transaction.
                let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATION_LOCK);
                lock.execute(change.connection()).await?;
                change
            }
        };
        change
            .connection()
            .execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY)")
            .await?;
        // Read again under the lock: another process may have brought the schema up to date.
        let found = sqlx::query(read)
            .fetch_one(change.connection())
            .await?
            .try_get::<i64, _>("version")?;
        for (step, version) in STEPS
            .iter()
            .zip(1i64..)
            .skip(usize::try_from(found).unwrap_or(0))
        {
            sqlx::raw_sql(*step).execute(change.connection()).await?;
            let record =
                sqlx::query("INSERT INTO schema_version (version) VALUES ($1)").bind(version);
            record.execute(change.connection()).await?;
        }
        change.commit().await
    }
}

/// A transaction that is rolled back when it is dropped.
#[derive(Debug)]
pub(crate) struct Change {
    transaction: Transaction<'static, Any>,
    silence: Duration,
}

impl Change {
    pub(crate) fn connection(&mut self) -> Bounded<&mut AnyConnection> {
        Bounded::new(&mut *self.transaction, self.silence)
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        Ok(bounded(self.transaction.commit(), self.silence).await?)
    }
}

/// A change in progress. It is the only one until it is committed or dropped.
#[derive(Debug)]
pub struct Write {
    change: Change,
    actor: String,
    now_ms: i64,
}

impl Write {
    /// Makes everything that was done through this value visible and durable.
    ///
    /// # Errors
    /// [`StoreError`] if the database cannot guarantee that; then nothing was changed.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.change.commit().await
    }

    /// When it began, by the database's clock, in milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
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

    pub(crate) fn connection(&mut self) -> Bounded<&mut AnyConnection> {
        self.change.connection()
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

/// Most bytes of the name of somebody who changes something: it stands in every list.
const MAX_ACTOR_BYTES: usize = 256;

fn limited(actor: &str) -> String {
    let end = actor.floor_char_boundary(MAX_ACTOR_BYTES);
    actor[..end].to_owned()
}
