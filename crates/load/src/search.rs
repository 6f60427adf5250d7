//! Finding the highest rate at which a condition still holds.

/// Rates are found to within this factor.
const PRECISION: f64 = 1.05;
/// Rates outside of these are not tried.
const LOWEST: f64 = 0.1;
const HIGHEST: f64 = 1e8;

/// Doubles from `start` until a rate does not hold any more, or halves until one does; then halves
/// the gap between the two, on a logarithmic scale, until it is at most five percent. Gives the
/// highest rate that held, if any did.
///
/// ```
/// let highest = tidegate_load::highest(10.0, |rate| Ok::<_, ()>(rate < 300.0)).unwrap();
/// assert!(highest.is_some_and(|rate| rate > 280.0 && rate < 300.0));
/// ```
///
/// # Errors
/// The first error of `holds`.
pub fn highest<E>(
    start: f64,
    mut holds: impl FnMut(f64) -> Result<bool, E>,
) -> Result<Option<f64>, E> {
    let mut holding = None;
    let mut breaking = None;
    let mut rate = start.clamp(LOWEST, HIGHEST);
    loop {
        if holds(rate)? {
            holding = Some(rate);
        } else {
            breaking = Some(rate);
        }
        rate = match (holding, breaking) {
            (Some(low), None) if low < HIGHEST => (low * 2.0).min(HIGHEST),
            (None, Some(high)) if high > LOWEST => (high / 2.0).max(LOWEST),
            // The geometric mean: the error of a rate is a share of it.
            (Some(low), Some(high)) if high / low > PRECISION => (low * high).sqrt(),
            _ => return Ok(holding),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn search(start: f64, limit: f64) -> (Option<f64>, Vec<f64>) {
        let mut tried = Vec::new();
        let found = highest(start, |rate| {
            tried.push(rate);
            Ok::<bool, ()>(rate <= limit)
        });
        (found.unwrap(), tried)
    }

    #[test]
    fn ascends_by_doubling_and_then_halves_the_gap() {
        let (found, tried) = search(100.0, 550.0);
        assert_eq!(tried[..4], [100.0, 200.0, 400.0, 800.0]);
        assert!((tried[4] - (400.0f64 * 800.0).sqrt()).abs() < 1e-9);
        let found = found.unwrap();
        assert!(found <= 550.0 && found * PRECISION >= 550.0, "{found}");
    }

    #[test]
    fn nothing_holds_and_everything_holds() {
        assert_eq!(search(100.0, 0.0).0, None);
        assert_eq!(search(100.0, f64::INFINITY).0, Some(HIGHEST));
        assert_eq!(highest(1.0, |_| Err("stop")), Err("stop"));
    }

    proptest! {
        #[test]
        fn the_limit_is_met_from_any_start(start in 1.0f64..1e6, limit in 1.0f64..1e6) {
            let (found, tried) = search(start, limit);
            let found = found.unwrap();
            prop_assert!(found <= limit && found * PRECISION >= limit, "{} of {}", found, limit);
            prop_assert!(tried.len() < 40);
        }
    }
}
