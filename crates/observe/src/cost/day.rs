//! Days, which begin and end in UTC.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Months, NaiveDate};
use serde::{Deserialize, Serialize};

const SECONDS: f64 = 86_400.0;

/// A day in UTC. Written `"2026-11-25"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(NaiveDate);

impl Day {
    /// The day of a moment, in Unix milliseconds.
    pub fn of_ms(at_ms: u64) -> Self {
        let moment = i64::try_from(at_ms)
            .ok()
            .and_then(DateTime::from_timestamp_millis);
        // A time beyond the calendar of chrono counts as its last day.
        Self(moment.map_or(NaiveDate::MAX, |moment| moment.date_naive()))
    }

    /// The first day of its month.
    #[must_use]
    pub fn first_of_month(self) -> Self {
        Self(self.0.with_day(1).unwrap_or(self.0))
    }

    /// How long its month is, in seconds.
    pub(super) fn month_s(self) -> f64 {
        let first = self.first_of_month().0;
        let next = first.checked_add_months(Months::new(1));
        // Only a month beyond the calendar of chrono has no next one.
        next.map_or(31.0, |next| (next - first).num_days() as f64) * SECONDS
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(40).collect();
        text.parse()
            .map(Self)
            .map_err(|_| format!("{shown:?} is not a day such as 2026-11-25"))
    }
}

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_utc() {
        // From `date --utc --date=2024-02-29 +%s`.
        let midnight_ms = 1_709_164_800_000;
        assert_eq!(Day::of_ms(midnight_ms).to_string(), "2024-02-29");
        assert_eq!(Day::of_ms(midnight_ms - 1).to_string(), "2024-02-28");
        let day: Day = "2024-02-29".parse().unwrap();
        assert_eq!(
            (day.first_of_month().to_string().as_str(), day.month_s()),
            ("2024-02-01", 29.0 * SECONDS)
        );
        for wrong in ["", "2024-02-30", "yesterday", "2024-02"] {
            assert!(
                wrong.parse::<Day>().unwrap_err().contains("is not a day"),
                "{wrong}"
            );
        }
    }
}
