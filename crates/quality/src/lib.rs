//! Whether a model is still right: the statistics of data and answers.
//!
//! In: values of features and answers, labels that came later, groups. Out: profiles that can be
//! merged and stored, drift with stated error rates, accuracy with intervals, and what is behind a
//! change.
//!
//! This crate computes, and does nothing else: no clock, no file, no task. It must never depend on
//! the server or on serving. A number that does not exist (the ROC-AUC of one class, the mean of
//! nothing) is `None`, never NaN.

pub mod accuracy;
pub mod cause;
pub mod change;
pub mod drift;
pub mod estimate;
pub mod fairness;
mod moments;
pub mod profile;
mod report;

pub use moments::Moments;
pub use report::{DriftReport, DriftedColumn};
