//! Numbers and times as people read them. Times are UTC.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The unreserved characters of RFC 3986, section 2.3; all others are escaped.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Shown where there is no value.
pub(crate) const NONE: &str = "–";

/// A text as one segment of a path, or as a value of a query.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// `1,234,567`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with about three digits: `0`, `0.012`, `1.23`, `45.6`, `1,234`.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => NONE.to_owned(),
        // Below what three decimal places can show.
        size if size < 0.0005 => "0".to_owned(),
        size if size < 0.1 => format!("{value:.3}"),
        size if size < 10.0 => trimmed(format!("{value:.2}")),
        size if size < 100.0 => trimmed(format!("{value:.1}")),
        size if size < 1e15 => {
            let sign = if value < 0.0 { "-" } else { "" };
            format!("{sign}{}", count(size.round() as u64))
        }
        _ => format!("{value:.2e}"),
    }
}

/// An amount of money: as [`number`], but a small one keeps three significant digits. A thousandth
/// of a cent a prediction is not nothing.
pub(crate) fn money(value: f64) -> String {
    let size = value.abs();
    if !(1e-12..0.1).contains(&size) {
        return number(value);
    }
    let places = 2 - size.log10().floor() as i32;
    let places = usize::try_from(places).unwrap_or(0);
    without_zeros(&format!("{value:.places$}"))
}

fn trimmed(text: String) -> String {
    text.strip_suffix(".00")
        .or_else(|| text.strip_suffix(".0"))
        .map(str::to_owned)
        .unwrap_or(text)
}

/// A number without zeros at its end: `0.5`.
pub(crate) fn short_number(value: f64) -> String {
    let text = number(value);
    if text.contains('.') && !text.contains('e') {
        without_zeros(&text)
    } else {
        text
    }
}

fn without_zeros(text: &str) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A time in milliseconds: `0.42 ms`, `12.3 ms`, `1.23 s`.
pub(crate) fn millis(ms: f64) -> String {
    if ms.abs() < 1000.0 {
        format!("{} ms", number(ms))
    } else {
        format!("{} s", number(ms / 1000.0))
    }
}

/// `12.3/s`.
pub(crate) fn rate(per_s: f64) -> String {
    format!("{}/s", number(per_s))
}

/// The share of an error budget that is left: `34 %`, or `overspent 2.5 times`, where 2.5 is spent over
/// allowed.
pub(crate) fn budget_text(remaining: f64) -> String {
    // A negative percentage such as -7153 % is hard to read.
    match remaining < 0.0 {
        true => format!("overspent {} times", short_number(1.0 - remaining)),
        false => percent(remaining),
    }
}

/// A share as `99.95 %`. Rounding never turns a share below 1 into 100 %, nor one above 0 into 0 %.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let text = match percent.abs() {
        _ if !percent.is_finite() => return NONE.to_owned(),
        size if size >= 1000.0 => number(percent),
        size if size < 10.0 => without_zeros(&format!("{percent:.2}")),
        size if !(99.0..=100.0).contains(&size) => without_zeros(&format!("{percent:.1}")),
        // Rounds towards zero, because 99.996 is not 100. The tiny addition makes up for floating
        // point: 0.9999 * 100 is a little less than 99.99.
        _ => without_zeros(&format!(
            "{:.2}",
            ((percent * 100.0) + percent.signum() * 1e-6).trunc() / 100.0
        )),
    };
    match text.as_str() {
        "0" | "-0" if share > 0.0 => "< 0.01 %".to_owned(),
        _ => format!("{text} %"),
    }
}

/// `512 B`, `1.50 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return format!("{} {unit}", number(value));
        }
        value /= 1024.0;
    }
    format!("{} TiB", number(value))
}

/// A length of time: `40 s`, `3 min`, `2 h 5 min`, `4 d 3 h`.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => two_units((hours, "h"), (minutes % 60, "min")),
        _ => two_units((days, "d"), (hours % 24, "h")),
    }
}

