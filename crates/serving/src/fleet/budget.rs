//! How much memory loaded versions take together, and how much they may.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Left to everything that is no version, where nothing is configured: a fifth.
const SHARE: u64 = 5;

/// Memory that is shared out before a version is loaded and given back when it is gone.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    charged: Mutex<u64>,
    changed: Notify,
}

/// What one version may take. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(limit: Option<u64>) -> Self {
        let limit = limit.unwrap_or_else(|| machine_bytes() / SHARE * (SHARE - 1));
        Self { limit, charged: Mutex::new(0), changed: Notify::new() }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn charged(&self) -> u64 {
        *self.charged.lock()
    }

    /// Takes so many bytes, if they are free.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        let mut charged = self.charged.lock();
        let after = charged.checked_add(bytes).filter(|after| *after <= self.limit)?;
        *charged = after;
        Some(Charge { budget: self.clone(), bytes })
    }

    /// Ends when a version was loaded or memory was given back since this was called.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.changed.notified()
    }

    /// Tells whoever waits for memory to look again.
    pub(super) fn tell(&self) {
        self.changed.notify_waiters();
    }
}

impl Charge {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Corrects it to what was measured. Gives whether the budget bears that; it is charged in any case.
    pub(super) fn correct(&mut self, bytes: u64) -> bool {
        let mut charged = self.budget.charged.lock();
        *charged = *charged - self.bytes + bytes;
        let fits = *charged <= self.budget.limit;
        drop(charged);
        self.bytes = bytes;
        self.budget.tell();
        fits
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        *self.budget.charged.lock() -= self.bytes;
        self.budget.tell();
    }
}

/// The memory of the machine, or of the control group that this process is in, if that is less.
fn machine_bytes() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?.to_owned();
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    let group = std::fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
        std::fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.max")).ok()?.trim().parse::<u64>().ok()
    });
    let machine = machine.map_or(4 << 30, |kibibytes| kibibytes * 1024);
    group.map_or(machine, |group| group.min(machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_never_exceeds_the_limit_unless_it_was_measured_to() {
        let budget = Arc::new(Budget::new(Some(100)));
        let mut one = budget.take(60).unwrap();
        assert!(budget.take(41).is_none() && budget.take(u64::MAX).is_none());
        let two = budget.take(40).unwrap();
        assert_eq!(budget.charged(), 100);
        drop(two);
        assert!(one.correct(90) && budget.charged() == 90);
        assert!(!one.correct(110), "more than there is");
        drop(one);
        assert_eq!(budget.charged(), 0);
    }

    #[test]
    fn the_machine_has_memory() {
        assert!(Budget::new(None).limit() > 100 << 20);
    }
}
