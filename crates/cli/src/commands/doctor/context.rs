//! The input of the checks.

use super::next_commands::NextCommands;
use crate::client::{Event, MetricSamples, ServerSnapshot};

/// The state of a server, and how it changed while it was watched.
#[derive(Debug)]
pub(super) struct CheckContext {
    /// Commands for the server.
    pub(super) commands: NextCommands,
    pub(super) snapshot: ServerSnapshot,
    /// The metrics `watch_s` seconds before the snapshot.
    pub(super) before: MetricSamples,
    pub(super) watch_s: f64,
    /// How many hours of events the checks read.
    pub(super) hours: u64,
}

impl CheckContext {
    /// The metrics of the snapshot.
    pub(super) fn metrics(&self) -> &MetricSamples {
        &self.snapshot.metrics
    }

    /// How much a counter grew while it was watched.
    pub(super) fn increase(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.metrics().increase(&self.before, name, labels)
    }

    /// Whether the server follows the registry: only then does it count the registry's versions.
    pub(super) fn follows_registry(&self) -> bool {
        !self.metrics().series("tidegate_versions").is_empty()
    }

    /// The events of the last `hours`, newest first. Their times are of the server's clock.
    pub(super) fn events(&self) -> impl Iterator<Item = &Event> {
        let now_ms = self.now_ms();
        self.snapshot
            .events
            .iter()
            .filter(move |event| now_ms.saturating_sub(event.at_ms) <= self.hours * 3_600_000)
    }

    /// The time by the server's clock.
    pub(super) fn now_ms(&self) -> u64 {
        self.snapshot
            .at_ms
            .saturating_add_signed(self.snapshot.clock_ahead_ms.unwrap_or(0))
    }

    /// A `tidegate` command for this server.
    pub(super) fn command(&self, command: &str) -> String {
        self.commands.command(command)
    }

    /// A call of the server's API.
    pub(super) fn curl(&self, path: &str) -> String {
        self.commands.get(path)
    }
}

/// A duration in words: seconds, minutes, hours or days.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        // Below two of a unit, the smaller unit says more: 90 min rather than 1 h.
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
    fn sizes_and_durations_have_a_unit_that_fits() {
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
