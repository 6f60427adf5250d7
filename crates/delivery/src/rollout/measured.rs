//! What was measured of one metric in one window.

use serde::{Deserialize, Serialize};

use crate::sequential::{Arms, Counts, WindowSums};

/// The measurements of one metric in one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// Requests, and those that had the event.
    Share(Arms<Counts>),
    /// How many values fell into each bin: of latencies, or of outputs.
    Histogram(Arms<Vec<u64>>),
    /// How many values, and their sum.
    Sums(Arms<WindowSums>),
    /// Pairs of requests, and those on which the versions disagreed.
    Pairs(Counts),
    /// What something outside said.
    External {
        /// Whether it says that the new version is bad.
        failed: bool,
        /// In its words: the value, the limit, the query.
        message: String,
    },
}
