//! Features that are looked up: which entities a request asks for, and their values as columns.

mod cell;
mod given;
mod looked_up;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tidegate_core::{EntityKeyType, FeatureQuery, KeyValue, LookupPolicy};

pub(crate) use self::cell::{Cell, default_cell};
use self::cell::{cell_of, empty_column, push_cell};
pub use self::looked_up::{LookedUp, LookupCounts};
use crate::error::shown;
use crate::partial::PartialRows;
use crate::pipeline::first_problem;
use crate::program::Kind;
use crate::records::Records;
use crate::{Column, Pipeline, PipelineError, Reason, RowError};

/// One lookup of a pipeline.
#[derive(Debug)]
pub struct Lookup {
    pub(crate) name: Arc<str>,
    pub(crate) store: Arc<str>,
    pub(crate) view: Arc<str>,
    /// In ascending order.
    pub(crate) join_keys: Arc<[Arc<str>]>,
    /// Where the value of each join key is.
    pub(crate) keys: Vec<KeySource>,
    /// The names in the store.
    pub(crate) wanted: Arc<[Arc<str>]>,
    pub(crate) features: Vec<FeatureColumn>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) timeout: Duration,
    pub(crate) on_unavailable: LookupPolicy,
    pub(crate) on_stale: LookupPolicy,
}

/// The field that has a part of the key.
#[derive(Debug)]
pub(crate) struct KeySource {
    /// Its place among the fields.
    pub(crate) place: usize,
    pub(crate) field: Arc<str>,
    pub(crate) key_type: EntityKeyType,
}

/// The column that a feature becomes.
#[derive(Debug)]
pub(crate) struct FeatureColumn {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) default: Option<Cell>,
    pub(crate) is_optional: bool,
}

impl Lookup {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store that it asks.
    pub fn store(&self) -> &str {
        &self.store
    }

    /// The view that its features are in.
    pub fn view(&self) -> &str {
        &self.view
    }

    /// The longest that a request waits.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether defaults stand in while the store cannot be asked.
    pub fn has_fallback(&self) -> bool {
        self.on_unavailable == LookupPolicy::Default
    }

    /// The entities of a request: each is asked for once, however many rows it has.
    pub fn begin(&self, records: &Records) -> LookedUp {
        let rows = records.table.rows;
        let mut places: HashMap<Vec<KeyValue>, usize> = HashMap::with_capacity(rows);
        let mut entities = Vec::with_capacity(rows);
        let mut distinct = Vec::new();
        for row in 0..rows {
            let Some(key) = self.key(&records.table.columns, row) else {
                entities.push(None);
                continue;
            };
            let next = distinct.len();
            let place = *places.entry(key.clone()).or_insert(next);
            if place == next {
                distinct.push(key);
            }
            entities.push(Some(place));
        }
        LookedUp {
            query: Arc::new(FeatureQuery {
                view: self.view.clone(),
                join_keys: self.join_keys.clone(),
                features: self.wanted.clone(),
                entities: distinct,
            }),
            entities,
            features: None,
            counts: LookupCounts::default(),
        }
    }

    fn key(&self, columns: &[Column], row: usize) -> Option<Vec<KeyValue>> {
        let keys = self.keys.iter();
        let values = keys.map(|key| key.value(&columns[key.place], row));
        values.collect()
    }

    /// The column of a feature; rows that cannot have one are added to `failed`.
    fn column(
        &self,
        place: usize,
        looked_up: &mut LookedUp,
        now_ms: i64,
        failed: &mut BTreeMap<usize, RowError>,
    ) -> Column {
        let feature = &self.features[place];
        let mut column = empty_column(feature.kind, looked_up.entities.len());
        for row in 0..looked_up.entities.len() {
            let entity = looked_up.entities[row];
            let found = self.found(place, entity, looked_up, now_ms);
            let (cell, outcome) = match found {
                Ok(cell) => (cell, &mut looked_up.counts.found),
                Err(absence) => {
                    let fallback = self.fallback(feature, &absence);
                    let has_default = matches!(fallback, Some(cell) if *cell != Cell::Missing);
                    looked_up.counts.defaults += u64::from(has_default);
                    if fallback.is_none() {
                        let key = entity.map(|entity| &looked_up.query.entities[entity]);
                        let error = self.row_error(row, feature, &absence, key);
                        failed.entry(row).or_insert(error);
                    }
                    let counts = &mut looked_up.counts;
                    let outcome = match absence {
                        Absence::Missing | Absence::Unavailable => &mut counts.missing,
                        Absence::Stale(_) => &mut counts.stale,
                        Absence::Unreadable(_) => &mut counts.unreadable,
                    };
                    (fallback.unwrap_or(&Cell::Missing).clone(), outcome)
                }
            };
            *outcome += 1;
            push_cell(&mut column, cell);
        }
        column
    }

    fn found(
        &self,
        place: usize,
        entity: Option<usize>,
        looked_up: &LookedUp,
        now_ms: i64,
    ) -> Result<Cell, Absence> {
        let Some(features) = &looked_up.features else {
            return Err(Absence::Unavailable);
        };
        let entity = entity.ok_or(Absence::Missing)?;
        let found = &features[entity * self.features.len() + place];
        let cell = cell_of(self.features[place].kind, &found.value);
        if matches!(cell, Ok(Cell::Missing)) {
            return Err(Absence::Missing);
        }
        if let Some(max_age) = self.max_age {
            let age_ms = found
                .event_ms
                .map(|event_ms| now_ms.saturating_sub(event_ms));
            let is_fresh = age_ms.is_some_and(|age_ms| age_ms <= millis(max_age));
            if !is_fresh {
                return Err(Absence::Stale(age_ms));
            }
        }
        cell.map_err(Absence::Unreadable)
    }

