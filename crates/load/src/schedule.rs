//! When requests are meant to be sent in an open loop: fixed before the load begins, whatever the
//! server does.

use std::time::Duration;

use serde::Serialize;

use crate::error::LoadError;

/// How the gaps between requests of a given rate are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    /// Equal gaps.
    Constant,
    /// Gaps as from many independent users: a Poisson process, whose gaps are exponential.
    Poisson,
}

/// When requests arrive.
#[derive(Clone, Debug)]
pub enum Arrivals {
    /// Requests per second, one rate after the other, each for the plan's duration.
    Rates {
        /// Requests per second.
        rates: Vec<f64>,
        /// The spread of the gaps.
        arrival: Arrival,
    },
    /// At these times since the beginning, ascending.
    Replay(Vec<Duration>),
}

/// Reads recorded timestamps: seconds, one a line, from any origin; `speed` 2 plays them back in
/// half the time.
///
/// ```
/// use std::time::Duration;
/// use tidegate_load::{Arrivals, replay};
///
/// let Ok(Arrivals::Replay(times)) = replay("100.0\n100.5\n", 2.0) else {
///     panic!("both lines are numbers");
/// };
/// assert_eq!(times, [Duration::ZERO, Duration::from_millis(250)]);
/// ```
///
/// # Errors
/// Names the first line that is not a number.
pub fn replay(text: &str, speed: f64) -> Result<Arrivals, LoadError> {
    let mut times = Vec::new();
    for (at, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let seconds = line
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|seconds| seconds.is_finite());
        times.push(seconds.ok_or_else(|| replay_error(at + 1, "a number of seconds is expected"))?);
    }
    // Servers often log a request when it ends, so starts may be out of order.
    times.sort_by(f64::total_cmp);
    let first = *times
        .first()
        .ok_or_else(|| replay_error(1, "there are no timestamps"))?;
    let times: Result<Vec<Duration>, _> = times
        .into_iter()
        .map(|time| Duration::try_from_secs_f64((time - first) / speed))
        .collect();
    times
        .map(Arrivals::Replay)
        .map_err(|_| replay_error(1, "the timestamps span too long a time"))
}

fn replay_error(at: usize, problem: &str) -> LoadError {
    LoadError::Replay {
        at,
        problem: problem.to_owned(),
    }
}

/// One request to come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Arriving {
    /// Since the beginning of the load.
    pub(crate) at: Duration,
    /// Which part of the load it is counted for; `None` while warming up.
    pub(crate) phase: Option<usize>,
}

/// A period with one rate.
#[derive(Clone, Copy, Debug)]
struct Segment {
    start_s: f64,
    end_s: f64,
    rate: f64,
    phase: Option<usize>,
}

/// The arrivals of one thread of several. Together, the threads have all arrivals.
pub(crate) fn arrivals(
    arrivals: &Arrivals,
    warmup: Duration,
    duration: Option<Duration>,
    seed: u64,
    (thread, threads): (usize, usize),
) -> Box<dyn Iterator<Item = Arriving> + Send> {
    match arrivals {
        Arrivals::Replay(times) => {
            let mine: Vec<Duration> = times
                .iter()
                .copied()
                .skip(thread)
                .step_by(threads)
                .take_while(|at| duration.is_none_or(|duration| *at < duration))
                .collect();
            let phase = Some(0);
            Box::new(mine.into_iter().map(move |at| Arriving { at, phase }))
        }
        Arrivals::Rates { rates, arrival } => {
            let segments = segments(rates, warmup, duration);
            match arrival {
                Arrival::Constant => Box::new(
                    segments
                        .into_iter()
                        .flat_map(move |segment| constant(segment, thread, threads)),
                ),
                Arrival::Poisson => {
                    // Threads must not send in step, and a seed must give the same load again.
                    let seed = seed.wrapping_add(thread as u64);
                    let mut rng = fastrand::Rng::with_seed(seed);
                    // A seed for each segment: what one rate draws does not change the next one.
                    let seeds: Vec<u64> = segments.iter().map(|_| rng.u64(..)).collect();
                    let parts = segments.into_iter().zip(seeds);
                    Box::new(parts.flat_map(move |(segment, seed)| poisson(segment, seed, threads)))
                }
            }
        }
    }
}

/// Warming up at the first rate, then one period for each rate. Without a duration, the first
/// period never ends.
fn segments(rates: &[f64], warmup: Duration, duration: Option<Duration>) -> Vec<Segment> {
    let length_s = duration.map_or(f64::INFINITY, |duration| duration.as_secs_f64());
    let warmup_s = warmup.as_secs_f64();
    let mut segments = vec![Segment {
        start_s: 0.0,
        end_s: warmup_s,
        rate: rates.first().copied().unwrap_or(0.0),
        phase: None,
    }];
    for (at, rate) in rates.iter().enumerate() {
        // Zero times infinity is not a number.
        let start_s = if at == 0 {
            warmup_s
        } else {
            warmup_s + at as f64 * length_s
        };
        segments.push(Segment {
            start_s,
            end_s: start_s + length_s,
            rate: *rate,
            phase: Some(at),
        });
    }
    segments
}

