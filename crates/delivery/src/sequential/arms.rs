//! The two sides of a comparison.

use serde::{Deserialize, Serialize};

/// One value of the candidate and one of the control, which is the version that it is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arms<T> {
    /// Of the version that is tried.
    pub candidate: T,
    /// Of the version that was there before, at the same time.
    pub control: T,
}

impl<T> Arms<T> {
    /// Both values.
    pub const fn new(candidate: T, control: T) -> Self {
        Self { candidate, control }
    }

    /// Both values, changed in the same way.
    pub fn map<U>(self, change: impl Fn(T) -> U) -> Arms<U> {
        Arms::new(change(self.candidate), change(self.control))
    }

    /// References to both.
    pub const fn as_ref(&self) -> Arms<&T> {
        Arms::new(&self.candidate, &self.control)
    }
}

impl Arms<u64> {
    /// Both together.
    pub const fn total(self) -> u64 {
        self.candidate + self.control
    }

    /// The candidate's part of both; `None` if one side has nothing, since then nothing can be compared.
    pub fn exposure(self) -> Option<f64> {
        if self.candidate == 0 || self.control == 0 {
            return None;
        }
        Some(self.candidate as f64 / self.total() as f64)
    }

    /// Adds to both.
    pub const fn add(&mut self, other: Self) {
        self.candidate += other.candidate;
        self.control += other.control;
    }
}
