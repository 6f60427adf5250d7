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
    charged: Mutex<Charged>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Charged {
    bytes: u64,
    /// Of these, what will be given back without further ado.
    leaving: u64,
}

/// What one version may take. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
    is_leaving: bool,
}

impl Budget {
    pub(super) fn new(limit: Option<u64>) -> Self {
        let limit = limit.unwrap_or_else(|| machine_bytes() / SHARE * (SHARE - 1));
        Self {
            limit,
            charged: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn charged(&self) -> u64 {
        self.charged.lock().bytes
    }

    /// Whether so many bytes fit once everything that is leaving is gone.
    pub(super) fn will_fit(&self, bytes: u64) -> bool {
        let charged = self.charged.lock();
        (charged.bytes - charged.leaving)
            .checked_add(bytes)
            .is_some_and(|after| after <= self.limit)
    }

    /// Takes so many bytes, if they are free.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        let mut charged = self.charged.lock();
        charged.bytes = charged
            .bytes
            .checked_add(bytes)
            .filter(|after| *after <= self.limit)?;
        Some(Charge {
            budget: self.clone(),
            bytes,
            is_leaving: false,
        })
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

    /// Corrects it to what was measured, whether the budget bears that or not.
    pub(super) fn correct(&mut self, bytes: u64) {
        let mut charged = self.budget.charged.lock();
        charged.bytes = charged.bytes - self.bytes + bytes;
        drop(charged);
        self.bytes = bytes;
        self.budget.tell();
    }

    /// Says that it will be given back.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
        self.budget.charged.lock().leaving += self.bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut charged = self.budget.charged.lock();
        charged.bytes -= self.bytes;
        if self.is_leaving {
            charged.leaving -= self.bytes;
        }
        drop(charged);
        self.budget.tell();
    }
}

/// The memory of the machine, or of the control group that this process is in, if that is less.
fn machine_bytes() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("MemTotal:"))?
                .to_owned();
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
    let group = std::fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| {
            let path = text
                .lines()
                .find_map(|line| line.strip_prefix("0::"))?
                .to_owned();
            std::fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.max"))
                .ok()?
                .trim()
                .parse::<u64>()
                .ok()
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
        one.correct(110);
        assert!(
            budget.charged() == 110 && !budget.will_fit(0),
            "more than there is"
        );
        one.leave();
        assert!(
            budget.take(1).is_none() && budget.will_fit(100) && !budget.will_fit(101),
            "it is on its way"
        );
        drop(one);
        assert!(budget.charged() == 0 && budget.will_fit(100));
    }

    #[test]
    fn the_machine_has_memory() {
        assert!(Budget::new(None).limit() > 100 << 20);
    }
}
