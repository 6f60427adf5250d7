//! When a session should return memory that only its largest runs needed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A run over so many times the usual input leaves memory behind that is worth returning.
const PEAK_FACTOR: usize = 4;
/// The share of a run in what is usual: after six runs of a new size, that size is usual.
const USUAL_RUNS: usize = 16;
/// Returning memory makes the next large run take it again, page by page. So it is done this rarely.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Sizes of the runs of a session, in bytes of their inputs. Runs at the same time may overwrite each
/// other's numbers, which delays a decision by a run.
#[derive(Default)]
pub(super) struct PeakWatch {
    usual: AtomicUsize,
    /// Since memory was returned last.
    largest: AtomicUsize,
    /// Milliseconds of the process's clock, plus one; 0 before the first time.
    released_at: AtomicU64,
}

impl PeakWatch {
    /// Counts a run, and says whether it should return free memory when it ends.
    pub(super) fn is_over(&self, bytes: usize) -> bool {
        let usual = self.usual.load(Ordering::Relaxed);
        let now_usual = moved(usual, bytes);
        // Most runs are as large as the one before: they write nothing.
        if now_usual != usual {
            self.usual.store(now_usual, Ordering::Relaxed);
        }
        let largest = self.largest.load(Ordering::Relaxed);
        if bytes > largest {
            self.largest.store(bytes, Ordering::Relaxed);
        }
        let is_peak = largest.max(bytes) / PEAK_FACTOR > now_usual;
        is_peak && self.release(clock_ms())
    }

    fn release(&self, now_ms: u64) -> bool {
        let last = self.released_at.load(Ordering::Relaxed);
        let interval = MIN_INTERVAL.as_millis() as u64;
        if last != 0 && now_ms + 1 < last + interval {
            return false;
        }
        self.released_at.store(now_ms + 1, Ordering::Relaxed);
        self.largest.store(0, Ordering::Relaxed);
        true
    }
}

/// What is usual after a run over so many bytes.
fn moved(usual: usize, bytes: usize) -> usize {
    match usual {
        0 => bytes,
        _ if bytes >= usual => usual + (bytes - usual).div_ceil(USUAL_RUNS),
        _ => usual - (usual - bytes).div_ceil(USUAL_RUNS),
    }
}

fn clock_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(sizes: &[usize]) -> PeakWatch {
        let watch = PeakWatch::default();
        for size in sizes {
            assert!(!watch.is_over(*size), "{size}");
        }
        watch
    }

    #[test]
    fn a_run_much_larger_than_usual_returns_its_memory() {
        let watch = watch(&[100; 20]);
        assert!(watch.is_over(3200));
        assert!(!watch.is_over(100));
    }

    #[test]
    fn sizes_that_are_usual_return_nothing() {
        let watch = watch(&[100, 200, 100, 300, 200, 100]);
        for _ in 0..1000 {
            assert!(!watch.is_over(100) && !watch.is_over(400));
        }
    }

    #[test]
    fn memory_is_returned_once_large_runs_have_become_rare() {
        let watch = watch(&[3200; 20]);
        let small = (0..100).position(|_| watch.is_over(100));
        assert!(small.is_some_and(|runs| runs > 10), "{small:?}");
    }

    #[test]
    fn peaks_one_after_the_other_return_memory_once_a_second() {
        let watch = watch(&[]);
        assert!(watch.release(0));
        assert!(!watch.release(999));
        assert!(watch.release(1000));
    }
}
