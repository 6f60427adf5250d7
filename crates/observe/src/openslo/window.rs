//! Windows as OpenSLO writes them.

use chrono::{Datelike, NaiveDateTime, NaiveTime};

use super::document::{Calendar, TimeWindow};
use crate::window::Window;

pub(super) fn write(window: Window) -> TimeWindow {
    match window {
        Window::Rolling { days } => TimeWindow {
            duration: format!("{days}d"),
            is_rolling: Some(true),
            calendar: None,
        },
        Window::Month => TimeWindow {
            duration: "1M".to_owned(),
            is_rolling: Some(false),
            calendar: Some(Calendar {
                // Any first of a month says the same.
                start_time: "2020-01-01 00:00:00".to_owned(),
                time_zone: "UTC".to_owned(),
            }),
        },
    }
}

pub(super) fn read(window: &TimeWindow) -> Result<Window, String> {
    match (&window.calendar, window.is_rolling) {
        (None, Some(true)) => rolling(&window.duration),
        (Some(calendar), None | Some(false)) => month(&window.duration, calendar),
        (None, _) => Err("a timeWindow must be rolling, or have a calendar".to_owned()),
        (Some(_), Some(true)) => Err("a timeWindow that is rolling has no calendar".to_owned()),
    }
}

fn rolling(duration: &str) -> Result<Window, String> {
    let days = whole_days(duration).ok_or_else(|| {
        format!("the rolling duration is \"{duration}\", it must be whole days or weeks")
    })?;
    // Parsed as in the configuration, so that the same bounds hold.
    format!("{days}d").parse()
}

/// The days of a duration such as `30d`, `4w` or `48h`.
fn whole_days(duration: &str) -> Option<u32> {
    let unit = duration.chars().next_back()?;
    let count: u32 = duration.strip_suffix(unit)?.parse().ok()?;
    match unit {
        'd' => Some(count),
        'w' => count.checked_mul(7),
        'h' if count.is_multiple_of(24) => Some(count / 24),
        _ => None,
    }
}

/// Every month that begins on the first at midnight is a calendar month, whichever it starts with.
fn month(duration: &str, calendar: &Calendar) -> Result<Window, String> {
    if duration != "1M" {
        return Err(format!(
            "the calendar duration is \"{duration}\", only 1M is supported"
        ));
    }
    if !matches!(calendar.time_zone.as_str(), "UTC" | "Etc/UTC") {
        return Err(format!(
            "timeZone is \"{}\", only UTC is supported",
            calendar.time_zone
        ));
    }
    let start = NaiveDateTime::parse_from_str(&calendar.start_time, "%Y-%m-%d %H:%M:%S");
    match start {
        Ok(start) if start.day() == 1 && start.time() == NaiveTime::MIN => Ok(Window::Month),
        _ => Err(format!(
            "startTime is \"{}\", it must be midnight of the first of a month",
            calendar.start_time
        )),
    }
}
