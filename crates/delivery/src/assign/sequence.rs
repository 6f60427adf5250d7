//! Points for requests without a sticky key.

use std::sync::atomic::{AtomicU64, Ordering};

use super::point::scale;

/// The multiples of the golden ratio, modulo 1: the sequence whose gaps are the most even of all
/// sequences of this form (Kuipers and Niederreiter, "Uniform distribution of sequences", 1974, 2.3).
///
/// Over any stretch of N requests, the count of a segment differs from N times its length by less than
/// about log N. A smooth round robin is as even, but repeats its pattern: with weights 50 % and 50 %, a
/// client that sends a large request after each small one would give all large ones to one version.
#[derive(Debug)]
pub struct Sequence(AtomicU64);

/// 2^64 divided by the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl Sequence {
    /// A sequence that starts at a place of its own, so that replicas do not send their first requests
    /// to the same version.
    pub fn starting_at(start: u64) -> Self {
        Self(AtomicU64::new(start))
    }

    /// The next point, below [`PARTS`](crate::policy::PARTS).
    pub fn next_point(&self) -> u32 {
        // Threads need points of their own, in no order among them.
        scale(self.0.fetch_add(STEP, Ordering::Relaxed))
    }
}
