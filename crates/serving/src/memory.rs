//! The memory of the process.

/// Gives what the C library's allocator keeps for later back to the machine: an engine's memory is its, and a version
/// that is gone leaves holes which it would not return by itself.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions and may be called from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
