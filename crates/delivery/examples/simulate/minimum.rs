//! How many requests of the new version any sequential test needs on average.

use tidegate_delivery::experiment::plan::least_requests;

use crate::traffic::{Defect, ERROR_SHARE, bins, good, latency_bin, tables_of};

const EXPOSURE: f64 = 0.05;

/// The least mean, where a test knew which defect to look for, at this alpha. For latency, of tests that
/// look at the share above the p99.
pub(crate) fn requests(defect: Defect, alpha: f64) -> f64 {
    let (latency, scores) = tables_of(defect);
    match defect {
        Defect::None => f64::INFINITY,
        // Bursts, which both versions have, raise the base by 42 % on average.
        Defect::Errors => {
            let base = ERROR_SHARE * (1.0 + 19.0 * 20.0 / 900.0);
            least_requests(base + 0.01, base, EXPOSURE, alpha)
        }
        Defect::Slow => {
            let mut sorted: Vec<f64> = good().latency.clone();
            sorted.sort_by(f64::total_cmp);
            let limit = latency_bin(sorted[sorted.len() * 99 / 100]);
            let above = |latencies: &[f64]| {
                let count = latencies
                    .iter()
                    .filter(|latency| latency_bin(**latency) > limit)
                    .count();
                count as f64 / latencies.len() as f64
            };
            least_requests(above(latency), above(&good().latency), EXPOSURE, alpha)
        }
        Defect::ShiftedScores | Defect::WrongPreprocessing => {
            (1.0 / alpha).ln() / information(&bins(scores), &bins(&good().scores))
        }
    }
}

/// The information of one request of the new version, with those of the other that come with it.
fn information(candidate: &[u64], control: &[u64]) -> f64 {
    let share = |counts: &[u64], bin: usize| counts[bin] as f64 / counts.iter().sum::<u64>() as f64;
    let mut sum = 0.0;
    for bin in 0..candidate.len() {
        let (one, other) = (share(candidate, bin), share(control, bin));
        let equal = EXPOSURE * one + (1.0 - EXPOSURE) * other;
        if one > 0.0 {
            sum += one * (one / equal).ln();
        }
        if other > 0.0 {
            sum += other * (other / equal).ln() * (1.0 - EXPOSURE) / EXPOSURE;
        }
    }
    sum
}
