//! Counts of what Redis was asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What Redis is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisCommand {
    /// Tokens of rates.
    Lease,
    /// A kept answer.
    Get,
    /// To keep an answer.
    Set,
    /// The regular check of the connection.
    Check,
}

impl RedisCommand {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lease, Self::Get, Self::Set, Self::Check];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Get => "get",
            Self::Set => "set",
            Self::Check => "check",
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// With an answer.
    Answered,
    /// With an error, or without an answer.
    Failed,
    /// Redis did not answer in time.
    TimedOut,
    /// It was not sent: Redis is away.
    NotSent,
}

impl CommandOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Answered, Self::Failed, Self::TimedOut, Self::NotSent];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::NotSent => "not_sent",
        }
    }
}

const COMMANDS: usize = RedisCommand::ALL.len();
const OUTCOMES: usize = CommandOutcome::ALL.len();

/// Figures of a connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RedisStats {
    /// Commands in the order of [`RedisCommand::ALL`], by outcome in that of [`CommandOutcome::ALL`].
    pub commands: [[u64; OUTCOMES]; COMMANDS],
    /// How long those took that were sent, all together, in seconds.
    pub seconds: [f64; COMMANDS],
    /// Servers that were counted last.
    pub servers: u32,
    /// Whether there is a connection.
    pub is_connected: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    commands: [[AtomicU64; OUTCOMES]; COMMANDS],
    nanoseconds: [AtomicU64; COMMANDS],
}

impl Counters {
    pub(crate) fn add(&self, command: RedisCommand, outcome: CommandOutcome, took: Duration) {
        let command = command as usize;
        self.commands[command][outcome as usize].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds[command].fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> RedisStats {
        let mut stats = RedisStats::default();
        for command in 0..COMMANDS {
            for outcome in 0..OUTCOMES {
                let count = self.commands[command][outcome].load(Ordering::Relaxed);
                stats.commands[command][outcome] = count;
            }
            let nanoseconds = self.nanoseconds[command].load(Ordering::Relaxed);
            stats.seconds[command] = nanoseconds as f64 / 1e9;
        }
        stats
    }
}
