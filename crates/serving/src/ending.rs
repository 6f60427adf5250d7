//! The end of a request whose trace shows how long its answer took to encode.

use crate::observation::Observation;
use crate::stats::VersionStats;

/// The observation of an answered request that has a trace. It goes with the answer and is left
/// when that is dropped, which front ends do once they have encoded it. Requests without a trace
/// need no such thing: theirs is left before.
#[derive(Debug)]
pub(crate) struct Ending(Option<Box<Observation>>);

impl Ending {
    /// Leaves an observation: now, or with the answer if it has a trace.
    pub(crate) fn of(observation: Observation, stats: &VersionStats) -> Self {
        if observation.trace.is_some() {
            return Self(Some(Box::new(observation)));
        }
        stats.leave(observation);
        Self(None)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(mut observation) = self.0.take() else {
            return;
        };
        observation.encode = observation
            .received
            .elapsed()
            .saturating_sub(observation.total);
        if let Some(stats) = observation.stats.clone() {
            stats.leave(*observation);
        }
    }
}
