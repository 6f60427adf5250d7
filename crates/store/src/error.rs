//! What can go wrong with the database itself.

use thiserror::Error;

/// Why the database did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error("cannot open the database {database}: {problem}")]
    Open {
        /// Its URL, without a password.
        database: String,
        /// What the driver says.
        problem: String,
    },
    /// A newer build has been here.
    #[error("the database has schema {found}, this build knows up to {known}: use the newer build")]
    NewerSchema {
        /// Of the database.
        found: i64,
        /// Of this build.
        known: i64,
    },
    /// It cannot be reached, or is kept busy by others for too long.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// It refused a statement, or holds what this build does not understand.
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
fn is_busy(error: &dyn sqlx::error::DatabaseError) -> bool {
    // SQLITE_BUSY and SQLITE_LOCKED, see <https://sqlite.org/rescode.html>. PostgreSQL's classes 08
    // (connection), 53 (resources) and 57 (operator intervention), see its manual, appendix A.
    error.code().is_some_and(|code| {
        matches!(code.as_ref(), "5" | "6" | "261" | "517")
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
