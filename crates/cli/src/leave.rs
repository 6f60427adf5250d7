//! Leave that somebody gives for a while: how long, why and who, as silences and thaws say it.

use clap::Args;
use serde_json::{Value, json};

use crate::registry::actor;

#[derive(Debug, Args)]
pub(crate) struct Leave {
    /// For how long: 30s, 15m, 2h, 1d
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    duration_s: u64,
    /// Why
    #[arg(long)]
    comment: String,
    /// Who; by default the user and the machine
    #[arg(long)]
    author: Option<String>,
}

impl Leave {
    /// What the server is told of it.
    pub(crate) fn body(&self) -> Value {
        let author = self.author.clone().unwrap_or_else(actor);
        json!({"duration_s": self.duration_s, "author": author, "comment": self.comment})
    }
}

/// A time such as 2h, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time such as 30s, 15m, 2h or 1d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    count
        .checked_mul(factor)
        .filter(|seconds| *seconds > 0)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
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
