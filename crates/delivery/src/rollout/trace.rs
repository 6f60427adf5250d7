//! How the checks went over time, for plots.

use serde::{Deserialize, Serialize};

use super::check_state::CheckState;
use crate::sequential::Interval;

/// What all checks said from time to time. It never has more than [`MAX_POINTS`] points: once it is full,
/// every second one goes, and later ones are twice as far apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    points: Vec<TracePoint>,
    /// Windows between two points.
    spacing: u64,
    /// Windows since the last point.
    since: u64,
}

/// What all checks said at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracePoint {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What each check said, in the order of the checks.
    pub checks: Vec<CheckPoint>,
}

/// What one check said at one time: see [`Verdict`](super::Verdict).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckPoint {
    /// The log e-value.
    pub log_e: f64,
    /// How much more the new version has.
    pub effect: Option<f64>,
    /// Where that lies.
    pub interval: Option<Interval>,
}

/// Points of a trace, at most: it is persisted with the rollout.
pub const MAX_POINTS: usize = 64;
/// Windows between the first points.
const FIRST_SPACING: u64 = 5;

impl Default for Trace {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            spacing: FIRST_SPACING,
            since: 0,
        }
    }
}

impl Trace {
    /// The points, in order of time.
    pub fn points(&self) -> &[TracePoint] {
        &self.points
    }

    /// Notes what the checks say after a window, if it is time to.
    pub(super) fn window(&mut self, checks: &[CheckState], at_ms: u64) {
        self.since += 1;
        if self.since >= self.spacing {
            self.add(checks, at_ms);
        }
    }

    /// Notes what the checks say now, such as at the end.
    pub(super) fn add(&mut self, checks: &[CheckState], at_ms: u64) {
        if checks.is_empty() {
            return;
        }
        self.since = 0;
        if self.points.len() >= MAX_POINTS {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.spacing *= 2;
        }
        let checks = checks.iter().map(CheckState::point).collect();
        self.points.push(TracePoint { at_ms, checks });
    }
}
