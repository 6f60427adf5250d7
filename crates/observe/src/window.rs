//! The window over which an objective holds.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime};
use serde::{Deserialize, Serialize};

pub(crate) const MINUTE_MS: u64 = 60_000;
pub(crate) const HOUR_MS: u64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: u64 = 24 * HOUR_MS;

/// The longest rolling window, in days: what a [`Ledger`](crate::Ledger) keeps.
pub const MAX_WINDOW_DAYS: u32 = 90;

/// The window over which an objective holds. Written `"30d"` or `"month"`.
///
/// ```
/// use tidegate_observe::Window;
///
/// assert_eq!("7d".parse::<Window>(), Ok(Window::Rolling { days: 7 }));
/// assert_eq!("month".parse::<Window>(), Ok(Window::Month));
/// assert!("7h".parse::<Window>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Window {
    /// The last so many days, at every moment.
    Rolling {
        /// Days, 1 to [`MAX_WINDOW_DAYS`].
        days: u32,
    },
    /// The calendar month in UTC: the error budget is whole again on the first.
    Month,
}

impl Default for Window {
    fn default() -> Self {
        Self::Rolling { days: 30 }
    }
}

impl Window {
    /// When the window began that `now_ms` lies in; both in Unix milliseconds.
    pub fn start_ms(self, now_ms: u64) -> u64 {
        match self {
            Self::Rolling { days } => now_ms.saturating_sub(u64::from(days) * DAY_MS),
            Self::Month => first_of_month(now_ms).map_or(0, unix_ms),
        }
    }

    /// When the window ends: `now_ms` itself if it is rolling, else the first of the next month.
    pub fn end_ms(self, now_ms: u64) -> u64 {
        match self {
            Self::Rolling { .. } => now_ms,
            Self::Month => {
                let next = first_of_month(now_ms)
                    .and_then(|first| first.checked_add_months(Months::new(1)));
                next.map_or(now_ms, unix_ms)
            }
        }
    }
}

fn first_of_month(now_ms: u64) -> Option<NaiveDate> {
    let now = DateTime::from_timestamp_millis(i64::try_from(now_ms).ok()?)?;
    now.date_naive().with_day(1)
}

fn unix_ms(day: NaiveDate) -> u64 {
    u64::try_from(day.and_time(NaiveTime::MIN).and_utc().timestamp_millis()).unwrap_or_default()
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rolling { days } => write!(f, "{days}d"),
            Self::Month => f.write_str("month"),
        }
    }
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "month" {
            return Ok(Self::Month);
        }
        // Days only: weeks and hours would be two ways to write one window.
        let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
        match days {
            Some(days @ 1..=MAX_WINDOW_DAYS) => Ok(Self::Rolling { days }),
            _ => Err(format!(
                "window is \"{text}\", it must be a number of days from \"1d\" to \"{MAX_WINDOW_DAYS}d\", or \"month\""
            )),
        }
    }
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // From `date --utc --date='2024-02-29 13:00' +%s` and the like.
    const FEBRUARY_29_2024_13H: u64 = 1_709_211_600_000;
    const FEBRUARY_1_2024: u64 = 1_706_745_600_000;
    const MARCH_1_2024: u64 = 1_709_251_200_000;

    #[test]
    fn a_month_is_that_of_the_calendar() {
        assert_eq!(
            Window::Month.start_ms(FEBRUARY_29_2024_13H),
            FEBRUARY_1_2024
        );
        assert_eq!(Window::Month.end_ms(FEBRUARY_29_2024_13H), MARCH_1_2024);
        assert_eq!(Window::Month.start_ms(MARCH_1_2024), MARCH_1_2024);
        assert_eq!(Window::Month.start_ms(MARCH_1_2024 - 1), FEBRUARY_1_2024);
    }

    #[test]
    fn a_rolling_window_ends_now() {
        let week = Window::Rolling { days: 7 };
        assert_eq!(week.start_ms(MARCH_1_2024), MARCH_1_2024 - 604_800_000);
        assert_eq!(week.end_ms(MARCH_1_2024), MARCH_1_2024);
    }

    #[test]
    fn text_is_read_as_it_is_written() {
        for window in [
            Window::Rolling { days: 1 },
            Window::Rolling { days: 90 },
            Window::Month,
        ] {
            assert_eq!(window.to_string().parse(), Ok(window));
        }
        for wrong in ["", "d", "0d", "91d", "30", "30h", "-1d", "months"] {
            let error = wrong.parse::<Window>().unwrap_err();
            assert!(error.contains(&format!("\"{wrong}\"")), "{error}");
        }
    }
}
