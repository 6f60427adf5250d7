//! The memory of the process, as the engines' C library has it and as the machine sees it.

use crate::metrics::ProcessUsage;

/// Keeps the C library from spreading engines over more heaps than threads use at once: each heap
/// keeps what is freed in it. Takes effect for threads that start later.
pub(crate) fn limit_heaps() {
    #[cfg(target_env = "gnu")]
    {
        let heaps = std::thread::available_parallelism().map_or(1, usize::from) + 2;
        // SAFETY: mallopt has no preconditions and may be called from any thread (mallopt(3)).
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, i32::try_from(heaps).unwrap_or(i32::MAX));
        }
    }
}

/// Gives what the C library's allocator keeps for later back to the machine: an engine's memory is
/// its, and a version that is gone leaves holes which it would not return by itself.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions and may be called from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What is taken at a moment, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    resident: u64,
    allocated: u64,
}

impl Taken {
    pub(crate) fn now() -> Self {
        Self {
            resident: ProcessUsage::now().map_or(0, |usage| usage.resident_bytes),
            allocated: allocated(),
        }
    }

    /// How much more is taken now: by an engine that allocates in the C library's heaps exactly
    /// that, also where it fills holes and the process does not grow; by another one what the
    /// process grew, traffic included.
    pub(crate) fn growth(self, in_heaps: bool) -> u64 {
        let now = Self::now();
        match in_heaps && now.allocated > 0 {
            true => now.allocated.saturating_sub(self.allocated),
            false => now.resident.saturating_sub(self.resident),
        }
    }
}

/// What is allocated in the C library's heaps.
fn allocated() -> u64 {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallinfo2 has no preconditions and may be called from any thread (mallinfo(3)).
        let heaps = unsafe { libc::mallinfo2() };
        (heaps.uordblks + heaps.hblkhd) as u64
    }
    #[cfg(not(target_env = "gnu"))]
    0
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn what_fills_a_hole_counts_as_growth() {
        let before = Taken::now();
        // SAFETY: what malloc gave is freed once.
        unsafe {
            let block = libc::malloc(3 << 20);
            assert!(!block.is_null());
            assert!(before.growth(true) >= 3 << 20);
            libc::free(block);
        }
    }
}
