//! Bins of categories.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::bins::{BinsError, MAX_BINS};

/// One bin for each of the most frequent categories of the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawCategoryBins", into = "RawCategoryBins")]
pub struct CategoryBins {
    categories: Vec<String>,
    complete: bool,
    /// The bin of each category. Not the keyed hash of the standard library: a look-up per value.
    bins: HashMap<String, usize>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCategoryBins {
    categories: Vec<String>,
    complete: bool,
}

impl CategoryBins {
    /// Bins of categories. `complete` says that the reference has no others, so that every other
    /// category is a new one.
    ///
    /// # Errors
    /// If one is given twice, or there are too many.
    pub fn new(categories: Vec<String>, complete: bool) -> Result<Self, BinsError> {
        if categories.len() > MAX_BINS {
            return Err(BinsError::TooMany(categories.len()));
        }
        let mut bins = HashMap::with_capacity(categories.len());
        for (bin, category) in categories.iter().enumerate() {
            if bins.insert(category.clone(), bin).is_some() {
                return Err(BinsError::Twice(category.clone()));
            }
        }
        Ok(Self {
            categories,
            complete,
            bins,
        })
    }

    /// The categories, in the order of the bins.
    pub fn categories(&self) -> &[String] {
        &self.categories
    }

    /// Whether the reference has no other categories.
    pub fn complete(&self) -> bool {
        self.complete
    }

    pub(super) fn locate(&self, category: &str) -> Option<usize> {
        self.bins.get(category).copied()
    }
}

impl TryFrom<RawCategoryBins> for CategoryBins {
    type Error = BinsError;

    fn try_from(raw: RawCategoryBins) -> Result<Self, BinsError> {
        Self::new(raw.categories, raw.complete)
    }
}

impl From<CategoryBins> for RawCategoryBins {
    fn from(bins: CategoryBins) -> Self {
        Self {
            categories: bins.categories,
            complete: bins.complete,
        }
    }
}
