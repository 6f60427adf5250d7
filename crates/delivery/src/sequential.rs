//! Statistics that may be looked at after every request.
//!
//! A p-value of a t-test is only right at one sample size that was fixed beforehand. What is here holds
//! at all times together: the probability that a test ever rejects what is true is at most alpha,
//! however often and for however long somebody looks ("anytime-valid").
//!
//! Tests are bets against the hypothesis that the candidate is no worse than the control. The capital
//! of the bets is an *e-value*: it begins at 1 and its expectation stays at most 1 while the hypothesis
//! is true, so it reaches 1/alpha with probability alpha at most (Ville 1939). [`evidence`] has the
//! rules to combine them.
//!
//! Two kinds of tests are here:
//! - Against a concurrent control: [`EventTest`] for shares of requests (errors, slow requests, missing
//!   outputs, outcomes), [`DistributionTest`] for outputs in bins, [`MeanDifference`] for sums. They
//!   use only that requests were assigned by chance within a short window. So they stay right under
//!   daily cycles, bursts and autocorrelated latency that both versions share. [`BlockTest`] also stays
//!   right where each version has pauses of its own.
//! - Of samples that are independent and come from one distribution for each version:
//!   [`proportion_interval`], [`difference_interval`] and [`quantile_p_value`]. They give intervals,
//!   which reports show.

mod arms;
mod block_test;
mod difference;
mod distribution_test;
mod event_test;
pub mod evidence;
mod limit_test;
mod mean;
pub mod mixture;
mod proportion;
mod quantile;
mod quantile_test;
mod shapes;
mod share_test;
mod window;

pub use arms::Arms;
pub use block_test::{BLOCK_WINDOWS, BlockTest};
pub use difference::difference_interval;
pub use distribution_test::{DistributionTest, MAX_BINS, psi};
pub use event_test::EventTest;
pub use limit_test::LimitTest;
pub use mean::{MIN_WINDOWS, MeanDifference, WindowSums};
pub use proportion::{Interval, proportion_interval};
pub use quantile::{quantile_interval, quantile_p_value};
pub use quantile_test::QuantileTest;
pub use shapes::Bins;
pub use share_test::{ShareTest, Unit};
pub use window::Counts;
