//! Whether two versions gave the same answer to one request: for copies of requests, and for audits of
//! cascades.
//!
//! Count the disagreements, and watch them with a [`LimitTest`](crate::sequential::LimitTest); keep the
//! worst of them in [`WorstPairs`].

mod agreement;
mod rank_correlation;
mod worst;

pub use agreement::Agreement;
pub use rank_correlation::rank_correlation;
pub use worst::WorstPairs;
