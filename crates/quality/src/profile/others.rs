//! Categories that the baseline has no bin for.

use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use datasketches::hll::HllSketch;
use serde::{Deserialize, Serialize};

use super::sketches;

/// 48 categories at most are stored: enough to name the new ones that matter.
const MAP_SIZE: usize = 64;

/// In a column with more categories than bins, one of so many values is looked at for the frequent
/// ones: most values of such a column may come here, and are rare.
const SAMPLED: u64 = 16;

/// Categories that the baseline has no bin for: the most frequent ones by name, and how many
/// different ones there are. At most some kB.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Others {
    #[serde(with = "sketches")]
    frequent: FrequentItemsSketch<String>,
    #[serde(with = "sketches")]
    distinct: HllSketch,
}

impl Default for Others {
    fn default() -> Self {
        Self {
            frequent: sketches::new_frequent(MAP_SIZE),
            distinct: sketches::new_distinct(),
        }
    }
}

impl Others {
    /// Adds a category, which is the value with this number to come here. `all_new` if the
    /// reference has no such categories: then few come, and each is looked at.
    pub(super) fn add(&mut self, category: &str, number: u64, all_new: bool) {
        self.distinct.update(category);
        if all_new {
            self.frequent.update_ref(category);
        } else if number.is_multiple_of(SAMPLED) {
            self.frequent.update_with_count_ref(category, SAMPLED);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        sketches::merge_frequent(&mut self.frequent, &other.frequent);
        sketches::merge_distinct(&mut self.distinct, &other.distinct);
    }

    /// The most frequent categories, each with a count that it has at least; descending. In a
    /// column with more categories than bins this is an estimate from a sixteenth of the values.
    pub fn frequent(&self) -> Vec<(String, u64)> {
        let rows = self
            .frequent
            .frequent_items_with_threshold(ErrorType::NoFalseNegatives, 0);
        let mut frequent: Vec<_> = rows
            .into_iter()
            .map(|row| (row.item().clone(), row.lower_bound()))
            .collect();
        frequent.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        frequent
    }

    /// About how many different categories there are: exact up to some dozens, beyond that with a
    /// standard error of 6.5 % (Flajolet et al., "HyperLogLog", 2007).
    pub fn distinct(&self) -> f64 {
        // Not the estimate that depends on the order of the updates.
        self.distinct.composite_estimate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequent_ones_are_named_among_many_rare_ones() {
        let mut others = Others::default();
        for i in 0..10_000_u64 {
            others.add(&format!("rare-{i}"), i, true);
            if i % 4 == 0 {
                others.add("GBP", i, true);
            }
        }
        let frequent = others.frequent();
        assert!(frequent.len() <= 48);
        let (name, at_least) = &frequent[0];
        assert_eq!(name, "GBP");
        // The bound of the sketch: 3.5 / 64 of all 12,500.
        assert!((2500 - 684..=2500).contains(at_least), "{at_least}");
        assert!((others.distinct() / 10_001.0 - 1.0).abs() < 0.2);
    }
}
