//! How right a model probably is while its labels are late.
//!
//! Confidence-based performance estimation, as NannyML does it (CBPE; Kivimäki et al., "Estimating
//! model performance under covariate shift without labels", arXiv 2401.08348): if probabilities are
//! calibrated, each says how likely its own answer is right, and sums of them are expected counts
//! of right and wrong answers.
//!
//! It sees a change of the data: more answers in which the model itself is unsure. It cannot see
//! that the same data mean something else now (concept drift), nor data unlike all of the
//! reference. So an estimate is shown beside what the labels say later, and never in place of it.
//!
//! ```
//! use tidegate_quality::accuracy::Confidence;
//! use tidegate_quality::estimate::{Calibration, ExpectedScores};
//!
//! // The reference: labelled answers that the model was not trained on.
//! let scores: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1000.0).collect();
//! let labels: Vec<bool> = (0..1000).map(|i| i * 7919 % 1000 < i).collect();
//! let calibration = Calibration::fit(&scores, &labels).expect("they have two classes");
//!
//! let mut expected = ExpectedScores::default();
//! for score in [0.9, 0.8, 0.1] {
//!     expected.add(score, calibration.probability(score).expect("a score"), score >= 0.5);
//! }
//! let accuracy = expected.accuracy(Confidence::default()).expect("there are answers");
//! assert!(accuracy.value > 0.7 && accuracy.n == 3);
//! ```

mod binary;
mod calibration;
mod classes;
mod isotonic;
mod reference;

pub use binary::{ExpectedScores, expected_average_precision, expected_roc_auc};
pub use calibration::Calibration;
pub use classes::{ClassCalibration, ExpectedConfusion};
pub use isotonic::Isotonic;
pub use reference::{ClassReference, ScoreReference};
