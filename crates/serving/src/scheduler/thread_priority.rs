//! Lower priority for threads whose runs take long.
//!
//! ```text
//! event loops, short runs   weight 1024 ─┐
//!                                        ├─► kernel scheduler ─► processors
//! runners of long rows      weight  110 ─┘
//! ```
//!
//! The kernel lets a running thread finish its slice, some milliseconds, before a thread of the
//! same weight that woke up. A runner of long runs lowers its own weight: on a busy machine event
//! loops and short runs go first, and where processors are idle it loses nothing.
//!
//! Invariant: priority only goes down. A thread cannot raise its weight again without privileges.
//! So only runners of models whose single rows already take long are lowered. A model that is slow
//! only in large batches keeps its weight: under overload its runs compete for processors with
//! refusing requests, and must not lose.

use std::time::Duration;

/// A single row that takes this long makes its model one of long runs.
pub(super) const LONG_ROW: Duration = Duration::from_millis(10);
/// A ninth of the usual weight, by the kernel's table (`sched_prio_to_weight`: 110 of 1024).
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// The priority of the runner thread that owns it.
#[derive(Default)]
pub(super) struct ThreadPriority {
    is_lowered: bool,
}

impl ThreadPriority {
    /// Lowers the priority of the calling thread, for good, once rows take long.
    pub(super) fn lower_if(&mut self, rows_are_long: impl FnOnce() -> bool) {
        if !self.is_lowered && rows_are_long() {
            self.is_lowered = true;
            lower_priority();
        }
    }
}

/// Lowers the priority of the calling thread, for good.
#[cfg(target_os = "linux")]
pub(crate) fn lower_priority() {
    // On Linux, `None` means the calling thread, not its process. Raising the niceness is always
    // allowed; should it fail all the same, only the priority is lost.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "cannot lower the priority of a thread");
    }
}

/// Elsewhere the call would change the priority of the whole process.
#[cfg(not(target_os = "linux"))]
pub(crate) fn lower_priority() {}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[test]
    fn only_the_thread_of_long_rows_is_lowered() {
        let before = niceness();
        let short = std::thread::spawn(move || {
            ThreadPriority::default().lower_if(|| false);
            niceness()
        });
        assert_eq!(short.join().unwrap(), before);
        let long = std::thread::spawn(move || {
            ThreadPriority::default().lower_if(|| true);
            niceness()
        });
        assert_eq!(long.join().unwrap(), NICENESS.max(before));
        assert_eq!(niceness(), before);
    }
}
