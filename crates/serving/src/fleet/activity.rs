//! Whether a load had the engines for itself: only then is the growth of the process its own.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the engine work that moves the process's memory: loads, and drops of versions.
#[derive(Debug, Default)]
pub(super) struct EngineActivity {
    in_progress: AtomicUsize,
    /// How often work has started, ever. Work that came and went meanwhile shows here only.
    started: AtomicUsize,
}

/// Engine work in progress, until it is dropped.
pub(super) struct ActiveWork<'a> {
    activity: &'a EngineActivity,
    started_alone: bool,
    /// Its place in the order of starts.
    number: usize,
}

impl EngineActivity {
    pub(super) fn start(&self) -> ActiveWork<'_> {
        // Sequentially consistent, as both counters must be seen in the same order by all threads.
        let started_alone = self.in_progress.fetch_add(1, Ordering::SeqCst) == 0;
        ActiveWork {
            activity: self,
            started_alone,
            number: self.started.fetch_add(1, Ordering::SeqCst) + 1,
        }
    }
}

impl ActiveWork<'_> {
    /// Whether no other work was in progress from its start until now.
    pub(super) fn is_alone(&self) -> bool {
        self.started_alone && self.activity.started.load(Ordering::SeqCst) == self.number
    }
}

impl Drop for ActiveWork<'_> {
    fn drop(&mut self) {
        self.activity.in_progress.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_alone_only_if_no_other_ran_from_its_start_to_its_end() {
        let activity = EngineActivity::default();
        let one = activity.start();
        assert!(one.is_alone());
        let two = activity.start();
        assert!(!one.is_alone() && !two.is_alone());
        drop(one);
        assert!(!two.is_alone(), "another one was there when it began");
        drop(two);
        let three = activity.start();
        drop(activity.start());
        assert!(!three.is_alone(), "another one came and went");
        drop(three);
        assert!(activity.start().is_alone());
    }
}
