//! From a key to a point.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::policy::PARTS;

/// What makes the points of one use of a key independent of those of another use: two endpoints must
/// not give the same users the new version.
///
/// The hash is XXH3 with 64 bits, whose values are fixed by its specification, so that points are
/// the same on every machine and after every upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(u64);

impl Salt {
    /// The salt of a name, such as that of an endpoint or an experiment.
    pub fn of(name: &str) -> Self {
        Self(xxh3_64(name.as_bytes()))
    }

    /// The point of a key, below [`PARTS`].
    ///
    /// ```
    /// use tidegate_delivery::assign::Salt;
    ///
    /// assert_eq!(Salt::of("fraud").point("ada"), Salt::of("fraud").point("ada"));
    /// assert_ne!(Salt::of("fraud").point("ada"), Salt::of("churn").point("ada"));
    /// ```
    pub fn point(self, key: &str) -> u32 {
        scale(self.hash(key))
    }

    /// The hash of a key, of which the high bits are its point.
    pub fn hash(self, key: &str) -> u64 {
        xxh3_64_with_seed(key.as_bytes(), self.0)
    }
}

/// From 64 evenly spread bits to a point, without a division (Lemire, "Fast random integer generation
/// in an interval", 2019). A point is at most 2^-47 more likely than another one.
pub(super) fn scale(bits: u64) -> u32 {
    ((u128::from(bits) * u128::from(PARTS)) >> 64) as u32
}
