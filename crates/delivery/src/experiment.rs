//! Experiments: which of several versions is better for those who use it.
//!
//! An experiment is a part of a traffic policy ([`Experiment`](crate::policy::Experiment)), which assigns
//! users by a hash of its own, so that it depends neither on rollouts nor on other experiments. [`plan`] says beforehand how many users it needs, and
//! [`mismatch`] whether the assignment works. The effect is estimated from sums that can be merged
//! ([`MetricSums`]), with less variance where something is known of users from before ([`cuped`]), and
//! may be looked at all the time ([`analysis`]). [`bandit`] moves traffic to what does better.

pub mod analysis;
pub mod bandit;
pub mod cuped;
mod metric_sums;
pub mod mismatch;
pub mod plan;

pub use metric_sums::{Effect, MetricSums};
