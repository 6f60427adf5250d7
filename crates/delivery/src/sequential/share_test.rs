//! A comparison of shares, with what counts as one observation.

use serde::{Deserialize, Serialize};

use super::arms::Arms;
use super::block_test::BlockTest;
use super::event_test::EventTest;
use super::window::Counts;

/// What counts as one observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A request: the soonest verdict, where requests depend on each other only through what both
    /// versions share.
    Request,
    /// A block of windows: where each version has pauses of its own.
    Block,
}

/// One of both tests of shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareTest {
    /// See [`EventTest`].
    Request(EventTest),
    /// See [`BlockTest`].
    Block(BlockTest),
}

impl ShareTest {
    /// A test that has seen nothing yet.
    pub fn new(unit: Unit, min_effect: f64) -> Self {
        match unit {
            Unit::Request => Self::Request(EventTest::new(min_effect)),
            Unit::Block => Self::Block(BlockTest::new(min_effect)),
        }
    }

    /// Adds a window.
    pub fn add(&mut self, window: Arms<Counts>) {
        match self {
            Self::Request(test) => test.add(window),
            Self::Block(test) => test.add(window),
        }
    }

    /// Forgets what waits to be compared: the weights change.
    pub fn drop_pending(&mut self) {
        match self {
            Self::Request(test) => test.drop_pending(),
            Self::Block(test) => test.drop_pending(),
        }
    }

    /// The log of the e-value.
    pub fn log_e(&self) -> f64 {
        match self {
            Self::Request(test) => test.log_e(),
            Self::Block(test) => test.log_e(),
        }
    }

    /// What was compared so far.
    pub fn total(&self) -> Arms<Counts> {
        match self {
            Self::Request(test) => test.total(),
            Self::Block(test) => test.total(),
        }
    }

    /// The candidate's share of events minus the control's; `None` before anything was compared.
    pub fn effect(&self) -> Option<f64> {
        let shares = self.total().map(Counts::share);
        Some(shares.candidate? - shares.control?)
    }
}
