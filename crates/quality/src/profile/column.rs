//! What came in a column, counted into the bins of its baseline.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::bins::{Bins, Place, place_of_category, place_of_number};
use super::others::Others;
use super::value::{CategoryText, Value};
use crate::moments::Moments;

/// The values of a column in a window: counts in the bins of its baseline and beside them, the
/// moments and range of its numbers. Can be added to, merged and stored; has a fixed size but for
/// [`Others`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Profile {
    /// The checksum of the bins: counts in others are not added to these.
    checksum: u32,
    bins: Vec<u64>,
    missing: u64,
    nan: u64,
    wrong_type: u64,
    below: u64,
    above: u64,
    other: u64,
    moments: Moments,
    least: Option<f64>,
    greatest: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    others: Option<Box<Others>>,
}

/// Two profiles are of different bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the profiles are of different baselines")]
pub struct MergeError;

impl Profile {
    /// An empty profile.
    pub fn new(bins: &Bins) -> Self {
        Self {
            checksum: bins.checksum(),
            bins: vec![0; bins.len()],
            missing: 0,
            nan: 0,
            wrong_type: 0,
            below: 0,
            above: 0,
            other: 0,
            moments: Moments::default(),
            least: None,
            greatest: None,
            others: None,
        }
    }

    /// Counts a value. `bins` are those that the profile was made with.
    pub fn add(&mut self, bins: &Bins, value: Value<'_>) {
        match bins {
            Bins::Number(bins) => {
                let place = place_of_number(bins, value);
                self.count(place);
                match value {
                    Value::Number(number) => self.add_to_range(number),
                    Value::Boolean(value) => self.add_to_range(f64::from(u8::from(value))),
                    _ => {}
                }
            }
            Bins::Category(bins) => {
                let mut text = CategoryText::default();
                let place = place_of_category(bins, value, &mut text);
                self.count(place);
                if place == Place::Other
                    && let Some(category) = text.of(value)
                {
                    self.others
                        .get_or_insert_default()
                        .add(category, self.other, bins.complete());
                }
            }
        }
    }

    /// Counts a column of numbers.
    pub fn add_numbers(&mut self, bins: &Bins, numbers: &[f64]) {
        numbers
            .iter()
            .for_each(|&number| self.add(bins, Value::Number(number)));
    }

    fn add_to_range(&mut self, number: f64) {
        if !number.is_finite() {
            return;
        }
        self.moments.add(number);
        self.least = Some(self.least.map_or(number, |least| least.min(number)));
        self.greatest = Some(
            self.greatest
                .map_or(number, |greatest| greatest.max(number)),
        );
    }

    fn count(&mut self, place: Place) {
        let count = match place {
            Place::Missing => &mut self.missing,
            Place::Nan => &mut self.nan,
            Place::WrongType => &mut self.wrong_type,
            Place::Below => &mut self.below,
            Place::Above => &mut self.above,
            Place::Other => &mut self.other,
            Place::Bin(bin) => match self.bins.get_mut(bin) {
                Some(count) => count,
                // Bins that are not those of this profile.
                None => &mut self.other,
            },
        };
        *count = count.saturating_add(1);
    }

    /// Adds what another profile of the same bins has.
    ///
    /// # Errors
    /// If its bins are others. Then nothing is added.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        if self.checksum != other.checksum || self.bins.len() != other.bins.len() {
            return Err(MergeError);
        }
        for (count, more) in self.bins.iter_mut().zip(&other.bins) {
            *count = count.saturating_add(*more);
        }
        for (count, more) in [
            (&mut self.missing, other.missing),
            (&mut self.nan, other.nan),
            (&mut self.wrong_type, other.wrong_type),
            (&mut self.below, other.below),
            (&mut self.above, other.above),
            (&mut self.other, other.other),
        ] {
            *count = count.saturating_add(more);
        }
        self.moments.merge(&other.moments);
        self.least = extreme(self.least, other.least, f64::min);
        self.greatest = extreme(self.greatest, other.greatest, f64::max);
        if let Some(more) = &other.others {
            self.others.get_or_insert_default().merge(more);
        }
        Ok(())
    }

    /// Whether the counts are those of these bins: of a stored profile this must be asked.
    pub fn is_of(&self, bins: &Bins) -> bool {
        self.checksum == bins.checksum() && self.bins.len() == bins.len()
    }

    /// How many values were counted, the missing ones included.
    pub fn rows(&self) -> u64 {
        let beside = [
            self.missing,
            self.nan,
            self.wrong_type,
            self.below,
            self.above,
            self.other,
        ];
        self.bins
            .iter()
            .chain(&beside)
            .fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// Counts in the bins.
    pub fn bins(&self) -> &[u64] {
        &self.bins
    }

    /// How many were missing.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// How many were NaN.
    pub fn nan(&self) -> u64 {
        self.nan
    }

    /// How many were texts in a column of numbers.
    pub fn wrong_type(&self) -> u64 {
        self.wrong_type
    }

    /// How many were below all numbers of the reference.
    pub fn below(&self) -> u64 {
        self.below
    }

    /// How many were above all numbers of the reference.
    pub fn above(&self) -> u64 {
        self.above
    }

    /// How many were of a category without a bin.
    pub fn other(&self) -> u64 {
        self.other
    }

    /// Count, mean and variance of the finite numbers.
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// The least finite number.
    pub fn least(&self) -> Option<f64> {
        self.least
    }

    /// The greatest finite number.
    pub fn greatest(&self) -> Option<f64> {
        self.greatest
    }

    /// The categories without a bin, if any came.
    pub fn others(&self) -> Option<&Others> {
        self.others.as_deref()
    }

    /// About how many distinct categories came: exact but for those without a bin.
    pub fn distinct_categories(&self) -> f64 {
        let known = self.bins.iter().filter(|&&count| count > 0).count() as f64;
        known + self.others().map_or(0.0, Others::distinct)
    }
}

fn extreme(one: Option<f64>, other: Option<f64>, pick: fn(f64, f64) -> f64) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(pick(one, other)),
        _ => one.or(other),
    }
}
