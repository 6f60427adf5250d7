//! A mergeable sketch of times that gives quantiles with a relative error of at most 1 %.

use std::sync::LazyLock;

/// The largest relative error of a quantile: α of DDSketch.
pub const SKETCH_ERROR: f64 = 0.01;

/// A DDSketch of nanoseconds (Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile
/// sketch with relative-error guarantees", 2019): value `x` counts in bin `ceil(log_γ x)` with `γ =
/// (1 + α) / (1 - α)`, and bin `i` is reported as `2 γ^i / (γ + 1)`, which is within `α` of every
/// value in the bin.
///
/// Only bins with values are stored: 8 bytes each, usually 100 to 300 of them, because times of one
/// model are similar. The whole range of 64 bits has 2,219 bins.
///
/// ```
/// use tidegate_observe::Sketch;
///
/// let (mut one, mut other) = (Sketch::default(), Sketch::default());
/// (1..=500).for_each(|ms| one.add(ms * 1_000_000));
/// (501..=1000).for_each(|ms| other.add(ms * 1_000_000));
/// one.merge(&other);
/// let p99 = one.quantile_ms(0.99).expect("the sketch is not empty");
/// assert!((p99 - 990.0).abs() <= 0.01 * 990.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Bin numbers, ascending, with how many values each has.
    bins: Vec<(u16, u32)>,
    count: u64,
}

impl Sketch {
    /// Counts one time.
    pub fn add(&mut self, ns: u64) {
        self.add_to(bin(ns), 1);
    }

    /// Adds the values of another sketch. Associative and commutative.
    pub fn merge(&mut self, other: &Self) {
        // A copy is much cheaper than inserting bin after bin, and common where sums begin empty.
        if self.bins.is_empty() {
            self.clone_from(other);
            return;
        }
        for &(bin, count) in &other.bins {
            self.add_to(bin, count);
        }
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The quantile `q`, from 0 to 1, in nanoseconds; `None` if nothing was counted. For 1,000 times,
    /// `quantile(0.99)` approximates the 990th smallest.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        // The lower of the two neighbours, as the paper defines it: no interpolation.
        let rank = (q.clamp(0.0, 1.0) * self.count.saturating_sub(1) as f64).floor() as u64;
        let mut below = 0;
        self.bins.iter().find_map(|&(bin, count)| {
            below += u64::from(count);
            (below > rank).then(|| middle(bin))
        })
    }

    /// As [`Sketch::quantile`], in milliseconds.
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        self.quantile(q).map(|ns| ns / 1e6)
    }

    /// Heap memory in bytes.
    pub fn bytes(&self) -> usize {
        self.bins.capacity() * size_of::<(u16, u32)>()
    }

    /// Releases unused capacity. For sketches that will not grow any more.
    pub fn shrink(&mut self) {
        self.bins.shrink_to_fit();
    }

    fn add_to(&mut self, bin: u16, more: u32) {
        self.count += u64::from(more);
        match self.bins.binary_search_by_key(&bin, |&(bin, _)| bin) {
            // Saturates instead of wrapping: a bin that is full makes quantiles less exact, not wrong.
            Ok(at) => self.bins[at].1 = self.bins[at].1.saturating_add(more),
            Err(at) => self.bins.insert(at, (bin, more)),
        }
    }
}

static LOG_GAMMA: LazyLock<f64> =
    LazyLock::new(|| ((1.0 + SKETCH_ERROR) / (1.0 - SKETCH_ERROR)).ln());

/// Bin of a time; 0 counts as 1 ns, because it has no logarithm.
fn bin(ns: u64) -> u16 {
    // 64 bits of nanoseconds give bin 2,218 at most, which fits.
    ((ns.max(1) as f64).ln() / *LOG_GAMMA).ceil() as u16
}

/// The value that is reported for a bin.
fn middle(bin: u16) -> f64 {
    let gamma = LOG_GAMMA.exp();
    2.0 * gamma.powi(i32::from(bin)) / (gamma + 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(times: &[u64]) -> Sketch {
        let mut sketch = Sketch::default();
        times.iter().for_each(|ns| sketch.add(*ns));
        sketch
    }

    proptest! {
        #[test]
        fn quantiles_are_exact_to_one_percent(mut times in prop::collection::vec(1u64..=u64::MAX >> 8, 1..400), q in 0.0..=1.0) {
            let found = of(&times).quantile(q).unwrap();
            times.sort_unstable();
            let exact = times[(q * (times.len() - 1) as f64).floor() as usize] as f64;
            prop_assert!((found - exact).abs() <= SKETCH_ERROR * exact * (1.0 + 1e-9), "{found} for {exact}");
        }

        #[test]
        fn merging_parts_is_counting_all(one in prop::collection::vec(0u64..1 << 40, 0..200), other in prop::collection::vec(0u64..1 << 40, 0..200)) {
            let mut merged = of(&one);
            merged.merge(&of(&other));
            prop_assert_eq!(merged, of(&[one, other].concat()));
        }
    }

    #[test]
    fn nothing_has_no_quantile_and_the_longest_time_has_a_bin() {
        assert_eq!(Sketch::default().quantile(0.5), None);
        let longest = of(&[0, u64::MAX]);
        assert!(longest.quantile(1.0).unwrap() > 1.8e19 && longest.bins.last().unwrap().0 < 2219);
    }
}
