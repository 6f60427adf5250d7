//! How long, why and by whom: for silences, and for rollouts that go on without error budget.

use clap::Args;
use serde_json::{Value, json};

use crate::environment::actor;

#[derive(Debug, Args)]
pub(crate) struct TemporaryOverride {
    /// For how long: 30s, 15m, 2h, 1d
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    duration_s: u64,
    /// The reason
    #[arg(long)]
    comment: String,
    /// Who asks for it [default: USER@HOST]
    #[arg(long)]
    author: Option<String>,
}

impl TemporaryOverride {
    /// The body of the request.
    pub(crate) fn body(&self) -> Value {
        let author = self.author.clone().unwrap_or_else(actor);
        json!({"duration_s": self.duration_s, "author": author, "comment": self.comment})
    }
}

/// A duration such as 2h, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    parse_seconds(text)
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
    count
        .checked_mul(seconds_per_unit)
        .filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(
            (seconds("90s"), seconds("15m"), seconds("2h")),
            (Ok(90), Ok(900), Ok(7200))
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
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