fn two_units((large, unit): (u64, &str), (small, small_unit): (u64, &str)) -> String {
    match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    }
}

fn utc(ms: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(i64::try_from(ms).unwrap_or(i64::MAX))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// `2026-03-01 14:05:09`.
pub(crate) fn date_time(ms: u64) -> String {
    utc(ms).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `14:05:09`.
pub(crate) fn clock(ms: u64) -> String {
    utc(ms).format("%H:%M:%S").to_string()
}

/// `14:05`.
pub(crate) fn hour_minute(ms: u64) -> String {
    utc(ms).format("%H:%M").to_string()
}

/// `Mar 1`.
pub(crate) fn day(ms: u64) -> String {
    utc(ms).format("%b %-d").to_string()
}

/// How long ago, with the moment itself as tooltip.
pub(crate) fn ago(at_ms: u64, now_ms: u64) -> Markup {
    let text = match at_ms <= now_ms {
        true => format!("{} ago", span(now_ms - at_ms)),
        false => format!("in {}", span(at_ms - now_ms)),
    };
    html! { time datetime=(utc(at_ms).to_rfc3339()) title=(format!("{} UTC", date_time(at_ms))) { (text) } }
}

/// A moment as date and time.
pub(crate) fn moment(at_ms: u64) -> Markup {
    html! { time datetime=(utc(at_ms).to_rfc3339()) { (date_time(at_ms)) } }
}

/// A link if the address is an http(s) URL, else the text alone.
pub(crate) fn link(address: &str, text: &str) -> Markup {
    // Addresses come from configuration and alerts: never link to `javascript:`.
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    // Other sites need not learn the address of this server.
    html! { @if is_web { a href=(address) rel="noreferrer" { (text) } } @else { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_about_three_digits() {
        let shown = [
            0.0,
            0.0123,
            1.0,
            1.234,
            45.67,
            999.6,
            12_345.6,
            -3.0,
            f64::NAN,
        ]
        .map(number);
        assert_eq!(
            shown,
            [
                "0", "0.012", "1", "1.23", "45.7", "1,000", "12,346", "-3", "–"
            ]
        );
        assert_eq!(
            [0.42, 12.34, 1234.0].map(millis),
            ["0.42 ms", "12.3 ms", "1.23 s"]
        );
        assert_eq!([0, 1536, 3 << 20].map(bytes), ["0 B", "1.50 KiB", "3 MiB"]);
    }

    #[test]
    fn small_amounts_of_money_are_not_nothing() {
        let shown = [0.0, 0.000_123_4, 0.000_5, -0.012_3, 0.5, 1234.0].map(money);
        assert_eq!(
            shown,
            ["0", "0.000123", "0.0005", "-0.0123", "0.50", "1,234"]
        );
    }

    #[test]
    fn what_is_not_whole_is_not_said_to_be() {
        let shown = [
            1.0, 0.999_99, 0.9999, 0.999, 0.5, 0.000_01, 0.0, -0.25, -19.36,
        ]
        .map(percent);
        assert_eq!(
            shown,
            [
                "100 %", "99.99 %", "99.99 %", "99.9 %", "50 %", "< 0.01 %", "0 %", "-25 %",
                "-1,936 %"
            ]
        );
        assert_eq!(
            [0.5, 20.0, 0.025, 1500.0].map(short_number),
            ["0.5", "20", "0.025", "1,500"]
        );
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let shown = [900, 61_000, 7_500_000, 90_000_000].map(span);
        assert_eq!(shown, ["0 s", "1 min", "2 h 5 min", "1 d 1 h"]);
        assert_eq!(date_time(1_700_000_040_000), "2023-11-14 22:14:00");
    }

    #[test]
    fn only_addresses_of_the_web_are_links() {
        assert_eq!(
            link("javascript:alert(1)", "runbook").into_string(),
            "runbook"
        );
        assert!(
            link("https://x.example/?a=\"", "runbook")
                .into_string()
                .contains("a=&quot;")
        );
    }
}
