//! How the checks went over time, for plots.

use serde::{Deserialize, Serialize};

use super::check_state::CheckState;
use super::verdict::Verdict;

/// What all checks said from time to time. It never has more than [`MAX_POINTS`] points: once it is full,
/// every second one goes, and later ones are twice as far apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    points: Vec<Vec<Verdict>>,
    /// Windows between two points.
    spacing: u64,
    /// Windows since the last point.
    since: u64,
}

/// Points of a trace, at most.
pub const MAX_POINTS: usize = 128;

impl Default for Trace {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            spacing: 1,
            since: 0,
        }
    }
}

impl Trace {
    /// The points, in order of time; each has the verdict of each check.
    pub fn points(&self) -> &[Vec<Verdict>] {
        &self.points
    }

    /// Notes what the checks say after a window, if it is time to.
    pub(super) fn window(&mut self, checks: &[CheckState], at_ms: u64) {
        self.since += 1;
        if self.since < self.spacing || checks.is_empty() {
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
        self.points
            .push(checks.iter().map(|check| check.verdict(at_ms)).collect());
    }
}
