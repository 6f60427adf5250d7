//! Lists that were ranked.

use serde::{Deserialize, Serialize};

use super::estimate::{Confidence, Estimate};
use crate::moments::{Moments, finite};

/// The normalized discounted cumulative gain of the first `k` of a list, whose relevances are given
/// in the order that was shown (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR
/// techniques", 2002), with the gain of a relevance being itself. `None` if nothing is relevant, or
/// a relevance is negative or not finite.
pub fn ndcg(relevances: &[f64], k: usize) -> Option<f64> {
    if relevances
        .iter()
        .any(|relevance| !relevance.is_finite() || *relevance < 0.0)
    {
        return None;
    }
    let mut best = relevances.to_vec();
    best.sort_by(|one, other| other.total_cmp(one));
    let ideal = discounted_gain(&best, k);
    if ideal > 0.0 {
        finite(discounted_gain(relevances, k) / ideal)
    } else {
        None
    }
}

fn discounted_gain(relevances: &[f64], k: usize) -> f64 {
    let discounted = |(rank, relevance): (usize, &f64)| relevance / ((rank + 2) as f64).log2();
    relevances.iter().take(k).enumerate().map(discounted).sum()
}

/// One by the rank of the first relevant item; 0 if there is none.
pub fn reciprocal_rank(relevances: &[f64]) -> f64 {
    let first = relevances.iter().position(|&relevance| relevance > 0.0);
    first.map_or(0.0, |rank| 1.0 / (rank + 1) as f64)
}

/// Ranked lists with what turned out to be relevant in them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranking {
    k: usize,
    ndcg: Moments,
    reciprocal_ranks: Moments,
    shown: u64,
    clicked: u64,
}

impl Ranking {
    /// Gains are those of the first `k` items.
    pub fn new(k: usize) -> Self {
        let (ndcg, reciprocal_ranks) = (Moments::default(), Moments::default());
        Self {
            k,
            ndcg,
            reciprocal_ranks,
            shown: 0,
            clicked: 0,
        }
    }

    /// Counts a list: the relevance of each item, in the order that was shown; 0 for no click.
    pub fn add(&mut self, relevances: &[f64]) {
        if let Some(ndcg) = ndcg(relevances, self.k) {
            self.ndcg.add(ndcg);
        }
        self.reciprocal_ranks.add(reciprocal_rank(relevances));
        let clicked = relevances
            .iter()
            .filter(|&&relevance| relevance > 0.0)
            .count();
        self.shown = self.shown.saturating_add(relevances.len() as u64);
        self.clicked = self.clicked.saturating_add(clicked as u64);
    }

    /// Adds what another has.
    pub fn merge(&mut self, other: &Self) {
        self.ndcg.merge(&other.ndcg);
        self.reciprocal_ranks.merge(&other.reciprocal_ranks);
        self.shown = self.shown.saturating_add(other.shown);
        self.clicked = self.clicked.saturating_add(other.clicked);
    }

    /// The mean of [`ndcg`], over the lists that have something relevant.
    pub fn ndcg(&self, confidence: Confidence) -> Option<Estimate> {
        Some(Estimate::mean(&self.ndcg, confidence)?.within_one())
    }

    /// The mean of [`reciprocal_rank`].
    pub fn mrr(&self, confidence: Confidence) -> Option<Estimate> {
        Some(Estimate::mean(&self.reciprocal_ranks, confidence)?.within_one())
    }

    /// The share of shown items that are relevant: the click-through rate.
    pub fn ctr(&self, confidence: Confidence) -> Option<Estimate> {
        Estimate::share(self.clicked, self.shown, confidence)
    }
}
