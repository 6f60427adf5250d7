//! Profiles of the columns of a table.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::bins::Bins;
use super::column::{MergeError, Profile};
use super::value::Value;

/// What drift is measured against: the bins of every column, and what the reference has in them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "RawBaseline", into = "RawBaseline")]
pub struct Baseline {
    columns: Vec<BaselineColumn>,
}

/// A column of a baseline.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineColumn {
    /// The name of the feature, or of the tensor.
    pub name: String,
    /// Its bins.
    pub bins: Bins,
    /// What the reference has in them.
    pub profile: Profile,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBaseline {
    columns: Vec<BaselineColumn>,
}

/// Why something is no baseline.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BaselineError {
    /// Two columns have the same name.
    #[error("the column {0:?} is there twice")]
    Twice(String),
    /// The counts of a column are not those of its bins.
    #[error("the profile of the column {0:?} is not one of its bins")]
    OtherBins(String),
}

impl Baseline {
    /// A baseline of columns, in this order.
    ///
    /// # Errors
    /// If two have one name, or a profile is not of its bins.
    pub fn new(columns: Vec<BaselineColumn>) -> Result<Self, BaselineError> {
        let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(BaselineError::Twice(pair[0].to_owned()));
        }
        if let Some(column) = columns
            .iter()
            .find(|column| !column.profile.is_of(&column.bins))
        {
            return Err(BaselineError::OtherBins(column.name.clone()));
        }
        Ok(Self { columns })
    }

    /// The columns.
    pub fn columns(&self) -> &[BaselineColumn] {
        &self.columns
    }

    /// The number of a column.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// An empty profile of a window.
    pub fn new_window(&self) -> TableProfile {
        let column = |column: &BaselineColumn| NamedProfile {
            name: column.name.clone(),
            profile: Profile::new(&column.bins),
        };
        TableProfile {
            columns: self.columns.iter().map(column).collect(),
        }
    }

    /// The same bins with another reference: an earlier window, the same hour of other weeks.
    ///
    /// # Errors
    /// If the window is not one of this baseline.
    pub fn with_reference(&self, window: &TableProfile) -> Result<Self, MergeError> {
        let mut baseline = self.clone();
        if window.columns.len() != baseline.columns.len() {
            return Err(MergeError);
        }
        for (column, named) in baseline.columns.iter_mut().zip(&window.columns) {
            if column.name != named.name || !named.profile.is_of(&column.bins) {
                return Err(MergeError);
            }
            column.profile.clone_from(&named.profile);
        }
        Ok(baseline)
    }
}

impl TryFrom<RawBaseline> for Baseline {
    type Error = BaselineError;

    fn try_from(raw: RawBaseline) -> Result<Self, BaselineError> {
        Self::new(raw.columns)
    }
}

impl From<Baseline> for RawBaseline {
    fn from(baseline: Baseline) -> Self {
        Self {
            columns: baseline.columns,
        }
    }
}

/// What came in a window, in the columns of a baseline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableProfile {
    columns: Vec<NamedProfile>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct NamedProfile {
    name: String,
    profile: Profile,
}

impl TableProfile {
    /// Counts a value of the column with this number.
    pub fn add(&mut self, baseline: &Baseline, column: usize, value: Value<'_>) {
        let bins = baseline.columns.get(column);
        if let (Some(column), Some(bins)) = (self.columns.get_mut(column), bins) {
            column.profile.add(&bins.bins, value);
        }
    }

    /// Counts numbers of the column with this number.
    pub fn add_numbers(&mut self, baseline: &Baseline, column: usize, numbers: &[f64]) {
        let bins = baseline.columns.get(column);
        if let (Some(column), Some(bins)) = (self.columns.get_mut(column), bins) {
            column.profile.add_numbers(&bins.bins, numbers);
        }
    }

    /// Adds what another window of the same baseline has.
    ///
    /// # Errors
    /// If it is of another baseline. Then nothing is added.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        if self.columns.len() != other.columns.len() {
            return Err(MergeError);
        }
        let mut merged = self.columns.clone();
        for (column, more) in merged.iter_mut().zip(&other.columns) {
            if column.name != more.name {
                return Err(MergeError);
            }
            column.profile.merge(&more.profile)?;
        }
        self.columns = merged;
        Ok(())
    }

    /// The profile of a column.
    pub fn column(&self, name: &str) -> Option<&Profile> {
        self.columns()
            .find(|(column, _)| *column == name)
            .map(|(_, profile)| profile)
    }

    /// The profiles, in the order of the baseline, with their names.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.columns
            .iter()
            .map(|column| (column.name.as_str(), &column.profile))
    }
}
