//! The bins that a column is counted into.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::category_bins::CategoryBins;
use super::number_bins::NumberBins;
use super::value::{CategoryText, Kind, Value};

/// The most bins of a column.
pub(super) const MAX_BINS: usize = 4096;

/// The bins of a column: those that its reference has values in. What is in none of them is counted
/// beside them, see [`Place`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bins {
    /// Bins of numbers.
    Number(NumberBins),
    /// Bins of categories.
    Category(CategoryBins),
}

/// Where a value is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// There is no value.
    Missing,
    /// It is NaN.
    Nan,
    /// A text in a column of numbers.
    WrongType,
    /// A number below all numbers of the reference.
    Below,
    /// A number above all numbers of the reference.
    Above,
    /// A category that has no bin.
    Other,
    /// A bin.
    Bin(usize),
}

/// Why bins cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BinsError {
    /// More than a profile may have.
    #[error("a column has {0} bins, at most are {MAX_BINS}")]
    TooMany(usize),
    /// Edges that are no edges.
    #[error("edges of bins must be finite and ascend")]
    Edges,
    /// A category that has two bins.
    #[error("the category {0:?} has two bins")]
    Twice(String),
}

impl Bins {
    /// What the values are.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Number(_) => Kind::Number,
            Self::Category(_) => Kind::Category,
        }
    }

    /// How many bins there are, without the places beside them.
    pub fn len(&self) -> usize {
        match self {
            Self::Number(bins) => bins.upper().len(),
            Self::Category(bins) => bins.categories().len(),
        }
    }

    /// Whether the reference had no values at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text of a bin for people: `(10, 20]`, or the category.
    pub fn label(&self, bin: usize) -> Option<String> {
        match self {
            Self::Category(bins) => bins.categories().get(bin).cloned(),
            Self::Number(bins) => {
                let upper = bins.upper().get(bin)?;
                Some(match bin.checked_sub(1) {
                    Some(before) => format!("({}, {upper}]", bins.upper()[before]),
                    None => format!("[{}, {upper}]", bins.least()?),
                })
            }
        }
    }

    /// Where a value is counted.
    pub fn place(&self, value: Value<'_>) -> Place {
        match self {
            Self::Number(bins) => place_of_number(bins, value),
            Self::Category(bins) => place_of_category(bins, value, &mut CategoryText::default()),
        }
    }

    /// Tells bins apart, so that counts of different bins are never added.
    pub(super) fn checksum(&self) -> u32 {
        let mut checksum = crc32fast::Hasher::new();
        match self {
            Self::Number(bins) => {
                checksum.update(b"number");
                let edges = bins.least().into_iter().chain(bins.upper().iter().copied());
                edges.for_each(|edge| checksum.update(&edge.to_bits().to_le_bytes()));
            }
            Self::Category(bins) => {
                checksum.update(b"category");
                for category in bins.categories() {
                    checksum.update(&(category.len() as u64).to_le_bytes());
                    checksum.update(category.as_bytes());
                }
            }
        }
        checksum.finalize()
    }
}

pub(super) fn place_of_number(bins: &NumberBins, value: Value<'_>) -> Place {
    let number = match value {
        Value::Number(number) if number.is_nan() => return Place::Nan,
        Value::Number(number) => number,
        Value::Boolean(value) => f64::from(u8::from(value)),
        Value::Missing => return Place::Missing,
        Value::Text(_) => return Place::WrongType,
    };
    match bins.locate(number) {
        Ok(bin) => Place::Bin(bin),
        Err(false) => Place::Below,
        Err(true) => Place::Above,
    }
}

pub(super) fn place_of_category(
    bins: &CategoryBins,
    value: Value<'_>,
    text: &mut CategoryText,
) -> Place {
    match text.of(value) {
        Some(category) => bins.locate(category).map_or(Place::Other, Place::Bin),
        None if value == Value::Missing => Place::Missing,
        None => Place::Nan,
    }
}
