//! Shares of traffic, exact to a thousandth of a percent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How many parts the whole has: a part is a thousandth of a percent.
pub const PARTS: u32 = 100_000;

/// A share of traffic from 0 % to 100 %, counted in parts of [`PARTS`], so that sums are exact.
///
/// It is written with its percent sign: whether `0.5` is a half or half a percent is not to be guessed.
///
/// ```
/// use tidegate_delivery::policy::Share;
///
/// let share: Share = "0.5%".parse()?;
/// assert_eq!((share.parts(), share.to_string()), (500, "0.5%".to_owned()));
/// assert!("0.5".parse::<Share>().is_err());
/// # Ok::<(), tidegate_delivery::policy::InvalidShare>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share(u32);

/// Text that is not a share.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a share: write \"0%\" to \"100%\", with at most 3 digits after the decimal point"
)]
pub struct InvalidShare(String);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(PARTS);

    /// A share of so many parts; `None` above the whole.
    pub const fn from_parts(parts: u32) -> Option<Self> {
        if parts <= PARTS {
            Some(Self(parts))
        } else {
            None
        }
    }

    /// How many parts of [`PARTS`] it has.
    pub const fn parts(self) -> u32 {
        self.0
    }

    /// As a fraction from 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(PARTS)
    }

    /// What is left of the whole.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(PARTS - self.0)
    }
}

impl FromStr for Share {
    type Err = InvalidShare;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.strip_suffix('%').and_then(parts_of_percent);
        let share = parts.and_then(Self::from_parts);
        share.ok_or_else(|| InvalidShare(text.chars().take(40).collect()))
    }
}

/// Decimal digits to parts, without a detour over binary fractions, which are not exact.
fn parts_of_percent(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_short = (1..=3).contains(&whole.len()) && (1..=3).contains(&fraction.len());
    let mut digits = whole.bytes().chain(fraction.bytes());
    if !is_short || !digits.all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u32 = format!("{fraction:0<3}").parse().ok()?;
    Some(whole.parse::<u32>().ok()? * 1000 + thousandths)
}

impl TryFrom<String> for Share {
    type Error = InvalidShare;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, thousandths) = (self.0 / 1000, self.0 % 1000);
        if thousandths == 0 {
            return write!(formatter, "{whole}%");
        }
        let fraction = format!("{thousandths:03}");
        write!(formatter, "{whole}.{}%", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_that_is_not_a_share_is_refused() {
        for text in [
            "", "%", "5", "0.5", "100.001%", "-1%", "+1%", "1.2345%", ".5%", "5.%", "5 %", "1e1%",
        ] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_share_is_read_as_it_was_written(parts in 0..=PARTS) {
            let share = Share::from_parts(parts).unwrap();
            prop_assert_eq!(share.to_string().parse::<Share>(), Ok(share));
        }
    }
}
