//! Service level indicators: which requests are good, which are bad, and which do not count.

use std::fmt;
use std::time::Duration;

/// The error codes that count against availability: failures that the server is responsible for.
///
/// These are the codes of `docs/reference/errors.md` with a status of 500 and above, such as
/// `deadline_exceeded` (504), and `queue_full` (429: the server had no capacity). All other codes are
/// client errors. They count neither as good nor as bad: otherwise a client with a bug could use up
/// the error budget, or hide that it is used up.
pub const SERVER_FAULTS: [&str; 20] = [
    "queue_full",
    "execution_failed",
    "upstream_failed",
    "upstream_invalid",
    "upstream_unavailable",
    "breaker_open",
    "features_invalid",
    "features_unavailable",
    "features_stale",
    "internal",
    "not_ready",
    "graph_failed",
    "graph_node_unavailable",
    "memory_full",
    "auth_unavailable",
    "audit_unavailable",
    "not_saved",
    "traffic_unavailable",
    "shutting_down",
    "deadline_exceeded",
];

/// The error codes that count against freshness: a feature that the request needed was too old.
pub const FRESHNESS_FAULTS: [&str; 1] = ["features_stale"];

/// How one request ended, as far as an indicator needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It was answered, after this time.
    Answered(Duration),
    /// It failed with this error code.
    Failed(&'a str),
}

/// A service level indicator: the share of good requests among those that count.
///
/// ```
/// use std::time::Duration;
/// use tidegate_observe::{LatencyBound, Outcome, Sli};
///
/// let bound = LatencyBound::nearest(50.0).expect("50 ms is in the histogram's range");
/// let sli = Sli::Latency(bound);
/// assert_eq!(bound.ms(), 51.2);
/// assert_eq!(sli.classify(Outcome::Answered(Duration::from_millis(60))), Some(false));
/// assert_eq!(sli.classify(Outcome::Failed("queue_full")), None);
/// assert_eq!(Sli::Availability.classify(Outcome::Failed("queue_full")), Some(false));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sli {
    /// Answered requests are good; requests that failed with one of [`SERVER_FAULTS`] are bad.
    Availability,
    /// Of the answered requests, those that took no longer than the bound are good.
    Latency(LatencyBound),
    /// Answered requests are good; requests that failed with one of [`FRESHNESS_FAULTS`] are bad.
    Freshness,
}

impl Sli {
    /// Whether a request was good; `None` if it does not count.
    pub fn classify(self, outcome: Outcome<'_>) -> Option<bool> {
        match (self, outcome) {
            (Self::Availability, Outcome::Answered(_)) => Some(true),
            (Self::Availability, Outcome::Failed(code)) => {
                SERVER_FAULTS.contains(&code).then_some(false)
            }
            (Self::Latency(bound), Outcome::Answered(took)) => Some(took <= bound.duration()),
            (Self::Latency(_), Outcome::Failed(_)) => None,
            (Self::Freshness, Outcome::Answered(_)) => Some(true),
            (Self::Freshness, Outcome::Failed(code)) => {
                FRESHNESS_FAULTS.contains(&code).then_some(false)
            }
        }
    }

    /// `availability`, `latency` or `freshness`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Availability => "availability",
            Self::Latency(_) => "latency",
            Self::Freshness => "freshness",
        }
    }
}

/// An upper bound of a bucket of `tidegate_request_duration_seconds`: 100 µs · 2^k, for k from 0 to
/// 17. Only for such a bound does Prometheus know exactly how many requests took no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LatencyBound(u32);

impl LatencyBound {
    const COUNT: u32 = 18;
    const FIRST_US: u64 = 100;