/// Computed from the count, so that rounding errors do not add up.
fn constant(
    segment: Segment,
    thread: usize,
    threads: usize,
) -> impl Iterator<Item = Arriving> + Send {
    let Segment {
        start_s,
        end_s,
        rate,
        phase,
    } = segment;
    let (thread, threads) = (thread as u64, threads as u64);
    (0u64..)
        .map(move |count| start_s + (count * threads + thread) as f64 / rate)
        .take_while(move |at| *at < end_s)
        .map(move |at| Arriving {
            at: seconds(at),
            phase,
        })
}

/// Every thread has a Poisson process of its share of the rate; their sum is one of the whole rate.
fn poisson(segment: Segment, seed: u64, threads: usize) -> impl Iterator<Item = Arriving> + Send {
    let Segment {
        start_s,
        end_s,
        rate,
        phase,
    } = segment;
    let mut rng = fastrand::Rng::with_seed(seed);
    // The mean gap of one thread's share of the rate.
    let mean_s = threads as f64 / rate;
    let mut at = start_s;
    std::iter::from_fn(move || {
        // Inversion: the logarithm of a uniform number in (0, 1].
        at -= (1.0 - rng.f64()).ln() * mean_s;
        (at < end_s).then(|| Arriving {
            at: seconds(at),
            phase,
        })
    })
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn together(
        all: &Arrivals,
        warmup: Duration,
        duration: Duration,
        threads: usize,
    ) -> Vec<Arriving> {
        let of = |thread| arrivals(all, warmup, Some(duration), 7, (thread, threads));
        let mut joined: Vec<Arriving> = (0..threads).flat_map(of).collect();
        joined.sort_by_key(|arriving| arriving.at);
        joined
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_over_all_threads() {
        let rates = Arrivals::Rates {
            rates: vec![100.0],
            arrival: Arrival::Constant,
        };
        let joined = together(&rates, Duration::ZERO, 2 * SECOND, 3);
        assert_eq!(joined.len(), 200);
        for (count, arriving) in joined.iter().enumerate() {
            assert_eq!(arriving.at, Duration::from_secs_f64(count as f64 / 100.0));
        }
    }

    #[test]
    fn steps_follow_the_warm_up_and_one_another() {
        let rates = Arrivals::Rates {
            rates: vec![10.0, 20.0],
            arrival: Arrival::Constant,
        };
        let joined = together(&rates, SECOND, 2 * SECOND, 2);
        let counts = [None, Some(0), Some(1)]
            .map(|phase| joined.iter().filter(|it| it.phase == phase).count());
        assert_eq!(counts, [10, 20, 40]);
        let first = joined
            .iter()
            .find(|arriving| arriving.phase == Some(1))
            .unwrap();
        assert_eq!(first.at, 3 * SECOND);
        assert!(joined.last().unwrap().at < 5 * SECOND);
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        let rates = Arrivals::Rates {
            rates: vec![1000.0],
            arrival: Arrival::Poisson,
        };
        let joined = together(&rates, Duration::ZERO, 20 * SECOND, 2);
        // Counts have mean and variance 20 000; five standard deviations.
        assert!(joined.len().abs_diff(20_000) < 5 * 142, "{}", joined.len());
        let gaps: Vec<f64> = joined
            .windows(2)
            .map(|pair| (pair[1].at - pair[0].at).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Standard deviation and mean of an exponential distribution are equal; 1/e of the gaps are
        // above the mean.
        assert!(
            (variance.sqrt() / mean - 1.0).abs() < 0.05,
            "{variance} {mean}"
        );
        let above = gaps.iter().filter(|gap| **gap > mean).count() as f64 / gaps.len() as f64;
        assert!((above - (-1.0f64).exp()).abs() < 0.02, "{above}");
        let again = together(&rates, Duration::ZERO, 20 * SECOND, 2);
        assert_eq!(joined, again);
    }

    #[test]
    fn recorded_times_are_played_back_from_their_first_at_the_given_speed() {
        let Ok(recorded) = replay("1700000002.5\n1700000000\n\n1700000001\n", 2.0) else {
            panic!("not read")
        };
        let joined = together(&recorded, Duration::ZERO, 10 * SECOND, 2);
        let at: Vec<Duration> = joined.iter().map(|arriving| arriving.at).collect();
        assert_eq!(at, [0, 500, 1250].map(Duration::from_millis));
        assert!(matches!(
            replay("1\nx\n", 1.0),
            Err(LoadError::Replay { at: 2, .. })
        ));
        assert!(replay("", 1.0).is_err());
    }
}
