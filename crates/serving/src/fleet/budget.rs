//! How much memory loaded versions take together, and how much they may.
//!
//! A load reserves memory before it starts, by an estimate. The reservation is corrected to what
//! was measured, and released when the version is gone. So the sum of all reservations stays within
//! the limit even while several versions load at once.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Without a configured limit, versions may take all but one fifth of the memory. The fifth is for
/// requests in progress, connections and the rest of the process.
const REST_DIVISOR: u64 = 5;
/// Assumed where the machine does not report how much memory it has, in bytes.
const FALLBACK_MACHINE_BYTES: u64 = 4 << 30;

/// Memory that versions share.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    reserved: Mutex<Reserved>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Reserved {
    bytes: u64,
    /// The part of `bytes` that is being drained, and so becomes free without an eviction.
    draining: u64,
}

/// The memory of one version. Dropping it releases the memory.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
    is_draining: bool,
}

impl Budget {
    pub(super) fn new(limit: Option<u64>) -> Self {
        let limit = limit.unwrap_or_else(|| machine_bytes() / REST_DIVISOR * (REST_DIVISOR - 1));
        Self {
            limit,
            reserved: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn reserved(&self) -> u64 {
        self.reserved.lock().bytes
    }

    /// Whether so many bytes fit once everything that is being drained is gone.
    pub(super) fn will_fit(&self, bytes: u64) -> bool {
        let reserved = self.reserved.lock();
        (reserved.bytes - reserved.draining)
            .checked_add(bytes)
            .is_some_and(|after| after <= self.limit)
    }

    /// Reserves so many bytes, if they are free now.
    pub(super) fn try_reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let mut reserved = self.reserved.lock();
        reserved.bytes = reserved
            .bytes
            .checked_add(bytes)
            .filter(|after| *after <= self.limit)?;
        Some(Reservation {
            budget: self.clone(),
            bytes,
            is_draining: false,
        })
    }

    /// Ends at the next [`Budget::notify_waiters`] after this call.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.changed.notified()
    }

    /// Wakes everybody who waits for memory, so that they check again.
    pub(super) fn notify_waiters(&self) {
        self.changed.notify_waiters();
    }
}

impl Reservation {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Corrects it to what was measured, even beyond the limit: the memory is taken already, and
    /// the sum must say so, or the next load would take what is not there.
    pub(super) fn correct(&mut self, bytes: u64) {
        let mut reserved = self.budget.reserved.lock();
        reserved.bytes = reserved.bytes - self.bytes + bytes;
        drop(reserved);
        self.bytes = bytes;
        self.budget.notify_waiters();
    }

    /// Marks it as about to be released.
    pub(super) fn mark_draining(&mut self) {
        self.is_draining = true;
        self.budget.reserved.lock().draining += self.bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self.budget.reserved.lock();
        reserved.bytes -= self.bytes;
        if self.is_draining {
            reserved.draining -= self.bytes;
        }
        drop(reserved);
        self.budget.notify_waiters();
    }
}

/// The memory of the machine, or of the control group of this process, if that is less.
fn machine_bytes() -> u64 {
    let machine = meminfo_bytes().unwrap_or(FALLBACK_MACHINE_BYTES);
    control_group_bytes().map_or(machine, |group| group.min(machine))
}

/// `MemTotal` of `/proc/meminfo`, see proc_meminfo(5). The file counts in kibibytes.
fn meminfo_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// The limit of the process's own control group (version 2), if it has one. Limits of the groups
/// around it are not read.
fn control_group_bytes() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let limit = std::fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.max")).ok()?;
    // The file says "max" where there is no limit.
    limit.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_exceed_the_limit_only_by_measurement() {
        let budget = Arc::new(Budget::new(Some(100)));
        let mut one = budget.try_reserve(60).unwrap();
        assert!(budget.try_reserve(41).is_none() && budget.try_reserve(u64::MAX).is_none());
        let two = budget.try_reserve(40).unwrap();
        assert_eq!(budget.reserved(), 100);
        drop(two);
        one.correct(110);
        assert!(
            budget.reserved() == 110 && !budget.will_fit(0),
            "more than there is"
        );
        one.mark_draining();
        assert!(
            budget.try_reserve(1).is_none() && budget.will_fit(100) && !budget.will_fit(101),
            "it is being released"
        );
        drop(one);
        assert!(budget.reserved() == 0 && budget.will_fit(100));
    }

    #[test]
    fn the_machine_has_memory() {
        assert!(Budget::new(None).limit() > 100 << 20);
    }
}
