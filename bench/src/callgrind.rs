//! What a program says to callgrind, under which it runs; without it, nothing happens.
//!
//! Callgrind could be told from outside, too, but by a script over `ptrace`, which containers
//! forbid; and to count from the start, while models load, takes it four times as long as not to.

use std::arch::asm;

/// Callgrind's requests are numbered from here: `CT` in `callgrind.h`.
const BASE: u64 = (b'C' as u64) << 24 | (b'T' as u64) << 16;

/// Begins to count: everything becomes slower.
pub(crate) fn start() {
    ask(BASE + 4);
}

/// Forgets what was counted so far.
pub(crate) fn zero() {
    ask(BASE + 1);
}

/// Writes down what was counted, and forgets it.
pub(crate) fn dump() {
    ask(BASE);
}

/// `VALGRIND_DO_CLIENT_REQUEST` of `valgrind.h` for x86-64: rotations that come to nothing, which
/// Valgrind knows.
fn ask(request: u64) {
    let question = [request, 0, 0, 0, 0, 0];
    // SAFETY: outside of Valgrind the registers are as before. Valgrind reads the question and
    // writes its answer to rdx.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") &question,
            inout("rdx") 0_u64 => _,
            options(nostack),
        );
    }
}
