//! Experiments: which of several versions is better for those who use it.
//!
//! An experiment assigns users by a hash of its own ([`ExperimentGroup`]), so that it does not depend on
//! rollouts or on other experiments. [`plan`] says beforehand how many users it needs, and
//! [`mismatch`] whether the assignment works. The effect is estimated from sums that can be merged
//! ([`MetricSums`]), with less variance where something is known of users from before ([`cuped`]), and
//! may be looked at all the time. [`bandit`] moves traffic to what does better.

mod assignment;
pub mod bandit;
pub mod cuped;
mod metric_sums;
pub mod mismatch;
pub mod plan;

pub use assignment::{Arm, ExperimentGroup, Exposure, InvalidGroup, Member};
pub use metric_sums::{Effect, MetricSums};
