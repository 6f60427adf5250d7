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
    let days_of = |unit: char, days: u32| {
        let count: u32 = duration.strip_suffix(unit)?.parse().ok()?;
        count.checked_mul(days)
    };
    let hours = || {
        duration
            .strip_suffix('h')?
            .parse::<u32>()
            .ok()
            .filter(|hours| hours % 24 == 0)
            .map(|hours| hours / 24)
    };
    let days = days_of('d', 1).or_else(|| days_of('w', 7)).or_else(hours);
    let days = days.ok_or_else(|| {
        format!("the rolling duration is \"{duration}\", it must be whole days or weeks")
    })?;
    format!("{days}d").parse()
}

/// Every month that begins on the first at midnight is a calendar month, whichever it starts with.
fn month(duration: &str, calendar: &Calendar) -> Result<Window, String> {
    if duration != "1M" {
        return Err(format!(
            "the calendar duration is \"{duration}\", only 1M can be kept"
        ));
    }
    if !matches!(calendar.time_zone.as_str(), "UTC" | "Etc/UTC") {
        return Err(format!(
            "timeZone is \"{}\", only UTC can be kept",
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
