//! Cascades: a cheap version answers where it is confident, an expensive one otherwise.
//!
//! [`fit`] finds the confidence from which on the cheap version may answer, from labelled pairs. While
//! the cascade runs, both versions answer a random share of requests, and a
//! [`LimitTest`](crate::sequential::LimitTest) with the limit 1 − `target` watches them.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, ContinuousCDF};
use thiserror::Error;

/// A request that both versions answered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// How confident the cheap version was.
    pub confidence: f64,
    /// Whether its answer was as good as the expensive version's: equal to it, or to the label.
    pub agrees: bool,
}

/// A threshold, and what can be said about it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The cheap version answers if its confidence is at least this.
    pub confidence: f64,
    /// The share of requests that it answers.
    pub answered: f64,
    /// The agreement of the cascade with the expensive version over all requests, as it was seen.
    pub agreement: f64,
    /// What that agreement is at least, with the probability that was asked for.
    pub agreement_at_least: f64,
    /// The agreement over the requests that the cheap version answers.
    pub agreement_of_answered: f64,
    /// The pairs that this rests on.
    pub pairs: usize,
}

/// Why there is no threshold.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum NotFitted {
    #[error("target and delta must be above 0 and below 1")]
    Target,
    #[error("a confidence is not a number")]
    NotANumber,
    #[error("{pairs} pairs cannot show an agreement of {target}: at least {needed} are needed")]
    TooFew {
        pairs: usize,
        target: f64,
        needed: u64,
    },
    #[error("not even the most confident answers agree often enough")]
    NoThreshold,
}

/// The lowest threshold at which the cascade agrees with the expensive version on `target` of all
/// requests, with probability 1 − `delta` over the drawing of the pairs.
///
/// Thresholds are tested from the highest one down, each at the full `delta`, until one fails: as one
/// fails before any lower one is tried, no correction is needed (fixed-sequence testing: Angelopoulos,
/// Bates, Candès, Jordan and Lei, "Learn then test", 2021). The bound is the exact one of Clopper and
/// Pearson (1934).
///
/// # Errors
/// If there is no such threshold, or too few pairs to know.
pub fn fit(pairs: &[Pair], target: f64, delta: f64) -> Result<Threshold, NotFitted> {
    let is_inside = |value: f64| value > 0.0 && value < 1.0;
    if !is_inside(target) || !is_inside(delta) {
        return Err(NotFitted::Target);
    }
    if pairs.iter().any(|pair| pair.confidence.is_nan()) {
        return Err(NotFitted::NotANumber);
    }
    // Even without a single disagreement, target^n must be at most delta.
    let needed = (delta.ln() / target.ln()).ceil() as u64;
    if (pairs.len() as u64) < needed {
        return Err(NotFitted::TooFew {
            pairs: pairs.len(),
            target,
            needed,
        });
    }
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|left, right| right.confidence.total_cmp(&left.confidence));
    let mut found = None;
    let mut disagreements = 0;
    for group in sorted.chunk_by(|one, other| one.confidence == other.confidence) {
        disagreements += group.iter().filter(|pair| !pair.agrees).count();
        let at_least = lower_bound(
            (pairs.len() - disagreements) as u64,
            pairs.len() as u64,
            delta,
        );
        if at_least < target {
            break;
        }
        found = Some((group[0].confidence, disagreements, at_least));
    }
    let (confidence, disagreements, agreement_at_least) = found.ok_or(NotFitted::NoThreshold)?;
    let answered = sorted.partition_point(|pair| pair.confidence >= confidence);
    let share = |part: usize, whole: usize| part as f64 / whole as f64;
    Ok(Threshold {
        confidence,
        answered: share(answered, pairs.len()),
        agreement: share(pairs.len() - disagreements, pairs.len()),
        agreement_at_least,
        agreement_of_answered: share(answered - disagreements, answered),
        pairs: pairs.len(),
    })
}

/// How confident probabilities are: the largest one; of the probability of a single class, that or the one
/// of its opposite.
pub fn confidence(probabilities: &[f64]) -> f64 {
    match probabilities {
        [alone] => alone.max(1.0 - alone),
        _ => probabilities.iter().copied().fold(0.0, f64::max),
    }
}

/// The class with the largest probability, the first of equal ones. Of the probability of a single class, 1
/// for that class and 0 for its opposite.
pub fn class(probabilities: &[f64]) -> usize {
    if let [alone] = probabilities {
        return usize::from(*alone > 0.5);
    }
    let mut best = 0;
    for (class, probability) in probabilities.iter().enumerate() {
        if *probability > probabilities[best] {
            best = class;
        }
    }
    best
}

/// What a share is at least, with probability 1 − `alpha`, after so many successes (Clopper and Pearson
/// 1934, one-sided).
pub fn lower_bound(successes: u64, trials: u64, alpha: f64) -> f64 {
    let failures = trials.saturating_sub(successes) as f64;
    match Beta::new(successes as f64, failures + 1.0) {
        Ok(distribution) => distribution.inverse_cdf(alpha),
        Err(_) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs whose agreement is their confidence.
    fn pairs(random: &mut fastrand::Rng, count: usize) -> Vec<Pair> {
        let mut draw = || {
            let confidence = 0.5 + random.f64() / 2.0;
            Pair {
                confidence,
                agrees: random.f64() < confidence,
            }
        };
        (0..count).map(|_| draw()).collect()
    }

    #[test]
    fn the_target_is_kept_with_the_probability_that_was_asked_for() {
        let mut random = fastrand::Rng::with_seed(9);
        let mut misses = 0;
        for _ in 0..1000 {
            let threshold = fit(&pairs(&mut random, 2000), 0.95, 0.1).unwrap();
            // The disagreement above a threshold t is the integral of 1 − c over 2·dc from t to 1.
            let agreement = 1.0 - (1.0 - threshold.confidence).powi(2);
            misses += usize::from(agreement < 0.95);
            assert!(threshold.agreement_at_least >= 0.95 && threshold.answered > 0.3);
        }
        assert!(misses <= 100, "{misses}");
    }

    #[test]
    fn what_cannot_be_known_is_an_error() {
        let mut random = fastrand::Rng::with_seed(9);
        let few = pairs(&mut random, 50);
        let expected = NotFitted::TooFew {
            pairs: 50,
            target: 0.99,
            needed: 299,
        };
        assert_eq!(fit(&few, 0.99, 0.05), Err(expected));
        let bad = vec![
            Pair {
                confidence: 1.0,
                agrees: false
            };
            1000
        ];
        assert_eq!(fit(&bad, 0.9, 0.05), Err(NotFitted::NoThreshold));
        let nan = vec![
            Pair {
                confidence: f64::NAN,
                agrees: true
            };
            1000
        ];
        assert_eq!(fit(&nan, 0.9, 0.05), Err(NotFitted::NotANumber));
        assert_eq!(fit(&few, 1.0, 0.05), Err(NotFitted::Target));
    }

    #[test]
    fn equal_confidences_are_answered_together() {
        let mut pairs = vec![
            Pair {
                confidence: 0.9,
                agrees: true
            };
            900
        ];
        pairs.extend(vec![
            Pair {
                confidence: 0.9,
                agrees: false
            };
            100
        ]);
        assert_eq!(fit(&pairs, 0.95, 0.05), Err(NotFitted::NoThreshold));
        assert_eq!(fit(&pairs, 0.85, 0.05).unwrap().answered, 1.0);
    }
}
