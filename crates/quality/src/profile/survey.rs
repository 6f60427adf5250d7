//! The first pass over a column: what bins suit it.

use datasketches::common::SearchCriteria;
use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use datasketches::hll::HllSketch;
use datasketches::kll::{KllFloat, KllSketch};
use serde::{Deserialize, Serialize};

use super::bins::Bins;
use super::category_bins::CategoryBins;
use super::few_values::FewValues;
use super::number_bins::NumberBins;
use super::sketches;
use super::value::{CategoryText, Kind, Value};
use crate::moments::Moments;

/// How many quantiles the edges of bins are.
const QUANTILE_BINS: usize = 20;
/// The most categories with a bin of their own.
const MAX_CATEGORIES: usize = 256;
/// Exact up to 768 categories, see `datasketches::frequencies`.
const CATEGORY_MAP_SIZE: usize = 1024;

/// What a column has in it, in sketches: where its bins come from. Can be merged and stored, and
/// stays below 100 kB.
///
/// Quantiles are those of a KLL sketch (Karnin, Lang and Liberty, "Optimal quantile approximation
/// in streams", 2016) with `k = 200`: ranks within 1.33 % for 99 of 100 columns, exact for few
/// values. That sketch draws random bits, so edges of the same data may differ within this error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Survey {
    kind: Kind,
    rows: u64,
    missing: u64,
    nan: u64,
    wrong_type: u64,
    moments: Moments,
    few: FewValues,
    #[serde(with = "sketches")]
    quantiles: KllSketch<KllFloat<f64>>,
    #[serde(with = "sketches")]
    frequent: FrequentItemsSketch<String>,
    #[serde(with = "sketches")]
    distinct: HllSketch,
}

impl Survey {
    /// An empty survey.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            rows: 0,
            missing: 0,
            nan: 0,
            wrong_type: 0,
            moments: Moments::default(),
            few: FewValues::default(),
            quantiles: KllSketch::default(),
            frequent: sketches::new_frequent(CATEGORY_MAP_SIZE),
            distinct: sketches::new_distinct(),
        }
    }

    /// Adds a value.
    pub fn add(&mut self, value: Value<'_>) {
        increase(&mut self.rows, 1);
        match (self.kind, value) {
            (_, Value::Missing) => increase(&mut self.missing, 1),
            (Kind::Number, Value::Text(_)) => increase(&mut self.wrong_type, 1),
            (Kind::Number, Value::Boolean(value)) => self.add_number(f64::from(u8::from(value))),
            (Kind::Number, Value::Number(number)) => self.add_number(number),
            (Kind::Category, value) => self.add_category(value),
        }
    }

    fn add_number(&mut self, number: f64) {
        if number.is_nan() {
            increase(&mut self.nan, 1);
        } else if let (true, Ok(item)) = (number.is_finite(), KllFloat::<f64>::new(number)) {
            self.moments.add(number);
            self.few.add(number);
            self.quantiles.update(item);
        }
    }

    fn add_category(&mut self, value: Value<'_>) {
        match CategoryText::default().of(value) {
            Some(category) => {
                self.frequent.update_ref(category);
                self.distinct.update(category);
            }
            None => increase(&mut self.nan, 1),
        }
    }

    /// Adds what another survey has. If it is of another kind, all its values are of the wrong
    /// type.
    pub fn merge(&mut self, other: &Self) {
        increase(&mut self.rows, other.rows);
        increase(&mut self.missing, other.missing);
        if self.kind != other.kind {
            increase(
                &mut self.wrong_type,
                other.rows.saturating_sub(other.missing),
            );
            return;
        }
        increase(&mut self.nan, other.nan);
        increase(&mut self.wrong_type, other.wrong_type);
        self.moments.merge(&other.moments);
        self.few.merge(&other.few);
        // Only fails if more values than 2^64 were added.
        let _ = self.quantiles.merge(&other.quantiles);
        sketches::merge_frequent(&mut self.frequent, &other.frequent);
        sketches::merge_distinct(&mut self.distinct, &other.distinct);
    }

    /// How many values were added, the missing ones included.
    pub fn rows(&self) -> u64 {
        self.rows
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

    /// Count, mean and variance of the finite numbers.
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// About how many distinct categories there are.
    pub fn distinct_categories(&self) -> f64 {
        self.distinct.composite_estimate()
    }

    /// The number below which the share `rank` of all finite numbers are. `None` without numbers,
    /// or if `rank` is not between 0 and 1.
    pub fn quantile(&self, rank: f64) -> Option<f64> {
        let item = self
            .quantiles
            .quantile(rank, SearchCriteria::Inclusive)
            .ok()??;
        Some(item.into_inner())
    }

    /// Bins for the column: one for each of a few distinct numbers, else between quantiles; or one
    /// for each of the most frequent categories.
    pub fn bins(&self) -> Bins {
        match self.kind {
            Kind::Number => Bins::Number(self.number_bins()),
            Kind::Category => Bins::Category(self.category_bins()),
        }
    }

    fn number_bins(&self) -> NumberBins {
        let mut upper = self.few.get().unwrap_or_else(|| self.quantile_edges());
        // Only a survey that was changed where it was stored has others.
        upper.retain(|edge| edge.is_finite());
        upper.sort_by(f64::total_cmp);
        upper.dedup();
        let lowest = upper.first().copied().unwrap_or_default();
        let least = self
            .quantile(0.0)
            .filter(|least| least.is_finite())
            .unwrap_or_default();
        NumberBins::new(least.min(lowest), upper).expect("they are finite and ascend")
    }

    fn quantile_edges(&self) -> Vec<f64> {
        let ranks: Vec<f64> = (1..=QUANTILE_BINS)
            .map(|i| i as f64 / QUANTILE_BINS as f64)
            .collect();
        let edges = self.quantiles.quantiles(&ranks, SearchCriteria::Inclusive);
        let edges = edges.expect("the ranks are valid").unwrap_or_default();
        edges.into_iter().map(KllFloat::into_inner).collect()
    }

    fn category_bins(&self) -> CategoryBins {
        let rows = self
            .frequent
            .frequent_items_with_threshold(ErrorType::NoFalseNegatives, 0);
        let mut categories: Vec<_> = rows
            .iter()
            .map(|row| (row.estimate(), row.item().clone()))
            .collect();
        categories.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        let complete = self.frequent.maximum_error() == 0 && categories.len() <= MAX_CATEGORIES;
        categories.truncate(MAX_CATEGORIES);
        let categories = categories
            .into_iter()
            .map(|(_, category)| category)
            .collect();
        CategoryBins::new(categories, complete).expect("each category is in the sketch once")
    }
}

fn increase(count: &mut u64, by: u64) {
    *count = count.saturating_add(by);
}
