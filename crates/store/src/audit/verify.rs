//! Checking the chain.

use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{AuditAnchor, AuditRecord, PRUNE, record};
use crate::{Store, StoreError};

/// Most problems that are reported: one early row that is missing says enough.
const MAX_PROBLEMS: usize = 100;
/// Rows that are read at once.
const PAGE: i64 = 1000;
/// Rows may be removed from the front while the log is read; then it is read again.
const MAX_ATTEMPTS: usize = 3;

/// What a check of the log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditReport {
    /// How many rows were checked.
    pub rows: u64,
    /// The last row that was removed from the front; number 0 if none was.
    pub removed: AuditAnchor,
    /// The newest row.
    pub head: AuditAnchor,
    /// What is wrong; empty if nothing is. At most a hundred.
    pub problems: Vec<AuditProblem>,
}

/// Something that is wrong with the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditProblem {
    /// The number of the row at which it shows.
    pub number: i64,
    /// What is wrong there.
    pub what: String,
}

impl Store {
    /// Checks every row, and that the log still has the rows of `anchors`.
    ///
    /// # Errors
    /// [`StoreError`] of the database; what is wrong with the log is no error.
    pub async fn verify_audit(&self, anchors: &[AuditAnchor]) -> Result<AuditReport, StoreError> {
        let mut attempt = 1;
        loop {
            let report = self.check_audit(anchors).await?;
            let is_same_front = self.audit_removed().await? == report.removed;
            if is_same_front || attempt == MAX_ATTEMPTS {
                return Ok(report);
            }
            attempt += 1;
        }
    }

    async fn check_audit(&self, anchors: &[AuditAnchor]) -> Result<AuditReport, StoreError> {
        let removed = self.audit_removed().await?;
        let mut check = AuditCheck::after(removed, anchors);
        // From the smallest number: one below 1 is wrong too.
        let mut from = Some(i64::MIN);
        while let Some(start) = from {
            let rows = self.audit_rows(start, PAGE).await?;
            let is_last = (rows.len() as i64) < PAGE;
            for row in &rows {
                check.row(row);
            }
            from = (!is_last)
                .then(|| check.head.number.checked_add(1))
                .flatten();
        }
        Ok(check.finish())
    }
}

/// A check of the chain, row by row, for whoever reads the log elsewhere than in its database. Rows come
/// oldest first.
#[derive(Debug)]
pub struct AuditCheck<'a> {
    rows: u64,
    removed: AuditAnchor,
    anchors: &'a [AuditAnchor],
    head: AuditAnchor,
    /// The last row that says which rows were removed.
    pruned: Option<AuditAnchor>,
    problems: Vec<AuditProblem>,
}

impl<'a> AuditCheck<'a> {
    /// A check of the rows that follow the last removed one, which must have those of `anchors`.
    pub fn after(removed: AuditAnchor, anchors: &'a [AuditAnchor]) -> Self {
        Self {
            rows: 0,
            head: removed.clone(),
            removed,
            anchors,
            pruned: None,
            problems: Vec::new(),
        }
    }

    fn row(&mut self, row: &AnyRow) {
        match record(row) {
            Ok(record) => self.record(&record),
            Err(error) => {
                self.rows += 1;
                let number = row
                    .try_get("number")
                    .unwrap_or(self.head.number.saturating_add(1));
                self.problem(number, format!("it cannot be read: {error}"));
                self.head.number = number;
            }
        }
    }

    /// Checks the next row.
    pub fn record(&mut self, record: &AuditRecord) {
        self.rows += 1;
        let number = record.number;
        let expected = self.head.number.saturating_add(1);
        if number > expected {
            self.problem(
                expected,
                format!("rows {expected} to {} are missing", number - 1),
            );
        } else if number < expected {
            self.problem(number, "it stands before the first row".to_owned());
        } else if record.previous_hash != self.head.hash {
            self.problem(number, "it does not follow the row before it".to_owned());
        }
        if record.hash != record.computed_hash() {
            self.problem(number, "it was changed".to_owned());
        }
        for anchor in self.anchors {
            if anchor.number == number && anchor.hash != record.hash {
                let what = "it is another row than the one that an anchor was made of".to_owned();
                self.problem(number, what);
            }
        }
        if record.entry.action == PRUNE {
            self.pruned = removed_by(record);
        }
        self.head = AuditAnchor {
            number,
            hash: record.hash.clone(),
        };
    }

    /// What was found, once there are no more rows.
    pub fn finish(mut self) -> AuditReport {
        let head = self.head.number;
        let newest = self.anchors.iter().map(|anchor| anchor.number).max();
        if let Some(newest) = newest.filter(|newest| *newest > head) {
            let what = format!(
                "rows {} to {newest}, which an anchor knows, are missing",
                head + 1
            );
            self.problem(newest, what);
        }
        // Whoever removes rows from the front must say so in the chain.
        let is_told = match &self.pruned {
            Some(pruned) => *pruned == self.removed,
            None => self.removed.number == 0,
        };
        if !is_told {
            let what = "rows before it are missing, and no row says that they were removed";
            self.problem(self.removed.number.saturating_add(1), what.to_owned());
        }
        AuditReport {
            rows: self.rows,
            removed: self.removed,
            head: self.head,
            problems: self.problems,
        }
    }

    fn problem(&mut self, number: i64, what: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(AuditProblem { number, what });
        }
    }
}

fn removed_by(record: &AuditRecord) -> Option<AuditAnchor> {
    let state: Value = serde_json::from_str(&record.entry.state_after).ok()?;
    Some(AuditAnchor {
        number: state.get("through")?.as_i64()?,
        hash: state.get("hash")?.as_str()?.to_owned(),
    })
}
