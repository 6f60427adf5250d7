//! What the checks look at.

use crate::ask::{Event, Figures, Look};

/// A server as it was seen.
#[derive(Debug)]
pub(super) struct Exam {
    /// Its address, for commands.
    pub(super) server: String,
    pub(super) look: Look,
    /// The metrics of a while before the look.
    pub(super) before: Figures,
    /// How long that while was, in seconds.
    pub(super) watch_s: f64,
    /// How far back events are looked at.
    pub(super) hours: u64,
}

impl Exam {
    /// The metrics of the look.
    pub(super) fn figures(&self) -> &Figures {
        &self.look.figures
    }

    /// How much a counter grew while it was watched.
    pub(super) fn growth(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.figures().growth(&self.before, name, labels)
    }

    /// Whether the server serves what the registry has: only such a one counts the registry's
    /// versions.
    pub(super) fn follows_registry(&self) -> bool {
        !self.figures().series("tidegate_versions").is_empty()
    }

    /// The events of the hours that are looked at, the newest first. The times are the server's
    /// own.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        let now_ms = self.now_ms();
        self.look
            .events
            .iter()
            .filter(move |event| now_ms.saturating_sub(event.at_ms) <= self.hours * 3_600_000)
    }

    /// The time by the server's clock.
    pub(super) fn now_ms(&self) -> u64 {
        self.look
            .at_ms
            .saturating_add_signed(self.look.clock_ahead_ms.unwrap_or(0))
    }

    /// A command of ours that asks this server.
    pub(super) fn command(&self, command: &str) -> String {
        format!("tidegate {command} --url {}", self.server)
    }

    /// A call of its API.
    pub(super) fn curl(&self, path: &str) -> String {
        format!("curl -s {}{path}", self.server)
    }
}

/// How long ago, or how long, in words: seconds, minutes, hours, days.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Bytes in decimal units.
pub(super) fn bytes(count: f64) -> String {
    match count {
        1e9.. => format!("{:.1} GB", count / 1e9),
        1e6.. => format!("{:.1} MB", count / 1e6),
        _ => format!("{:.0} kB", count / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_told_in_units_that_fit() {
        assert_eq!(
            [duration(90_000), duration(180_000), duration(7_200_000)],
            ["90 s", "3 min", "2 h"]
        );
        assert_eq!(duration(3 * 86_400_000), "3 days");
        assert_eq!(
            [bytes(2.5e9), bytes(1.25e6), bytes(900.0)],
            ["2.5 GB", "1.2 MB", "1 kB"]
        );
    }
}
