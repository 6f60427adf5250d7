//! Spearman's rank correlation.

/// The correlation of the ranks of two lists of equal length, from −1 to 1; equal numbers share the mean
/// of their ranks (Spearman 1904). It is 1 for fewer than two numbers, and where all are equal in both
/// lists, else 0 where all are equal in one.
pub fn rank_correlation(one: &[f64], other: &[f64]) -> f64 {
    let (one, other) = (ranks(one), ranks(other));
    // The mean of ranks is the same with and without ties.
    let mean = (one.len() as f64 - 1.0) / 2.0;
    let mut sums = (0.0, 0.0, 0.0);
    for (left, right) in one.iter().zip(&other) {
        let (left, right) = (left - mean, right - mean);
        sums = (
            sums.0 + left * left,
            sums.1 + right * right,
            sums.2 + left * right,
        );
    }
    match (sums.0 == 0.0, sums.1 == 0.0) {
        (true, true) => 1.0,
        (false, false) => sums.2 / (sums.0 * sums.1).sqrt(),
        _ => 0.0,
    }
}

/// The rank of each number, from 0.
fn ranks(numbers: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|left, right| numbers[*left].total_cmp(&numbers[*right]));
    let mut ranks = vec![0.0; numbers.len()];
    let mut first = 0;
    for group in order.chunk_by(|left, right| numbers[*left] == numbers[*right]) {
        let rank = first as f64 + (group.len() as f64 - 1.0) / 2.0;
        group.iter().for_each(|index| ranks[*index] = rank);
        first += group.len();
    }
    ranks
}
