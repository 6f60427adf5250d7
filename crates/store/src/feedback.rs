//! Feedback: the labels of predictions, as they come.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::{Store, StoreError};

/// The label of one row of a prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// The endpoint that predicted.
    pub endpoint: String,
    /// The id that the answer had.
    pub prediction_id: String,
    /// The row of the request, from 0.
    pub row: i64,
    /// The tenant that sent it; empty for those who act for all.
    pub tenant: String,
    /// When the prediction was made, in milliseconds since 1970.
    pub prediction_ms: i64,
    /// A number, a text or a boolean, as JSON.
    pub label: String,
    /// When it came true, in milliseconds since 1970, if that is known.
    pub event_ms: Option<i64>,
    /// When it was sent, in milliseconds since 1970.
    pub received_ms: i64,
    /// Who sent it.
    pub sent_by: String,
}

/// What became of feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbackOutcome {
    /// It is the first label of the row.
    New,
    /// It replaces another label.
    Corrected,
    /// The row has this label already.
    Same,
}

/// Tells whether feedback has changed since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedbackMark {
    /// Labels.
    pub labels: i64,
    /// How often labels were replaced.
    pub corrections: i64,
}

/// A row of a prediction, and a tenant that has labelled it.
pub type FeedbackKey<'a> = (&'a str, i64, &'a str);

const COLUMNS: &str = "endpoint, prediction_id, row_number, tenant, prediction_ms, label, event_ms, \
                       received_ms, sent_by";

impl Store {
    /// Adds feedback, all or none; what became of each. A label that comes later replaces an earlier one
    /// of the same row by the same tenant.
    ///
    /// # Errors
    /// [`StoreError`] of the database; then nothing was added.
    pub async fn add_feedback(
        &self,
        feedback: &[Feedback],
    ) -> Result<Vec<FeedbackOutcome>, StoreError> {
        // A row comes back only if something was written.
        let sql = format!(
            "INSERT INTO feedback ({COLUMNS}, corrections) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0) \
             ON CONFLICT (endpoint, prediction_id, row_number, tenant) DO UPDATE SET label = excluded.label, \
             event_ms = excluded.event_ms, received_ms = excluded.received_ms, \
             sent_by = excluded.sent_by, corrections = feedback.corrections + 1 \
             WHERE feedback.label <> excluded.label RETURNING corrections"
        );
        let mut change = self.begin().await?;
        let mut outcomes = Vec::with_capacity(feedback.len());
        for one in feedback {
            let query = sqlx::query(sqlx::AssertSqlSafe(sql.as_str()))
                .bind(&one.endpoint)
                .bind(&one.prediction_id)
                .bind(one.row)
                .bind(&one.tenant)
                .bind(one.prediction_ms)
                .bind(&one.label)
                .bind(one.event_ms)
                .bind(one.received_ms)
                .bind(&one.sent_by);
            let written = query.fetch_optional(change.connection()).await?;
            outcomes.push(match written {
                None => FeedbackOutcome::Same,
                Some(row) if row.try_get::<i64, _>("corrections")? == 0 => FeedbackOutcome::New,
                Some(_) => FeedbackOutcome::Corrected,
            });
        }
        change.commit().await?;
        Ok(outcomes)
    }

    /// The feedback of an endpoint on predictions of a time, in the order of their ids: those after a
    /// key, at most so many.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn feedback(
        &self,
        endpoint: &str,
        time_ms: std::ops::Range<i64>,
        after: Option<FeedbackKey<'_>>,
        limit: i64,
    ) -> Result<Vec<Feedback>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM feedback WHERE endpoint = $1 AND prediction_ms >= $2 \
             AND prediction_ms < $3 AND (prediction_id > $4 OR (prediction_id = $4 \
             AND (row_number > $5 OR (row_number = $5 AND tenant > $6)))) \
             ORDER BY prediction_id, row_number, tenant LIMIT $7"
        );
        let (id, row, tenant) = after.unwrap_or(("", -1, ""));
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(endpoint)
            .bind(time_ms.start)
            .bind(time_ms.end)
            .bind(id)
            .bind(row)
            .bind(tenant)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(of_row).collect()
    }

    /// Whether the feedback of an endpoint on predictions of a time has changed: then this has, too.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn feedback_mark(
        &self,
        endpoint: &str,
        time_ms: std::ops::Range<i64>,
    ) -> Result<FeedbackMark, StoreError> {
        // PostgreSQL sums to a type that this driver does not read.
        let sql = "SELECT COUNT(*) AS labels, CAST(COALESCE(SUM(corrections), 0) AS BIGINT) AS corrections \
                   FROM feedback WHERE endpoint = $1 AND prediction_ms >= $2 AND prediction_ms < $3";
        let row = sqlx::query(sql)
            .bind(endpoint)
            .bind(time_ms.start)
            .bind(time_ms.end)
            .fetch_one(self.pool())
            .await?;
        Ok(FeedbackMark {
            labels: row.try_get("labels")?,
            corrections: row.try_get("corrections")?,
        })
    }

    /// Forgets the feedback on rows of predictions of an endpoint, whoever sent it; how many labels that
    /// were.
    ///
    /// # Errors
    /// [`StoreError`] of the database; then none is forgotten.
    pub async fn erase_feedback(
        &self,
        endpoint: &str,
        rows: &[(String, i64)],
    ) -> Result<u64, StoreError> {
        let sql =
            "DELETE FROM feedback WHERE endpoint = $1 AND prediction_id = $2 AND row_number = $3";
        let mut change = self.begin().await?;
        let mut labels = 0;
        for (id, row) in rows {
            let query = sqlx::query(sql).bind(endpoint).bind(id.as_str()).bind(*row);
            labels += query.execute(change.connection()).await?.rows_affected();
        }
        change.commit().await?;
        Ok(labels)
    }

    /// Forgets the feedback on predictions from before a time, in milliseconds since 1970; how many labels
    /// that were.
    ///
    /// # Errors
    /// [`StoreError`] of the database.
    pub async fn forget_feedback(&self, before_ms: i64) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM feedback WHERE prediction_ms < $1")
            .bind(before_ms)
            .execute(self.writing_pool())
            .await?;
        Ok(done.rows_affected())
    }
}

fn of_row(row: &AnyRow) -> Result<Feedback, StoreError> {
    Ok(Feedback {
        endpoint: row.try_get("endpoint")?,
        prediction_id: row.try_get("prediction_id")?,
        row: row.try_get("row_number")?,
        tenant: row.try_get("tenant")?,
        prediction_ms: row.try_get("prediction_ms")?,
        label: row.try_get("label")?,
        event_ms: row.try_get("event_ms")?,
        received_ms: row.try_get("received_ms")?,
        sent_by: row.try_get("sent_by")?,
    })
}
