//! When versions may get more traffic.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Hours of some days of the week in which rollouts may go on. Traffic goes back at any time.
///
/// ```
/// use tidegate_delivery::rollout::DeployWindow;
///
/// let window: DeployWindow = toml::from_str(
///     "days = ['mon', 'tue', 'wed', 'thu']\nfrom = '09:00'\nto = '16:00'\nutc_offset_minutes = 60",
/// )?;
/// // Thursday the first of January 1970, 09:30 in UTC+1.
/// assert!(window.is_open(8 * 3_600_000 + 30 * 60_000));
/// assert!(!window.is_open(15 * 3_600_000));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct DeployWindow {
    days: Vec<Weekday>,
    /// Minutes of the day.
    from: u32,
    to: u32,
    utc_offset_minutes: i32,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A deploy window that is never open, or whose times cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "a deploy window needs days, and from before to as \"HH:MM\", up to \"24:00\", with utc_offset_minutes from -840 to 840"
)]
pub struct InvalidDeployWindow;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    days: Vec<Weekday>,
    from: String,
    to: String,
    #[serde(default)]
    utc_offset_minutes: i32,
}

const DAY_MINUTES: i64 = 24 * 60;
/// The first day of 1970 was a Thursday.
const FROM_THURSDAY: [Weekday; 7] = [
    Weekday::Thu,
    Weekday::Fri,
    Weekday::Sat,
    Weekday::Sun,
    Weekday::Mon,
    Weekday::Tue,
    Weekday::Wed,
];

impl DeployWindow {
    /// Whether it is open at a time in milliseconds since 1970.
    pub fn is_open(&self, now_ms: u64) -> bool {
        let minutes = (now_ms / 60_000) as i64 + i64::from(self.utc_offset_minutes);
        let day = FROM_THURSDAY[minutes.div_euclid(DAY_MINUTES).rem_euclid(7) as usize];
        let minute = minutes.rem_euclid(DAY_MINUTES) as u32;
        self.days.contains(&day) && (self.from..self.to).contains(&minute)
    }
}

impl TryFrom<Written> for DeployWindow {
    type Error = InvalidDeployWindow;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let from = minute_of_day(&written.from).ok_or(InvalidDeployWindow)?;
        let to = minute_of_day(&written.to).ok_or(InvalidDeployWindow)?;
        let is_offset = (-840..=840).contains(&written.utc_offset_minutes);
        if from >= to || written.days.is_empty() || !is_offset {
            return Err(InvalidDeployWindow);
        }
        let (days, utc_offset_minutes) = (written.days, written.utc_offset_minutes);
        Ok(Self {
            days,
            from,
            to,
            utc_offset_minutes,
        })
    }
}

impl From<DeployWindow> for Written {
    fn from(window: DeployWindow) -> Self {
        let text = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        Self {
            days: window.days,
            from: text(window.from),
            to: text(window.to),
            utc_offset_minutes: window.utc_offset_minutes,
        }
    }
}

fn minute_of_day(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| {
        (digits.len() == 2)
            .then(|| digits.parse::<u32>().ok())
            .flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= 24 * 60).then_some(minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Result<DeployWindow, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn the_offset_moves_the_day_too() {
        let window =
            window("days = ['wed']\nfrom = '20:00'\nto = '24:00'\nutc_offset_minutes = -300");
        let window = window.unwrap();
        // Thursday 02:00 UTC is Wednesday 21:00 at UTC-5.
        assert!(window.is_open(2 * 3_600_000) && !window.is_open(6 * 3_600_000));
        let text = toml::to_string(&window).unwrap();
        assert_eq!(toml::from_str::<DeployWindow>(&text).unwrap(), window);
    }

    #[test]
    fn windows_that_are_never_open_are_refused() {
        for text in [
            "days = []\nfrom = '09:00'\nto = '10:00'",
            "days = ['mon']\nfrom = '10:00'\nto = '10:00'",
            "days = ['mon']\nfrom = '9:00'\nto = '10:00'",
            "days = ['mon']\nfrom = '09:60'\nto = '10:00'",
            "days = ['mon']\nfrom = '09:00'\nto = '24:01'",
        ] {
            assert!(window(text).is_err(), "{text}");
        }
    }
}