    /// What stands in for a value; `None` if nothing does.
    fn fallback<'a>(&self, feature: &'a FeatureColumn, absence: &Absence) -> Option<&'a Cell> {
        let is_allowed = match absence {
            Absence::Missing => true,
            Absence::Unavailable => self.has_fallback(),
            Absence::Stale(_) => self.on_stale == LookupPolicy::Default,
            // The store and model.toml disagree: every request would get the default.
            Absence::Unreadable(_) => false,
        };
        is_allowed.then(|| feature.stand_in()).flatten()
    }

    #[cold]
    fn row_error(
        &self,
        row: usize,
        feature: &FeatureColumn,
        absence: &Absence,
        key: Option<&Vec<KeyValue>>,
    ) -> RowError {
        let lookup = &self.name;
        let entity = self.described(key);
        let (reason, problem) = match absence {
            Absence::Missing => (Reason::Required, format!("has no value for {entity}")),
            Absence::Unavailable => (Reason::Required, "could not be asked for".to_owned()),
            Absence::Unreadable(problem) => {
                (Reason::Unreadable, format!("{problem}, for {entity}"))
            }
            Absence::Stale(age_ms) => {
                let limit = self.max_age.unwrap_or_default().as_secs();
                let age = match age_ms {
                    Some(age_ms) => format!("is {} s old", age_ms / 1000),
                    None => "is of an unknown time".to_owned(),
                };
                let problem = format!("{age}, its max_age_s is {limit}, for {entity}");
                (Reason::Stale, problem)
            }
        };
        RowError {
            row,
            field: feature.name.clone(),
            reason,
            problem: format!("of lookup \"{lookup}\" {problem}"),
        }
    }

    fn described(&self, key: Option<&Vec<KeyValue>>) -> String {
        let Some(key) = key else {
            let fields: Vec<&str> = self.keys.iter().map(|key| &*key.field).collect();
            return format!("a row without a usable {}", fields.join(", "));
        };
        let parts = self.join_keys.iter().zip(key);
        let parts = parts.map(|(name, value)| match value {
            KeyValue::Text(text) => format!("{name} {}", shown(text)),
            KeyValue::Int32(number) => format!("{name} {number}"),
            KeyValue::Int64(number) => format!("{name} {number}"),
        });
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// A number of a field of type integer; `None` if it is missing, or was only flagged as no integer.
fn whole(number: f64) -> Option<i64> {
    const MAX_INTEGER: f64 = (1u64 << 53) as f64;
    let is_whole = number.fract() == 0.0 && number.abs() <= MAX_INTEGER;
    is_whole.then_some(number as i64)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl KeySource {
    /// The value of a row; `None` if it is missing.
    fn value(&self, column: &Column, row: usize) -> Option<KeyValue> {
        match column {
            Column::Text(texts) => texts.get(row).map(|text| KeyValue::Text(text.into())),
            Column::Numbers(numbers) => {
                whole(numbers[row]).and_then(|number| match self.key_type {
                    // No entity has a key that does not fit.
                    EntityKeyType::Int32 => i32::try_from(number).ok().map(KeyValue::Int32),
                    _ => Some(KeyValue::Int64(number)),
                })
            }
            _ => None,
        }
    }
}

impl FeatureColumn {
    /// What stands in for a missing value, if anything does.
    pub(crate) fn stand_in(&self) -> Option<&Cell> {
        let missing = self.is_optional.then_some(&Cell::Missing);
        self.default.as_ref().or(missing)
    }
}

/// Why a feature has no value.
#[derive(Debug)]
enum Absence {
    Missing,
    /// Its age in milliseconds, if it is known.
    Stale(Option<i64>),
    Unreadable(String),
    /// The store was not asked.
    Unavailable,
}

impl Pipeline {
    /// The lookups that records need between [`Pipeline::read`] and [`Pipeline::before`].
    pub fn lookups(&self) -> &[Lookup] {
        &self.lookups
    }

    /// Gives records the columns of looked-up features. `looked_up` has one entry for each lookup, in
    /// order.
    ///
    /// # Errors
    /// [`PipelineError::Row`] for a feature that has no value that may be used.
    pub fn add_features(
        &self,
        records: &mut Records,
        looked_up: &mut [LookedUp],
        now_ms: i64,
    ) -> Result<(), PipelineError> {
        let mut failed = BTreeMap::new();
        for (lookup, looked_up) in self.lookups.iter().zip(looked_up) {
            for place in 0..lookup.features.len() {
                let column = lookup.column(place, looked_up, now_ms, &mut failed);
                records.table.columns.push(column);
            }
        }
        self.take_out(records, failed)
    }

    /// Takes out the rows that have failed, or fails with the first of them.
    fn take_out(
        &self,
        records: &mut Records,
        failed: BTreeMap<usize, RowError>,
    ) -> Result<(), PipelineError> {
        let Some(first) = failed.values().next() else {
            return Ok(());
        };
        for error in failed.values() {
            self.violations.count_error(error);
        }
        let Some(partial) = &mut records.partial else {
            return Err(PipelineError::Row(first.clone()));
        };
        let rows = 0..records.table.rows;
        let good: Vec<usize> = rows.filter(|row| !failed.contains_key(row)).collect();
        // From the last: taking one out moves those behind it.
        for error in failed.into_values().rev() {
            PartialRows::fail(partial, error);
        }
        if good.is_empty() {
            return Err(first_problem(partial));
        }
        records.table = records.table.select(&good);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
