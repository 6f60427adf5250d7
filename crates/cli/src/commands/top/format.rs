//! Short numbers for a small screen.

use std::time::Duration;

/// A count or a rate, with about three digits.
pub(super) fn number(value: f64) -> String {
    match value {
        1e6.. => format!("{:.1}M", value / 1e6),
        1e4.. => format!("{:.1}k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        0.05.. => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// A dash for a missing value.
pub(super) fn number_or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// Bytes in decimal units.
pub(super) fn bytes(count: f64) -> String {
    match count {
        1e9.. => format!("{:.1} GB", count / 1e9),
        _ => format!("{:.0} MB", count / 1e6),
    }
}

/// A share in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

/// A time as days, hours, minutes and seconds, the two largest of them.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        86_400.. => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
        3600.. => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        60.. => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.004, 1.25, 12.34, 340.4, 23_456.0, 2_500_000.0].map(number);
        assert_eq!(shown, ["0", "0.004", "1.2", "12.3", "340", "23.5k", "2.5M"]);
        let shown = [5, 65, 3725, 90_000].map(|seconds| time(Duration::from_secs(seconds)));
        assert_eq!(shown, ["5s", "1m 5s", "1h 2m", "1d 1h"]);
        assert_eq!(
            (bytes(2.5e9), bytes(12e6), percent(0.1234)),
            ("2.5 GB".into(), "12 MB".into(), "12.3%".into())
        );
    }
}
