//! What is behind a drift.
//!
//! [`explain`] says of one column how it changed: values are missing, of another unit, shifted, out
//! of range; a category is new or lost. [`rank`] puts the columns of a table in order, the most
//! changed first. [`histogram`] has the shares before and after, for people.
//!
//! ```
//! use tidegate_quality::cause::{Change, explain};
//! use tidegate_quality::profile::{Bins, NumberBins, Profile};
//!
//! let bins = Bins::Number(NumberBins::new(1.0, vec![20.0, 40.0, 60.0]).expect("they ascend"));
//! let (mut before, mut after) = (Profile::new(&bins), Profile::new(&bins));
//! let euros: Vec<f64> = (1..=60).map(f64::from).collect();
//! before.add_numbers(&bins, &euros);
//! after.add_numbers(&bins, &euros.iter().map(|euro| 100.0 * euro).collect::<Vec<_>>());
//! let causes = explain(&bins, &before, &after);
//! assert_eq!(causes[0].change, Change::Scale { factor: 100.0 });
//! assert_eq!(causes[0].to_string(), "values are multiplied by 100");
//! ```

mod categories;
mod explain;
mod histogram;
mod numbers;
mod rank;

pub use explain::{Cause, Change, explain};
pub use histogram::{Bar, histogram};
pub use rank::rank;
