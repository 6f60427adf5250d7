//! Whether the values of a window come from where those of the reference came from.
//!
//! Three layers, each usable alone:
//! - distances between two samples or two rows of counts: [`psi`], [`kl_divergence`],
//!   [`jensen_shannon`], [`hellinger`], [`total_variation`], [`wasserstein`], and tests with
//!   p-values: [`kolmogorov_smirnov`], [`chi_squared`], [`rank_sum`], [`exact_share`];
//! - [`ColumnDrift::compare`]: all of them on two profiles of a column;
//! - [`DriftPolicy::decide`]: which columns of a table have drifted, so that at most a stated share
//!   of windows without drift has an alarm, however many columns there are.
//!
//! ```
//! use tidegate_quality::drift::{ColumnDrift, DriftPolicy};
//! use tidegate_quality::profile::{Bins, NumberBins, Profile};
//!
//! let upper = vec![20.0, 40.0, 60.0, 80.0, 99.0];
//! let bins = Bins::Number(NumberBins::new(0.0, upper).expect("they ascend"));
//! let numbers: Vec<f64> = (0..1000).map(|i| f64::from(i % 100)).collect();
//! let (mut reference, mut window) = (Profile::new(&bins), Profile::new(&bins));
//! reference.add_numbers(&bins, &numbers);
//! let shifted: Vec<f64> = numbers.iter().map(|number| number + 10.0).collect();
//! window.add_numbers(&bins, &shifted);
//!
//! let drift = ColumnDrift::compare(&bins, &reference, &window, None).expect("both have rows");
//! let verdicts = DriftPolicy::default().decide([Some(&drift)]);
//! assert!(verdicts[0].drifted && verdicts[0].p_value.is_some_and(|p| p < 1e-10));
//! ```

mod adjust;
mod among;
mod binned;
mod chi_squared;
mod column;
mod decide;
mod dispersion;
mod distance;
mod exact_share;
mod kolmogorov;
mod places;
mod rank_sum;
mod scores;
mod wasserstein;

pub use adjust::{benjamini_hochberg, benjamini_yekutieli};
pub use chi_squared::{ChiSquared, chi_squared};
pub use column::{ColumnDrift, Part, PartTest};
pub use decide::{DriftPolicy, Verdict};
pub use dispersion::Dispersion;
pub use distance::{Smoothing, hellinger, jensen_shannon, kl_divergence, psi, total_variation};
pub use exact_share::exact_share;
pub use kolmogorov::{KolmogorovSmirnov, kolmogorov_smirnov, kolmogorov_survival};
pub(crate) use places::all as all_places;
pub use rank_sum::{RankSum, rank_sum};
pub use scores::Scores;
pub use wasserstein::wasserstein;
