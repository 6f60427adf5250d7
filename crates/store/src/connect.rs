//! Connections: where a database is, and how each connection to it is set up.

use std::fmt::Display;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, Connection, Executor};

use crate::StoreError;
use crate::error::is_busy;
use crate::timeouts::{Timeouts, bounded};

/// How long a connection waits for other writers.
const WRITER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a place in the pool is waited for. Those who have one may be waiting for a writer.
const POOL_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a server may take to answer at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection that is given back may take to show that it still answers.
const RETURN_TIMEOUT: Duration = Duration::from_secs(5);
// Queries are short, and writers take turns anyway: more connections would only wait. PostgreSQL
// counts the connections of all replicas against one limit.
const MAX_CONNECTIONS: u32 = 8;

/// Settings of each session with PostgreSQL, unless the user, the URL or the server sets them. A
/// client that vanishes in the middle of a change must not hold up the others.
const POSTGRES_SESSION: &str = "SELECT set_config(wanted.name, wanted.value, false) \
     FROM pg_settings JOIN (VALUES ('lock_timeout', '30s'), ('statement_timeout', '60s'), \
     ('idle_in_transaction_session_timeout', '10s'), ('tcp_keepalives_idle', '10'), \
     ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '20s')) \
     AS wanted (name, value) ON pg_settings.name = wanted.name \
     WHERE pg_settings.setting = '0' \
     OR (pg_settings.source = 'default' AND pg_settings.name LIKE 'tcp%')";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// A database that is about to be opened.
pub(crate) struct Address {
    pub(crate) kind: Kind,
    options: AnyConnectOptions,
    /// For messages: without a password.
    pub(crate) shown: String,
    /// Of SQLite.
    path: PathBuf,
}

impl Address {
    pub(crate) fn parse(database: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let shown = without_password(database);
        let (kind, url) = connection_url(database);
        let options = AnyConnectOptions::from_str(&url).map_err(|error| StoreError::Open {
            database: shown.clone(),
            problem: error.to_string(),
        })?;
        Ok(Self {
            kind,
            options,
            shown,
            path: PathBuf::from(sqlite_path(database)),
        })
    }

    /// Makes what SQLite does not make itself: the folder that the file lies in. Folder and file are for
    /// this user alone; the files that SQLite makes beside it have the permissions of the file.
    pub(crate) fn make_folder(&self) -> Result<(), StoreError> {
        if self.kind != Kind::Sqlite || self.path.as_os_str() == ":memory:" {
            return Ok(());
        }
        if let Some(folder) = self.path.parent()
            && !folder.as_os_str().is_empty()
        {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(folder);
            made.map_err(|error| self.problem(&error))?;
        }
        // What keeps it from being made is SQLite's to report.
        let _ = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path);
        Ok(())
    }

    /// The file of a SQLite database as it is now.
    ///
    /// # Errors
    /// If it does not exist.
    pub(crate) fn file(&self) -> Result<Option<DatabaseFile>, StoreError> {
        if self.kind != Kind::Sqlite || self.path.as_os_str() == ":memory:" {
            return Ok(None);
        }
        DatabaseFile::of(&self.path)
            .map(Some)
            .map_err(|error| self.problem(&error))
    }

    pub(crate) async fn connect(&self, timeouts: &Timeouts) -> Result<AnyPool, StoreError> {
        let kind = self.kind;
        if kind == Kind::Postgres {
            // The pool would go on trying where nobody listens.
            self.reach().await?;
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
            .after_connect(move |connection, _| Box::pin(prepare(connection, kind)))
            .after_release(move |connection, _| {
                Box::pin(async move {
                    // A connection whose answer never came would be waited for without an end.
                    if kind == Kind::Postgres {
                        bounded(connection.ping(), RETURN_TIMEOUT).await?;
                    }
                    Ok(true)
                })
            });
        bounded(pool.connect_with(self.options.clone()), timeouts.write)
            .await
            .map_err(|error| self.problem(&error))
    }

    /// Finds out whether a server answers at all.
    async fn reach(&self) -> Result<(), StoreError> {
        let connecting = AnyConnection::connect_with(&self.options);
        let connection = bounded(connecting, CONNECT_TIMEOUT)
            .await
            .map_err(|error| self.problem(&error))?;
        bounded(connection.close(), CONNECT_TIMEOUT)
            .await
            .map_err(|error| self.problem(&error))
    }

    pub(crate) fn problem(&self, problem: &dyn Display) -> StoreError {
        StoreError::Open {
            database: self.shown.clone(),
            problem: problem.to_string(),
        }
    }
}

