//! Whether a model treats groups alike.
//!
//! In: for each answer its group, whether it was positive, its score, and the label if there is
//! one. Out: rates of each group with intervals, and [`Disparities`] between the groups that have
//! enough rows.
//!
//! ```
//! use tidegate_quality::accuracy::Confidence;
//! use tidegate_quality::fairness::{Answer, Groups};
//!
//! let mut groups = Groups::default();
//! for (group, positive) in [("a", true), ("a", true), ("b", true), ("b", false)] {
//!     groups.add(group, Answer { positive, score: None, label: None });
//! }
//! let disparities = groups.disparities(1, Confidence::default());
//! let parity = disparities.demographic_parity.expect("there are two groups");
//! assert_eq!((parity.difference.value, parity.ratio.map(|ratio| ratio.value)), (0.5, Some(0.5)));
//! assert_eq!((parity.highest.as_str(), parity.lowest.as_str()), ("a", "b"));
//! ```

mod disparity;
mod groups;

pub use disparity::{Disparities, Disparity};
pub use groups::{Answer, GroupRates, Groups};
