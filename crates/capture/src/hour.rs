//! Hours, which captures are partitioned by.

use std::fmt;

use chrono::{DateTime, NaiveDate, Timelike, Utc};

const HOUR_MS: u64 = 3_600_000;

/// An hour, counted from the beginning of 1970 in UTC.
///
/// ```
/// use tidegate_capture::Hour;
///
/// let hour = Hour::of_ms(1_795_770_000_000);
/// assert_eq!(hour.to_string(), "2026-11-27T09");
/// assert_eq!(Hour::parse("2026-11-27", "09"), Some(hour));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(u64);

impl Hour {
    /// The hour of a time, in milliseconds since 1970.
    pub fn of_ms(unix_ms: u64) -> Self {
        Self(unix_ms / HOUR_MS)
    }

    /// Its first moment, in milliseconds since 1970.
    pub fn begin_ms(self) -> u64 {
        self.0 * HOUR_MS
    }

    /// The moment after its last, in milliseconds since 1970.
    pub fn end_ms(self) -> u64 {
        (self.0 + 1) * HOUR_MS
    }

    /// The next hour.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The hour of a day such as `2026-11-27`, from `00` to `23`.
    pub fn parse(day: &str, hour: &str) -> Option<Self> {
        let hour: u32 = hour.parse().ok().filter(|_| hour.len() == 2)?;
        let day: NaiveDate = day.parse().ok()?;
        let time = day.and_hms_opt(hour, 0, 0)?.and_utc();
        Some(Self::of_ms(u64::try_from(time.timestamp_millis()).ok()?))
    }

    /// Its day, such as `2026-11-27`, and its number in it, from 0 to 23.
    pub fn day_and_hour(self) -> (String, u32) {
        let time = self.time();
        (time.date_naive().to_string(), time.hour())
    }

    fn time(self) -> DateTime<Utc> {
        let ms = i64::try_from(self.begin_ms()).unwrap_or(i64::MAX);
        DateTime::from_timestamp_millis(ms).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, hour) = self.day_and_hour();
        write!(f, "{day}T{hour:02}")
    }
}