/// Which file a path led to. Connections stay with a file that was replaced or removed, and would
/// read it for ever.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl DatabaseFile {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// Whether the path still leads to this file.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let now = Self::of(&self.path);
        let what = match now {
            Ok(now) if (now.device, now.inode) == (self.device, self.inode) => return Ok(()),
            Ok(_) => "was replaced by another file".to_owned(),
            Err(error) => format!("is gone: {error}"),
        };
        Err(StoreError::Unavailable(format!(
            "{} {what}",
            self.path.display()
        )))
    }
}

/// Settings of a new connection.
async fn prepare(connection: &mut AnyConnection, kind: Kind) -> Result<(), sqlx::Error> {
    match kind {
        Kind::Postgres => {
            connection.execute(POSTGRES_SESSION).await?;
            Ok(())
        }
        Kind::Sqlite => prepare_sqlite(connection).await,
    }
}

/// A commit is on the disk before it is acknowledged.
async fn prepare_sqlite(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let timeout = format!("PRAGMA busy_timeout = {}", WRITER_TIMEOUT.as_millis());
    connection.execute(sqlx::AssertSqlSafe(timeout)).await?;
    // SQLite checks foreign keys only where a connection asks for it.
    connection.execute("PRAGMA foreign_keys = ON").await?;
    // Two processes that open a new file at the same moment cannot both change its mode; SQLite
    // does not wait here.
    let mut tries = 0;
    while let Err(error) = connection.execute("PRAGMA journal_mode = WAL").await {
        tries += 1;
        let is_waiting = error.as_database_error().is_some_and(is_busy) && tries <= 100;
        if !is_waiting {
            // The pool would try again for its whole timeout and then say only that it is over.
            // A file that is broken, or a disk that is full, is told by the first statement.
            tracing::warn!(%error, "cannot prepare the database");
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // With a write-ahead log, NORMAL could lose the last commits in a power cut.
    if let Err(error) = connection.execute("PRAGMA synchronous = FULL").await {
        tracing::warn!(%error, "cannot prepare the database");
    }
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

/// A database as it may be shown: `scheme://user:…@host`.
pub fn without_password(database: &str) -> String {
    let Some((scheme, rest)) = database.split_once("://") else {
        return database.to_owned();
    };
    // The last `@`, because a password may have one.
    let shown = match rest.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:…@{host}")
        }
        None => database.to_owned(),
    };
    // libpq takes one as a parameter too.
    match shown.split_once('?') {
        Some((start, parameters)) if parameters.contains("password") => {
            let kept: Vec<&str> = parameters
                .split('&')
                .filter(|parameter| !parameter.contains("password"))
                .collect();
            format!("{start}?{}", kept.join("&"))
        }
        _ => shown,
    }
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

    #[tokio::test]
    async fn a_new_database_is_for_its_user_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("data");
        let path = folder.join("registry.db");
        let store = crate::Store::open(path.to_str().unwrap()).await.unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        for file in std::fs::read_dir(&folder).unwrap() {
            let file = file.unwrap().path();
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
        assert_eq!(
            std::fs::read_dir(&folder).unwrap().count(),
            3,
            "with -wal and -shm"
        );
        store.close().await;
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(
            without_password("postgres://me:s@cret@host/db"),
            "postgres://me:…@host/db"
        );
        assert_eq!(without_password("/data/x.db"), "/data/x.db");
        assert_eq!(
            without_password("postgres://h/db?user=me&password=secret"),
            "postgres://h/db?user=me"
        );
    }

    #[tokio::test]
    async fn sessions_of_postgres_have_limits_unless_the_url_sets_others() {
        let server = crate::postgres::Postgres::start();
        let database = server.database("registry");
        let setting = async |url: &str, name: &str| -> String {
            let address = Address::parse(url).unwrap();
            let pool = address.connect(&Timeouts::default()).await.unwrap();
            let query = sqlx::query("SELECT current_setting($1) AS value").bind(name.to_owned());
            let row = query.fetch_one(&pool).await.unwrap();
            sqlx::Row::try_get(&row, "value").unwrap()
        };
        for (name, limit) in [
            ("lock_timeout", "30s"),
            ("statement_timeout", "1min"),
            ("idle_in_transaction_session_timeout", "10s"),
        ] {
            assert_eq!(setting(&database, name).await, limit, "{name}");
            let own = format!("{database}&options=-c%20{name}=1234");
            assert_eq!(setting(&own, name).await, "1234ms", "{name}");
        }
    }
}
