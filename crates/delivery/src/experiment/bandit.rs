//! Thompson sampling: each version gets as much traffic as it is probable that it is the best.
//!
//! Source: Thompson 1933; Russo, Van Roy, Kazerouni, Osband and Wen, "A tutorial on Thompson sampling",
//! 2018. The probabilities are integrated, not drawn, so that the same counts give the same weights on
//! every replica. Rewards may come late: count requests only once their reward could have come, for
//! all versions alike.

use statrs::distribution::{Beta, Continuous, ContinuousCDF};

use crate::policy::{PARTS, Share};
use crate::sequential::Counts;

/// Points of the integral.
const POINTS: u32 = 4000;

/// The probability of each version to have the largest share of rewards, if any shares were equally
/// probable before.
pub fn best_probabilities(versions: &[Counts]) -> Vec<f64> {
    let posterior =
        |counts: &Counts| Beta::new(counts.events as f64 + 1.0, counts.others() as f64 + 1.0);
    let posteriors: Vec<Beta> = versions
        .iter()
        .filter_map(|counts| posterior(counts).ok())
        .collect();
    let (low, high) = range(versions);
    let width = (high - low) / f64::from(POINTS);
    let mut probabilities = vec![0.0; posteriors.len()];
    for point in 0..POINTS {
        let share = low + width * (f64::from(point) + 0.5);
        let below: Vec<f64> = posteriors.iter().map(|one| one.cdf(share)).collect();
        for (index, posterior) in posteriors.iter().enumerate() {
            let others = below
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index);
            let all_below: f64 = others.map(|(_, below)| below).product();
            probabilities[index] += posterior.pdf(share) * all_below * width;
        }
    }
    let sum: f64 = probabilities.iter().sum();
    probabilities
        .iter()
        .map(|probability| probability / sum)
        .collect()
}

/// The range of shares outside of which no version's share can lie: nine standard deviations around
/// each mean.
fn range(versions: &[Counts]) -> (f64, f64) {
    let (mut low, mut high) = (1.0_f64, 0.0_f64);
    for counts in versions {
        let count = counts.requests as f64 + 2.0;
        let mean = (counts.events as f64 + 1.0) / count;
        let deviation = (mean * (1.0 - mean) / (count + 1.0)).sqrt();
        low = low.min(mean - 9.0 * deviation);
        high = high.max(mean + 9.0 * deviation);
    }
    (low.max(0.0), high.min(1.0))
}

/// The weights of versions, 100 % together, of which none is below `floor`: traffic below it would
/// never show that a version has become better. A floor of more than an equal share is an equal share.
pub fn weights(versions: &[Counts], floor: Share) -> Vec<Share> {
    let count = versions.len().max(1) as u32;
    let floor = floor.parts().min(PARTS / count);
    let free = f64::from(PARTS - floor * count);
    let wanted: Vec<f64> = best_probabilities(versions)
        .iter()
        .map(|probability| f64::from(floor) + probability * free)
        .collect();
    let mut parts: Vec<u32> = wanted.iter().map(|wanted| wanted.floor() as u32).collect();
    // What rounding down has left goes to those that lost the most by it.
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by(|left, right| wanted[*right].fract().total_cmp(&wanted[*left].fract()));
    let left = PARTS.saturating_sub(parts.iter().sum()) as usize;
    for index in order
        .into_iter()
        .cycle()
        .take(if parts.is_empty() { 0 } else { left })
    {
        parts[index] += 1;
    }
    parts.into_iter().filter_map(Share::from_parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probability_to_be_best_is_that_of_the_posterior() {
        // Beta(1, 2) and Beta(2, 1): P(first > second) = 1/6.
        let probabilities = best_probabilities(&[Counts::new(0, 1), Counts::new(1, 1)]);
        assert!(
            (probabilities[0] - 1.0 / 6.0).abs() < 1e-6,
            "{probabilities:?}"
        );
        let equal = best_probabilities(&[Counts::new(50, 1000); 4]);
        assert!(
            equal
                .iter()
                .all(|probability| (probability - 0.25).abs() < 1e-9)
        );
    }

    #[test]
    fn weights_are_everything_together_and_keep_the_floor() {
        let floor = "5%".parse().unwrap();
        let clear = weights(
            &[
                Counts::new(10, 1000),
                Counts::new(200, 1000),
                Counts::new(11, 1000),
            ],
            floor,
        );
        let text: Vec<String> = clear.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["5%", "90%", "5%"]);
        let unknown = weights(&[Counts::default(); 3], floor);
        assert_eq!(
            unknown.iter().map(|share| share.parts()).sum::<u32>(),
            PARTS
        );
        assert!(
            unknown
                .iter()
                .all(|share| (33_333..=33_334).contains(&share.parts()))
        );
    }

    #[test]
    fn traffic_finds_the_best_version() {
        let mut random = fastrand::Rng::with_seed(3);
        let shares = [0.05, 0.08, 0.04];
        let mut counts = [Counts::default(); 3];
        for _ in 0..60 {
            let weights = weights(&counts, "1%".parse().unwrap());
            for ((counts, weight), share) in counts.iter_mut().zip(weights).zip(shares) {
                let requests = (weight.fraction() * 500.0).round() as u64;
                let events = (0..requests).filter(|_| random.f64() < share).count() as u64;
                *counts = Counts::new(counts.events + events, counts.requests + requests);
            }
        }
        assert!(counts[1].requests > 24_000, "{counts:?}");
    }
}
