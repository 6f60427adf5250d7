//! Profiles of columns: what came, counted into the bins of a baseline.
//!
//! A baseline is made in two passes over the training data. The first, a [`Survey`], finds the
//! bins: quantiles of numbers from a KLL sketch, the most frequent categories from a frequent items
//! sketch. The second counts into them exactly, so that a comparison has no error of a sketch in
//! it:
//!
//! ```
//! use tidegate_quality::profile::{Baseline, BaselineColumn, Kind, Profile, Survey, Value};
//!
//! let amounts: Vec<f64> = (0..1000).map(f64::from).collect();
//! let mut survey = Survey::new(Kind::Number);
//! amounts.iter().for_each(|&amount| survey.add(Value::Number(amount)));
//! let bins = survey.bins();
//! let mut reference = Profile::new(&bins);
//! amounts.iter().for_each(|&amount| reference.add(&bins, Value::Number(amount)));
//! let column = BaselineColumn { name: "amount".to_owned(), bins, profile: reference };
//! let baseline = Baseline::new(vec![column])?;
//!
//! // Then, for every window of traffic, on every replica:
//! let (mut one, mut other) = (baseline.new_window(), baseline.new_window());
//! one.add(&baseline, 0, Value::Number(12.5));
//! other.add(&baseline, 0, Value::Missing);
//! one.merge(&other)?;
//! assert_eq!(one.column("amount").map(Profile::rows), Some(2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Counting a value is a binary search or one look-up, some additions, and no allocation; only
//! categories that the baseline does not have take a little more.

mod baseline;
mod bins;
mod category_bins;
mod column;
mod exact_number;
mod few_values;
mod file;
mod number_bins;
mod others;
mod sketches;
mod survey;
mod value;

pub use baseline::{Baseline, BaselineColumn, BaselineError, TableProfile};
pub use bins::{Bins, BinsError, Place};
pub use category_bins::CategoryBins;
pub use column::{MergeError, Profile};
pub use file::BaselineFileError;
pub use number_bins::NumberBins;
pub use others::Others;
pub use survey::Survey;
pub use value::{Kind, Value};
