//! Periods, as people write them.

use std::time::Duration;

/// A period such as 2h.
pub(crate) fn period(text: &str) -> Result<Duration, String> {
    match period_or_zero(text)? {
        Duration::ZERO => Err("it must be longer than zero".to_owned()),
        period => Ok(period),
    }
}

/// A period that may be 0s.
pub(crate) fn period_or_zero(text: &str) -> Result<Duration, String> {
    parse_seconds(text)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("{text:?} is not a duration such as 30s, 15m, 2h or 1d"))
}

fn parse_seconds(text: &str) -> Option<u64> {
    let seconds_per_unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    // Every unit is one byte long.
    let count: u64 = text[..text.len() - 1].parse().ok()?;
    count.checked_mul(seconds_per_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(
            [period("90s"), period("15m"), period("2h")],
            [90, 900, 7200].map(|seconds| Ok(Duration::from_secs(seconds)))
        );
        for wrong in [
            "",
            "2",
            "h",
            "0s",
            "-1h",
            "2hours",
            "1é",
            "99999999999999999999d",
        ] {
            assert!(period(wrong).is_err(), "{wrong}");
        }
        assert_eq!(period_or_zero("0s"), Ok(Duration::ZERO));
        assert!(period_or_zero("0").is_err());
    }
}
