//! Whether a load was alone: what the process grew meanwhile is only then its own.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the engine work that goes on.
#[derive(Debug, Default)]
pub(super) struct Activity {
    now: AtomicUsize,
    /// How much there has been.
    ever: AtomicUsize,
}

/// Engine work that began when nothing else went on, or did not.
pub(super) struct Active<'a> {
    activity: &'a Activity,
    was_alone: bool,
    number: usize,
}

impl Activity {
    pub(super) fn begin(&self) -> Active<'_> {
        let was_alone = self.now.fetch_add(1, Ordering::SeqCst) == 0;
        Active {
            activity: self,
            was_alone,
            number: self.ever.fetch_add(1, Ordering::SeqCst) + 1,
        }
    }
}

impl Active<'_> {
    /// Whether nothing else went on from its beginning until now.
    pub(super) fn is_alone(&self) -> bool {
        self.was_alone && self.activity.ever.load(Ordering::SeqCst) == self.number
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.activity.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_alone_only_if_nothing_went_on_from_its_beginning_to_its_end() {
        let activity = Activity::default();
        let one = activity.begin();
        assert!(one.is_alone());
        let two = activity.begin();
        assert!(!one.is_alone() && !two.is_alone());
        drop(one);
        assert!(!two.is_alone(), "another one was there when it began");
        drop(two);
        let three = activity.begin();
        drop(activity.begin());
        assert!(!three.is_alone(), "another one came and went");
        drop(three);
        assert!(activity.begin().is_alone());
    }
}
