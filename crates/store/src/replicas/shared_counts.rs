//! Rows of counts: joined, added and read.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use super::SharedCount;
use crate::StoreError;

/// What becomes of a bucket that is there when counts are added…
pub(super) const ADDED: &str = "good = shared_counts.good + excluded.good, \
                     total = shared_counts.total + excluded.total";
/// …and when the counts are all that a replica knows of it.
pub(super) const RAISED: &str = "good = CASE WHEN excluded.total > shared_counts.total \
                      THEN excluded.good ELSE shared_counts.good END, \
                      total = CASE WHEN excluded.total > shared_counts.total \
                      THEN excluded.total ELSE shared_counts.total END";

/// One row for each bucket: a statement may not change a row twice.
pub(super) fn merged(counts: &[SharedCount]) -> Vec<SharedCount> {
    let mut sums: BTreeMap<(&str, i64, i64), (i64, i64)> = BTreeMap::new();
    for count in counts {
        let key = (count.objective.as_str(), count.width_ms, count.bucket);
        let sum = sums.entry(key).or_default();
        *sum = (
            sum.0.saturating_add(count.good),
            sum.1.saturating_add(count.total),
        );
    }
    let rows = sums.into_iter();
    rows.map(
        |((objective, width_ms, bucket), (good, total))| SharedCount {
            objective: objective.to_owned(),
            width_ms,
            bucket,
            good,
            total,
        },
    )
    .collect()
}

pub(super) async fn add(
    connection: impl Executor<'_, Database = Any>,
    group: &str,
    counts: &[SharedCount],
    change: i64,
    to_what_is_there: &str,
) -> Result<(), StoreError> {
    let rows: Vec<String> = (0..counts.len()).map(row_of_placeholders).collect();
    let sql = format!(
        "INSERT INTO shared_counts (replica_group, change, objective, width_ms, bucket, good, total) \
         VALUES {} ON CONFLICT (replica_group, objective, width_ms, bucket) \
         DO UPDATE SET {to_what_is_there}, change = excluded.change",
        rows.join(", ")
    );
    // Not kept prepared: there are as many of it as there are numbers of rows.
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).persistent(false);
    query = query.bind(group).bind(change);
    for count in counts {
        query = query
            .bind(&count.objective)
            .bind(count.width_ms)
            .bind(count.bucket)
            .bind(count.good)
            .bind(count.total);
    }
    query.execute(connection).await?;
    Ok(())
}

/// The group and the change are the same in each row.
fn row_of_placeholders(row: usize) -> String {
    let first = 3 + 5 * row;
    let own: Vec<String> = (first..first + 5)
        .map(|number| format!("${number}"))
        .collect();
    format!("($1, $2, {})", own.join(", "))
}

pub(super) fn count(row: &AnyRow) -> Result<SharedCount, StoreError> {
    Ok(SharedCount {
        objective: row.try_get("objective")?,
        width_ms: row.try_get("width_ms")?,
        bucket: row.try_get("bucket")?,
        good: row.try_get("good")?,
        total: row.try_get("total")?,
    })
}
