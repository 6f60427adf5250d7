//! How right a model was, from its answers and the labels that came later.
//!
//! Accumulators take one labelled answer after the other, are merged over replicas and windows, and
//! stored: [`Confusion`] for classes, [`BinaryScores`] for probabilities of a class,
//! [`ClassProbabilities`] for probabilities of many, [`Regression`], [`Ranking`] and [`Forecast`].
//! Every result is an [`Estimate`]: a value with its confidence interval and the number of labels
//! that it rests on.
//!
//! ```
//! use tidegate_quality::accuracy::{BinaryScores, Confidence};
//!
//! let mut scores = BinaryScores::new(0.5).expect("a threshold between 0 and 1");
//! for (score, positive) in [(0.9, true), (0.8, true), (0.7, false), (0.2, false)] {
//!     scores.add(score, positive);
//! }
//! let accuracy = scores.accuracy(Confidence::default()).expect("there are labels");
//! assert_eq!((accuracy.value, accuracy.n), (0.75, 4));
//! assert!(accuracy.low < 0.35 && accuracy.high > 0.95);
//! ```

mod binary;
mod calibration;
mod classes;
mod confusion;
mod estimate;
mod forecast;
mod ranked;
mod ranking;
mod regression;

pub use binary::BinaryScores;
pub use calibration::{CalibrationBin, CalibrationBins};
pub use classes::ClassProbabilities;
pub use confusion::{ClassAccuracy, Confusion, CostMatrix};
pub use estimate::{Confidence, Estimate};
pub use forecast::{Forecast, naive_error};
pub(crate) use ranked::{Group, area as ranked_area, precision as ranked_precision};
pub use ranked::{average_precision, roc_auc};
pub use ranking::{Ranking, ndcg, reciprocal_rank};
pub use regression::Regression;
