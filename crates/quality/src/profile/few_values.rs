//! The distinct numbers of a column, as long as there are few.

use serde::{Deserialize, Serialize};

use super::exact_number::ExactNumber;

/// Up to how many distinct numbers each get a bin of their own.
const MOST: usize = 32;

/// The distinct numbers of a column in ascending order; `None` once there were more than a few. For
/// labels, ratings and counts, whose quantiles fall on the same few numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FewValues(Option<Vec<ExactNumber>>);

impl Default for FewValues {
    fn default() -> Self {
        Self(Some(Vec::new()))
    }
}

impl FewValues {
    pub(super) fn add(&mut self, number: f64) {
        let Some(values) = &mut self.0 else { return };
        let place = values.partition_point(|value| value.0 < number);
        if values.get(place) == Some(&ExactNumber(number)) {
            return;
        }
        if values.len() == MOST {
            self.0 = None;
            return;
        }
        values.insert(place, ExactNumber(number));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        match &other.0 {
            Some(values) => values.iter().for_each(|value| self.add(value.0)),
            None => self.0 = None,
        }
    }

    pub(super) fn get(&self) -> Option<Vec<f64>> {
        let values = self.0.as_ref()?;
        Some(values.iter().map(|value| value.0).collect())
    }
}
