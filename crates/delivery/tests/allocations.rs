//! The choice of a version allocates nothing.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_delivery::assign::{Assignment, Router};
use tidegate_delivery::policy::{Attribute, TrafficPolicy};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_choice_with_rules_sticky_key_and_shadows_allocates_nothing() {
    let policy: TrafficPolicy = toml::from_str(
        r#"
        sticky = "header:x-user"
        versions = [{ version = 1, weight = "90%" }, { version = 2, weight = "10%" }]
        shadows = [{ version = 3, share = "50%" }]
        [[rules]]
        name = "beta"
        when = [{ attribute = "tenant", one_of = ["acme", "beta"] }]
        versions = [{ version = 2 }]
        "#,
    )
    .unwrap();
    let router = Router::new(&policy, &Assignment::new("fraud", &policy), 0).unwrap();
    let users = ["ada", "grace", "mary"];
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let mut copies = 0;
    for user in users {
        let choice = router.choose(|attribute| match attribute {
            Attribute::Header(_) => Some(Cow::Borrowed(user)),
            Attribute::Tenant | Attribute::Principal => Some(Cow::Borrowed("other")),
            Attribute::Claim(_) | Attribute::Field(_) => None,
        });
        copies += router.shadows(choice.version).count();
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before);
    assert!(copies > 0);
}
