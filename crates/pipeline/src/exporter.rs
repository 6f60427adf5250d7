//! The script that writes state files.

/// A Python module that writes fitted transformers of scikit-learn as a state file.
pub const SKLEARN_EXPORTER: &str = include_str!("../exporter/tidegate_sklearn.py");