    /// Every bound, the smallest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// The bound nearest to a threshold in milliseconds, the lower one of two; `None` outside of
    /// 0.1 ms to 13107.2 ms, where there are no buckets.
    pub fn nearest(threshold_ms: f64) -> Option<Self> {
        let (first, last) = (Self(0), Self(Self::COUNT - 1));
        if !(first.ms()..=last.ms()).contains(&threshold_ms) {
            return None;
        }
        // Of two equal distances `min_by` takes the first, which is the stricter bound.
        Self::all().min_by(|a, b| {
            let distance = (a.ms() - threshold_ms).abs();
            distance.total_cmp(&(b.ms() - threshold_ms).abs())
        })
    }

    /// The bound.
    pub fn duration(self) -> Duration {
        Duration::from_micros(Self::FIRST_US << self.0)
    }

    /// Its index among all bounds, the smallest first.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The bound in milliseconds.
    pub fn ms(self) -> f64 {
        (Self::FIRST_US << self.0) as f64 / 1e3
    }

    /// The bound in seconds, as `/metrics` writes it in the label `le`.
    pub fn seconds(self) -> f64 {
        (Self::FIRST_US << self.0) as f64 / 1e6
    }
}

impl fmt::Display for LatencyBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_histogram() {
        let bounds: Vec<f64> = LatencyBound::all().map(LatencyBound::seconds).collect();
        assert_eq!(bounds.len(), 18);
        assert_eq!(&bounds[..4], &[0.0001, 0.0002, 0.0004, 0.0008]);
        assert_eq!(bounds[17], 13.1072);
        assert!(
            LatencyBound::all()
                .enumerate()
                .all(|(at, bound)| bound.index() == at)
        );
        assert_eq!(LatencyBound(0).seconds().to_string(), "0.0001");
    }

    #[test]
    fn the_nearest_bound_is_taken() {
        let nearest = |ms| LatencyBound::nearest(ms).map(LatencyBound::ms);
        assert_eq!(nearest(50.0), Some(51.2));
        assert_eq!(nearest(51.2), Some(51.2));
        assert_eq!(nearest(76.7), Some(51.2));
        assert_eq!(nearest(76.9), Some(102.4));
        assert_eq!(nearest(0.15), Some(0.1), "halfway, the stricter one");
        assert_eq!(nearest(13_107.2), Some(13_107.2));
        for outside in [0.0, 0.099, 13_107.3, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(nearest(outside), None, "{outside}");
        }
    }

    #[test]
    fn only_features_that_are_too_old_count_against_freshness() {
        let quick = Outcome::Answered(Duration::from_millis(1));
        assert_eq!(Sli::Freshness.classify(quick), Some(true));
        let stale = Outcome::Failed("features_stale");
        assert_eq!(Sli::Freshness.classify(stale), Some(false));
        for other in ["features_unavailable", "queue_full", "invalid_field"] {
            assert_eq!(Sli::Freshness.classify(Outcome::Failed(other)), None);
        }
        for code in FRESHNESS_FAULTS {
            assert!(SERVER_FAULTS.contains(&code));
        }
    }

    #[test]
    fn wrong_requests_do_not_count() {
        let quick = Outcome::Answered(Duration::from_millis(1));
        assert_eq!(Sli::Availability.classify(quick), Some(true));
        assert_eq!(
            Sli::Availability.classify(Outcome::Failed("queue_full")),
            Some(false)
        );
        assert_eq!(
            Sli::Availability.classify(Outcome::Failed("deadline_exceeded")),
            Some(false)
        );
        assert_eq!(
            Sli::Availability.classify(Outcome::Failed("wrong_rank")),
            None
        );
    }

    #[test]
    fn latency_is_of_answered_requests() {
        let sli = Sli::Latency(LatencyBound::nearest(51.2).unwrap());
        assert_eq!(
            sli.classify(Outcome::Answered(Duration::from_micros(51_200))),
            Some(true)
        );
        assert_eq!(
            sli.classify(Outcome::Answered(Duration::from_micros(51_201))),
            Some(false)
        );
        assert_eq!(sli.classify(Outcome::Failed("internal")), None);
    }
}
