//! The memory of the process: what the C library's allocator holds, and what the machine sees.

use crate::process::ProcessUsage;

/// Limits the number of heaps (arenas) in which the C library allocates: each keeps what is freed in
/// it, and glibc's default is eight for each core. Takes effect for threads that start later.
pub(crate) fn limit_heaps() {
    #[cfg(target_env = "gnu")]
    {
        // One for each thread that an engine keeps busy, and two for the rest.
        let heaps = std::thread::available_parallelism().map_or(1, usize::from) + 2;
        // SAFETY: mallopt has no preconditions and may be called from any thread (mallopt(3)).
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, i32::try_from(heaps).unwrap_or(i32::MAX));
        }
    }
}

/// Returns free memory of the C library's heaps to the machine. A version that is dropped leaves
/// holes below memory still in use, which the allocator does not return by itself.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions and may be called from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The memory of the process at a moment, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryUsage {
    resident: u64,
    allocated: u64,
}

impl MemoryUsage {
    pub(crate) fn now() -> Self {
        Self {
            resident: ProcessUsage::now().map_or(0, |usage| usage.resident_bytes),
            allocated: allocated_bytes(),
        }
    }

    /// How much more memory is taken now, in bytes. For an engine that allocates in the C library's
    /// heaps (`in_heaps`) it is what these grew: exact, even if the engine fills holes and the
    /// process does not grow. For another engine it is the growth of the process, which includes
    /// that of requests.
    pub(crate) fn growth(self, in_heaps: bool) -> u64 {
        let now = Self::now();
        if in_heaps && now.allocated > 0 {
            now.allocated.saturating_sub(self.allocated)
        } else {
            now.resident.saturating_sub(self.resident)
        }
    }
}

/// What is allocated in the C library's heaps, in bytes; 0 with another C library than glibc.
fn allocated_bytes() -> u64 {
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
    fn memory_that_fills_a_hole_counts_as_growth() {
        let before = MemoryUsage::now();
        // SAFETY: what malloc gave is freed once.
        unsafe {
            let block = libc::malloc(3 << 20);
            assert!(!block.is_null());
            assert!(before.growth(true) >= 3 << 20);
            libc::free(block);
        }
    }
}
