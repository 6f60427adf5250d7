//! The budget of the single-row path: how often answering one request may take memory.
//!
//! Allocations are counted over the whole way, from the bytes on a connection to the bytes of the
//! answer, with a client that takes none. The budget is what the path takes today, so that it can
//! only get better.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};

mod support;

/// Most allocations for one row of `digits` as JSON.
const BUDGET: u64 = 32;
const REQUESTS: u64 = 2000;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_row_is_answered_within_the_budget_of_allocations() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(support::serve());
    let request = support::json_request(1);
    let mut client = TcpStream::connect(server.http()).unwrap();
    support::ask(&mut client, &request, REQUESTS);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    support::ask(&mut client, &request, REQUESTS);
    let each = (ALLOCATIONS.load(Ordering::Relaxed) - before).div_ceil(REQUESTS);
    assert!(
        each > 5,
        "{each} allocations a request: the count does not see the server"
    );
    assert!(
        each <= BUDGET,
        "{each} allocations a request, the budget is {BUDGET}"
    );
    drop(client);
    runtime.block_on(server.stop());
}
