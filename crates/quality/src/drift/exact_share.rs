//! An exact test of whether a share changed.

use super::chi_squared::chi_squared;

/// Beyond this variance of the hits the test is chi-squared: both are the same there, and the sum
/// would get long.
const EXACT_VARIANCE: f64 = 1e7;

/// The two-sided p-value of whether `hits_w` of `rows_w` is another share than `hits_r` of
/// `rows_r`: twice the smaller tail of the hypergeometric distribution (Fisher 1934). Exact for
/// rare values too, where chi-squared is not: one value out of range among many is no alarm. With
/// many of both it is chi-squared.
pub fn exact_share(hits_r: u64, rows_r: u64, hits_w: u64, rows_w: u64) -> f64 {
    let hits = hits_r.saturating_add(hits_w);
    let rows = rows_r.saturating_add(rows_w);
    if hits == 0 || hits_r > rows_r || hits_w > rows_w || hits == rows {
        return 1.0;
    }
    let share = hits as f64 / rows as f64;
    let variance = share * (1.0 - share) * rows_w as f64 * (rows_r as f64 / rows as f64);
    if variance > EXACT_VARIANCE || rows > 1 << 53 {
        let counts = [[hits_r, rows_r - hits_r], [hits_w, rows_w - hits_w]];
        return chi_squared(&counts[0], &counts[1]).map_or(1.0, |test| test.p_value);
    }
    let tails = Tails::of(rows as f64, hits as f64, rows_w as f64, hits_w as f64);
    (2.0 * tails.lower.min(tails.upper)).min(1.0)
}

/// The chances of at most, and of at least, so many hits in the window.
struct Tails {
    lower: f64,
    upper: f64,
}

impl Tails {
    /// Sums the probabilities relative to the greatest of them: without logarithms of factorials,
    /// whose rounding errors grow with the rows.
    fn of(rows: f64, hits: f64, drawn: f64, seen: f64) -> Self {
        let least = (drawn + hits - rows).max(0.0);
        let most = drawn.min(hits);
        let mode = ((drawn + 1.0) * (hits + 1.0) / (rows + 2.0))
            .floor()
            .clamp(least, most);
        let up = |x: f64| (hits - x) * (drawn - x) / ((x + 1.0) * (rows - hits - drawn + x + 1.0));
        let (mut lower, mut upper, mut all) = (0.0, 0.0, 0.0);
        let mut add = |x: f64, chance: f64| {
            all += chance;
            lower += if x <= seen { chance } else { 0.0 };
            upper += if x >= seen { chance } else { 0.0 };
        };
        let (mut x, mut chance) = (mode, 1.0_f64);
        while x <= most && chance > 0.0 {
            add(x, chance);
            chance *= up(x);
            x += 1.0;
        }
        (x, chance) = (
            mode - 1.0,
            if mode > least {
                1.0 / up(mode - 1.0)
            } else {
                0.0
            },
        );
        while x >= least && chance > 0.0 {
            add(x, chance);
            chance /= up(x - 1.0);
            x -= 1.0;
        }
        Self {
            lower: lower / all,
            upper: upper / all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rare_value_is_no_evidence() {
        let p = exact_share(0, 999_000, 1, 1000);
        assert!((p - 0.002).abs() < 1e-12, "{p}");
    }

    #[test]
    fn many_are() {
        assert!(exact_share(0, 1_000_000, 200, 1000) < 1e-300);
        assert!(exact_share(100_000, 1_000_000, 0, 1000) < 1e-40);
    }

    #[test]
    fn extremes_are_no_evidence() {
        assert_eq!(exact_share(0, 0, 0, 0), 1.0);
        assert_eq!(exact_share(5, 5, 7, 7), 1.0);
        assert_eq!(exact_share(1, 0, 7, 3), 1.0);
        assert_eq!(exact_share(u64::MAX, u64::MAX, 1, 3), 1.0);
    }
}
