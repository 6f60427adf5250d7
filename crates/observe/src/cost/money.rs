//! Amounts of money, in whole millionths, and their division without a remainder.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const PER_UNIT: i64 = 1_000_000;

/// An amount in millionths of the currency's unit. Written as a decimal with six places, such as
/// `"0.012345"`, so that no reader rounds it.
///
/// ```
/// use tidegate_observe::cost::Micros;
///
/// assert_eq!(Micros::nearest(0.123_456_7).to_string(), "0.123457");
/// assert_eq!("2.5".parse::<Micros>(), Ok(Micros(2_500_000)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Micros(pub i64);

impl Micros {
    /// The nearest amount.
    pub fn nearest(units: f64) -> Self {
        // `as` saturates at the largest amounts and makes 0 of NaN.
        Self((units * PER_UNIT as f64).round() as i64)
    }

    /// In the currency's unit; for ratios, not for sums.
    pub fn units(self) -> f64 {
        self.0 as f64 / PER_UNIT as f64
    }

    /// Parts in proportion to weights, which add up to the amount: what rounding down leaves over goes,
    /// one millionth each, to the largest remainders (Hamilton's method of apportionment). All parts are
    /// zero if no weight is above zero.
    pub(super) fn split(self, weights: &[f64]) -> Vec<Self> {
        let whole = whole_weights(weights);
        let sum: u128 = whole.iter().sum();
        if sum == 0 || self.0 <= 0 {
            return vec![Self(0); weights.len()];
        }
        let total = self.0.unsigned_abs();
        // Below 2^63 times 2^52: the products fit in 128 bits.
        let products: Vec<u128> = whole
            .iter()
            .map(|weight| u128::from(total) * weight)
            .collect();
        let mut parts: Vec<u64> = products
            .iter()
            .map(|product| (product / sum) as u64)
            .collect();
        let left = total - parts.iter().sum::<u64>();
        // The sort is stable: of equal remainders the first comes first, so a bill is always the same.
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(products[*at] % sum));
        for at in order.into_iter().take(left as usize) {
            parts[at] += 1;
        }
        parts.into_iter().map(|part| Self(part as i64)).collect()
    }
}

/// The weights as whole numbers, the largest of them 2^52: integers divide exactly.
fn whole_weights(weights: &[f64]) -> Vec<u128> {
    let largest = weights
        .iter()
        .copied()
        .filter(|weight| weight.is_finite())
        .fold(0.0, f64::max);
    // A double has 52 bits behind its leading one: more would add no exactness.
    let scale = (1u64 << 52) as f64;
    let mut whole = Vec::with_capacity(weights.len());
    for weight in weights {
        let counts = weight.is_finite() && *weight > 0.0;
        whole.push(if counts {
            (weight / largest * scale) as u128
        } else {
            0
        });
    }
    whole
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The sign apart: -0.5 divided as a whole number would lose it.
        let (sign, size) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let per_unit = PER_UNIT.unsigned_abs();
        write!(f, "{sign}{}.{:06}", size / per_unit, size % per_unit)
    }
}

impl FromStr for Micros {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (sign, digits) = text
            .strip_prefix('-')
            .map_or((1, text), |digits| (-1, digits));
        let (units, places) = digits.split_once('.').unwrap_or((digits, ""));
        let is_amount = !units.is_empty() && places.len() <= 6;
        if !is_amount || !is_digits(units) || !is_digits(places) {
            return Err(not_an_amount(text));
        }
        let millionths = format!("{units}{places:0<6}").parse::<i64>();
        millionths
            .map(|millionths| Self(sign * millionths))
            .map_err(|_| not_an_amount(text))
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn not_an_amount(text: &str) -> String {
    format!("{text:?} is not an amount with up to six decimal places")
}

impl TryFrom<String> for Micros {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Micros> for String {
    fn from(amount: Micros) -> Self {
        amount.to_string()
    }
}

impl Add for Micros {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Micros {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Micros {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Micros {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_third_each_leaves_nothing_over() {
        assert_eq!(
            Micros(100).split(&[1.0, 1.0, 1.0]),
            [Micros(34), Micros(33), Micros(33)]
        );
        // 10 · 2/7 = 2.857, 10 · 4/7 = 5.714, 10 · 1/7 = 1.429: the two largest remainders get one
        // each.
        assert_eq!(
            Micros(10).split(&[2.0, 4.0, 1.0]),
            [Micros(3), Micros(6), Micros(1)]
        );
        assert_eq!(Micros(10).split(&[0.0, f64::NAN]), [Micros(0), Micros(0)]);
        assert_eq!(Micros(10).split(&[]), []);
    }

    #[test]
    fn amounts_are_read_as_they_are_written() {
        for (amount, text) in [
            (0, "0.000000"),
            (1, "0.000001"),
            (12_345_678, "12.345678"),
            (-1_500_000, "-1.500000"),
        ] {
            assert_eq!(
                (Micros(amount).to_string().as_str(), text.parse()),
                (text, Ok(Micros(amount)))
            );
        }
        assert_eq!("7.5".parse(), Ok(Micros(7_500_000)));
        for wrong in [
            "",
            ".",
            "1.0000001",
            "1e3",
            "+1",
            "1,5",
            "99999999999999999999",
        ] {
            assert!(wrong.parse::<Micros>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn parts_are_the_whole(total in 0..i64::MAX / 2, weights in prop::collection::vec(0.0..1e12f64, 1..60)) {
            let parts = Micros(total).split(&weights);
            let sum: f64 = weights.iter().sum();
            prop_assume!(sum > 0.0);
            prop_assert_eq!(parts.iter().copied().sum::<Micros>(), Micros(total));
            for (part, weight) in parts.iter().zip(&weights) {
                let exact = total as f64 * weight / sum;
                prop_assert!((part.0 as f64 - exact).abs() <= 1.0 + total as f64 * 1e-12, "{part:?} for {exact}");
            }
        }
    }
}
