//! Room for those who need the processor for a moment only, beside runs that take it for long.
//!
//! The kernel lets a thread that runs finish its slice, some milliseconds, before one of the same
//! weight that woke up. A runner of long runs lowers its own weight: on a busy machine event loops
//! and short runs go first, and where processors are idle it loses nothing. A thread cannot raise
//! its weight again without privileges, so only the threads of models whose single rows already
//! take long are lowered; where refusals compete with runs for the processor, runs must not lose.

use std::time::Duration;

/// A row that takes as long makes a long run.
pub(super) const LONG_ROW: Duration = Duration::from_millis(10);
/// A ninth of the usual weight, by the kernel's table (`sched_prio_to_weight`).
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Whether the runner thread that has it goes last.
#[derive(Default)]
pub(super) struct Courtesy {
    goes_last: bool,
}

impl Courtesy {
    /// Lets the calling thread go last from now on if rows take long.
    pub(super) fn consider(&mut self, rows_are_long: impl FnOnce() -> bool) {
        if !self.goes_last && rows_are_long() {
            self.goes_last = true;
            go_last();
        }
    }
}

#[cfg(target_os = "linux")]
fn go_last() {
    // To Linux no process is the calling thread alone. That it may not be nicer than it is cannot
    // be; if it fails all the same, everything goes on as before.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a thread with long runs keeps its priority");
    }
}

/// Elsewhere it would be the whole process.
#[cfg(not(target_os = "linux"))]
fn go_last() {}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[test]
    fn only_the_thread_of_long_rows_goes_last() {
        let before = niceness();
        let short = std::thread::spawn(move || {
            Courtesy::default().consider(|| false);
            niceness()
        });
        assert_eq!(short.join().unwrap(), before);
        let long = std::thread::spawn(move || {
            Courtesy::default().consider(|| true);
            niceness()
        });
        assert_eq!(long.join().unwrap(), NICENESS.max(before));
        assert_eq!(niceness(), before);
    }
}
