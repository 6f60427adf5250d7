//! Traffic in equal steps of time.

use tidegate_observe::{Point, Traffic};

/// A rate over less than this share of a step is too noisy to show.
const LEAST_SHARE: f64 = 0.25;

/// Equal steps of time up to now.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    /// Where the first step begins, in Unix milliseconds.
    pub(crate) first_ms: u64,
    pub(crate) step_ms: u64,
    pub(crate) steps: usize,
    /// When the server started counting.
    started_ms: u64,
    pub(crate) now_ms: u64,
}

/// The value of each step, with the moment at which it is drawn.
pub(crate) type Values = Vec<(u64, Option<f64>)>;

impl Timeline {
    pub(crate) fn new(range_ms: u64, step_ms: u64, started_ms: u64, now_ms: u64) -> Self {
        let step_ms = step_ms.max(1);
        let steps = (range_ms / step_ms).max(1);
        // Steps begin at whole multiples, so that a past value stays the same while time goes on.
        let first_ms = (now_ms / step_ms * step_ms).saturating_sub((steps - 1) * step_ms);
        Self {
            first_ms,
            step_ms,
            steps: usize::try_from(steps).unwrap_or(1),
            started_ms,
            now_ms,
        }
    }

    /// Rates per second; `None` where the server did not run or the step has only just started.
    pub(crate) fn rates(&self, points: &[Point], of: impl Fn(&Traffic) -> u64) -> Values {
        self.values(points, |seconds, traffic| {
            let is_long = seconds * 1000.0 >= LEAST_SHARE * self.step_ms as f64;
            is_long.then(|| traffic.map_or(0, &of) as f64 / seconds)
        })
    }

    /// A value of the requests of each step; `None` without requests.
    pub(crate) fn figures(&self, points: &[Point], of: impl Fn(&Traffic) -> Option<f64>) -> Values {
        // A rate of no requests is 0, but a percentile of none does not exist: a 0 would look fast.
        self.values(points, |_, traffic| traffic.and_then(&of))
    }

    fn values(
        &self,
        points: &[Point],
        of: impl Fn(f64, Option<&Traffic>) -> Option<f64>,
    ) -> Values {
        // Both are sorted by time: each point is taken by the first step that ends after it.
        let mut points = points
            .iter()
            .skip_while(|point| point.at_ms < self.first_ms)
            .peekable();
        let mut values = Values::with_capacity(self.steps);
        for at in 0..self.steps {
            let start_ms = self.first_ms + at as u64 * self.step_ms;
            // The last step is still running; it ends now.
            let end_ms = (start_ms + self.step_ms).min(self.now_ms.max(start_ms + 1));
            let point = points.next_if(|point| point.at_ms < start_ms + self.step_ms);
            // A server that started within the step has counted for a part of it only.
            let ran_ms = end_ms.saturating_sub(start_ms.max(self.started_ms));
            let value = match ran_ms {
                0 => None,
                _ => of(ran_ms as f64 / 1000.0, point.map(|point| &point.traffic)),
            };
            // Shown in the middle of the time that it is about.
            values.push((start_ms + (end_ms - start_ms) / 2, value));
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_030_000;

    fn point(at_ms: u64, answered: u64) -> Point {
        Point {
            at_ms,
            traffic: Traffic {
                answered,
                ..Traffic::default()
            },
        }
    }

    fn rates(started_ms: u64, points: &[Point]) -> Vec<Option<f64>> {
        let timeline = Timeline::new(240_000, 60_000, started_ms, NOW);
        timeline
            .rates(points, |traffic| traffic.answered)
            .into_iter()
            .map(|(_, value)| value)
            .collect()
    }

    #[test]
    fn steps_without_requests_are_nothing_and_the_last_counts_for_what_it_has_run() {
        let points = [point(NOW - 150_000, 60), point(NOW - 30_000, 60)];
        assert_eq!(
            rates(0, &points),
            [Some(0.0), Some(1.0), Some(0.0), Some(2.0)]
        );
    }

    #[test]
    fn before_the_start_there_is_no_figure() {
        let points = [point(NOW - 90_000, 60)];
        assert_eq!(
            rates(NOW - 60_000, &points),
            [None, None, Some(2.0), Some(0.0)]
        );
    }

    #[test]
    fn a_step_that_has_only_just_begun_says_nothing_yet() {
        let timeline = Timeline::new(120_000, 60_000, 0, NOW - 25_000);
        let values = timeline.rates(&[], |traffic| traffic.answered);
        assert_eq!(
            values.iter().map(|value| value.1).collect::<Vec<_>>(),
            [Some(0.0), None]
        );
        assert!(values[1].0 >= timeline.first_ms + 60_000 && values[1].0 <= NOW - 25_000);
    }
}
