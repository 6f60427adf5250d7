//! The allocator of the binary, and what it holds.

use std::ptr::null_mut;

use tidegate_server::AllocatorUsage;

/// Chosen by measurement: see "Allocator" in `docs/benchmarks.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the allocator holds now.
pub(crate) fn usage() -> AllocatorUsage {
    let (mut committed, mut peak): (usize, usize) = (0, 0);
    // The arguments that stay null are times, resident memory and page faults: `/metrics` has those
    // of the whole process from the kernel.
    let (committed_at, peak_at) = (&raw mut committed, &raw mut peak);
    // SAFETY: it writes to the places that are not null, and both of these outlive the call.
    unsafe {
        libmimalloc_sys::mi_process_info(
            null_mut(),
            null_mut(),
            null_mut(),
            null_mut(),
            null_mut(),
            committed_at,
            peak_at,
            null_mut(),
        );
    }
    AllocatorUsage {
        committed_bytes: committed as u64,
        peak_committed_bytes: peak as u64,
    }
}

/// Returns the free memory of the calling thread to the machine.
pub(crate) fn give_back() {
    // SAFETY: it has no preconditions and may be called from any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allocated_is_held_and_remembered_at_its_most() {
        const MORE: usize = 256 << 20;
        let before = usage();
        let held = std::hint::black_box(vec![1u8; MORE]);
        let during = usage();
        assert!(
            during.committed_bytes >= before.committed_bytes + MORE as u64 / 2,
            "{before:?}, then {during:?}"
        );
        drop(held);
        assert!(
            usage().peak_committed_bytes >= during.committed_bytes,
            "{during:?}, then {:?}",
            usage()
        );
    }
}
