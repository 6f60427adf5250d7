//! Errors of the database itself.

use thiserror::Error;

/// Why the database failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error("cannot open the database {database}: {problem}")]
    Open {
        /// Its URL, without a password.
        database: String,
        /// The driver's message.
        problem: String,
    },
    /// A newer build has changed it.
    #[error("the database has schema {found}, this build knows up to {known}: use the newer build")]
    NewerSchema {
        /// The schema version of the database.
        found: i64,
        /// The schema version of this build.
        known: i64,
    },
    /// It cannot be reached, or other writers take too long.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// It refused a statement, or holds values that this build does not understand.
    #[error("the database refused: {0}")]
    Refused(String),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) if !is_busy(inner.as_ref()) => {
                Self::Refused(inner.to_string())
            }
            sqlx::Error::Database(_)
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

/// Whether the database refuses only for now, so that a retry may succeed.
pub(crate) fn is_busy(error: &(dyn sqlx::error::DatabaseError + 'static)) -> bool {
    // SQLITE_BUSY and SQLITE_LOCKED, see <https://sqlite.org/rescode.html>. PostgreSQL's classes 08
    // (connection), 53 (resources) and 57 (operator intervention), a lock that was not given in time,
    // and a transaction that was ended while it was idle; see its manual, appendix A.
    error.code().is_some_and(|code| {
        matches!(code.as_ref(), "5" | "6" | "261" | "517" | "55P03" | "25P03")
            || ["08", "53", "57"]
                .iter()
                .any(|class| code.len() == 5 && code.starts_with(class))
    })
}

/// A value of the database that this build does not know.
pub(crate) fn unknown(what: &str, value: &str) -> StoreError {
    StoreError::Refused(format!(
        "it holds the {what} {value:?}, which this build does not know"
    ))
}
