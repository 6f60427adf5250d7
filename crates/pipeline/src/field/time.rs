//! Times as ISO 8601 writes them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

/// The forms without a zone, which are in UTC. `T` or a space stands between date and time.
const LOCAL_FORMS: [&str; 4] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
];

/// A time as microseconds since 1970; `None` for text that is no time.
pub(crate) fn micros(text: &str) -> Option<f64> {
    let micros = match text.len() {
        10 => {
            let date: NaiveDate = text.parse().ok()?;
            date.and_time(NaiveTime::MIN).and_utc().timestamp_micros()
        }
        _ => match DateTime::parse_from_rfc3339(text) {
            Ok(time) => time.timestamp_micros(),
            Err(_) => local(text)?.and_utc().timestamp_micros(),
        },
    };
    Some(micros as f64)
}

fn local(text: &str) -> Option<NaiveDateTime> {
    let mut forms = LOCAL_FORMS.iter();
    forms.find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_read_in_utc_unless_they_say_their_zone() {
        let day = 20_000.0 * 86_400e6;
        assert_eq!(micros("2024-10-04"), Some(day));
        assert_eq!(micros("2024-10-04T01:00:00"), Some(day + 3600e6));
        assert_eq!(micros("2024-10-04 01:00"), Some(day + 3600e6));
        assert_eq!(micros("2024-10-04T01:00:00.25Z"), Some(day + 3600.25e6));
        assert_eq!(micros("2024-10-04T01:00:00+01:00"), Some(day));
        for wrong in [
            "",
            "2024-13-01",
            "04.10.2024",
            "2024-10-04T25:00:00",
            "20000",
            "now",
        ] {
            assert_eq!(micros(wrong), None, "{wrong}");
        }
    }
}
