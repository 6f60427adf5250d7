//! Records that have the looked-up features in them: samples of a bundle, and rows of a table. No
//! store is asked for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Lookup;
use super::cell::filled;
use crate::partial::BadRows;
use crate::records::{self, Records};
use crate::{Pipeline, PipelineError, Reason, RowError, Table};

impl Pipeline {
    /// As [`Pipeline::read_with`], for records that may have looked-up features besides the fields. A
    /// feature that is left out takes its default.
    ///
    /// # Errors
    /// As [`Pipeline::read`] has them; also for a feature that is left out and has no default.
    pub fn read_with_features(
        &self,
        body: &[u8],
        bad_rows: BadRows,
    ) -> Result<Records, PipelineError> {
        let Some(complete) = &self.complete else {
            return self.read_with(body, bad_rows);
        };
        let read = records::read(body, complete, &self.violations, bad_rows);
        let mut records = self.counted(read)?;
        let mut failed = BTreeMap::new();
        let mut place = self.fields.len();
        for lookup in &self.lookups {
            place = lookup.fill_given(&mut records.table, place, &mut failed);
        }
        self.take_out(&mut records, failed)?;
        Ok(records)
    }
}

impl Lookup {
    /// Puts defaults in; gives the place behind its last column.
    fn fill_given(
        &self,
        table: &mut Table,
        first: usize,
        failed: &mut BTreeMap<usize, RowError>,
    ) -> usize {
        for (at, feature) in self.features.iter().enumerate() {
            let column = &mut table.columns[first + at];
            if let Some(stand_in) = feature.stand_in() {
                *column = filled(column, feature.kind, stand_in);
                continue;
            }
            for row in (0..table.rows).filter(|row| column.is_missing(*row)) {
                failed
                    .entry(row)
                    .or_insert_with(|| self.not_given(row, &feature.name));
            }
        }
        first + self.features.len()
    }

    fn not_given(&self, row: usize, feature: &Arc<str>) -> RowError {
        let lookup = &self.name;
        RowError {
            row,
            field: feature.clone(),
            reason: Reason::Required,
            problem: format!(
                "of lookup \"{lookup}\" is missing: no store is asked here, so the record must have \
                 it, or model.toml a default"
            ),
        }
    }
}
