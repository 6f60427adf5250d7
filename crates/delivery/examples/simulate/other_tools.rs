//! What Flagger and Argo Rollouts do with the same traffic, in the policies of their own documents.

use std::collections::VecDeque;

use tidegate_delivery::sequential::Counts;

use crate::traffic::{LATENCY_GROWTH, Second, Traffic};

/// How a rollout of another tool ended, within the time that it was watched.
pub(crate) struct OtherOutcome {
    pub(crate) rolled_back: bool,
    pub(crate) bad_requests: u64,
}

/// The new version's last minutes.
#[derive(Default)]
struct Recent {
    seconds: VecDeque<(Counts, Vec<u64>)>,
}

impl Recent {
    fn push(&mut self, second: &Second) {
        self.seconds
            .push_back((second.errors.candidate, second.latency.candidate.clone()));
        if self.seconds.len() > 300 {
            self.seconds.pop_front();
        }
    }

    /// The share of good answers in the last seconds; `None` without requests.
    fn success(&self, seconds: usize) -> Option<f64> {
        let recent = self.seconds.iter().rev().take(seconds);
        let (good, all) = recent.fold((0, 0), |(good, all), (counts, _)| {
            (good + counts.others(), all + counts.requests)
        });
        (all > 0).then(|| good as f64 / all as f64)
    }

    /// The p99 of the latency in the last seconds, in milliseconds.
    fn p99_ms(&self, seconds: usize) -> Option<f64> {
        let recent: Vec<&Vec<u64>> = self
            .seconds
            .iter()
            .rev()
            .take(seconds)
            .map(|(_, bins)| bins)
            .collect();
        let bins = recent.first()?.len();
        let sums: Vec<u64> = (0..bins)
            .map(|bin| recent.iter().map(|counts| counts[bin]).sum())
            .collect();
        let all: u64 = sums.iter().sum();
        let mut left = all as f64 * 0.99;
        let bin = sums.iter().position(|count| {
            left -= *count as f64;
            left <= 0.0
        });
        (all > 0).then(|| LATENCY_GROWTH.powi(bin.unwrap_or_default() as i32 + 1))
    }
}

/// Flagger's defaults, interval 60 s and threshold 1, with the checks of its example: success of at
/// least 99 % over 1 minute, p99 of at most 500 ms over 30 s; by 5 % to 50 %, then everything.
pub(crate) fn flagger(traffic: &mut Traffic, watched_s: u64) -> OtherOutcome {
    let (mut weight, mut failed_checks) = (5000, 0);
    let mut recent = Recent::default();
    let mut bad_requests = 0;
    for second in 1..=watched_s {
        let measured = traffic.next_second(weight);
        bad_requests += measured.requests.candidate;
        recent.push(&measured);
        if second % 60 != 0 || weight == 100_000 {
            continue;
        }
        if failed_checks >= 1 {
            return OtherOutcome {
                rolled_back: true,
                bad_requests,
            };
        }
        let is_good = recent.success(60).is_some_and(|success| success >= 0.99)
            && recent.p99_ms(30).is_some_and(|p99| p99 <= 500.0);
        if !is_good {
            failed_checks += 1;
        } else if weight >= 50_000 {
            weight = 100_000;
        } else {
            weight += 5000;
        }
    }
    OtherOutcome {
        rolled_back: false,
        bad_requests,
    }
}

/// The example of Argo Rollouts' documents: 20, 40, 60 and 80 % for 10 minutes each; from 40 % on,
/// every 5 minutes success of at least 95 %, of which more than 3 may not fail. `irate` sees
/// the last two scrapes, 30 s apart.
pub(crate) fn argo(traffic: &mut Traffic, watched_s: u64) -> OtherOutcome {
    let mut recent = Recent::default();
    let (mut bad_requests, mut failures) = (0, 0);
    for second in 1..=watched_s {
        let step = second / 600;
        let weight = [20_000, 40_000, 60_000, 80_000]
            .get(step as usize)
            .copied()
            .unwrap_or(100_000);
        let measured = traffic.next_second(weight);
        bad_requests += measured.requests.candidate;
        recent.push(&measured);
        let is_measured = (600..2400).contains(&second) && second % 300 == 0;
        if is_measured && recent.success(30).is_some_and(|success| success < 0.95) {
            failures += 1;
            if failures > 3 {
                return OtherOutcome {
                    rolled_back: true,
                    bad_requests,
                };
            }
        }
    }
    OtherOutcome {
        rolled_back: false,
        bad_requests,
    }
}
