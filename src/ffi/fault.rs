//! Faults on demand and a count of allocations, in test builds only: the proof that no panic and no failed allocation
//! leaves the library, and that a stream of frames needs no new memory.
//!
//! `OV3D_INJECT_PANIC=<export>` makes that export panic. `OV3D_FAIL_ALLOCATION=<n>` makes the n-th large request of the
//! next guarded call fail, counted over all threads.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Requests below this many bytes never fail: what cannot grow with the input may be infallible.
const LARGE: usize = 64 * 1024;

/// Large requests until one fails; negative: none will.
static COUNTDOWN: AtomicI64 = AtomicI64::new(-1);

/// Requests so far.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// How often the process has asked for memory.
pub fn allocations() -> u64 {
    REQUESTS.load(Ordering::Relaxed)
}

struct FailingAllocator;

/// Counts a request and decides whether it fails.
fn fails(size: usize) -> bool {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    size >= LARGE && COUNTDOWN.load(Ordering::Relaxed) >= 0 && COUNTDOWN.fetch_sub(1, Ordering::Relaxed) == 0
}

// SAFETY: every call is the system allocator's, or NULL, which callers must expect.
unsafe impl GlobalAlloc for FailingAllocator {
    /// # Safety
    /// What the system allocator asks of layout.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about the layout is handed on.
        if fails(layout.size()) { std::ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }

    /// # Safety
    /// What the system allocator asks of layout.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about the layout is handed on.
        if fails(layout.size()) { std::ptr::null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }

    /// # Safety
    /// What the system allocator asks of pointer, layout and size.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises about pointer, layout and size are handed on.
        if fails(size) { std::ptr::null_mut() } else { unsafe { System.realloc(pointer, layout, size) } }
    }

    /// # Safety
    /// What the system allocator asks of pointer and layout.
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises about pointer and layout are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: FailingAllocator = FailingAllocator;

/// Runs at the start of every guarded call.
pub(super) fn before(name: &str) {
    if std::env::var_os("OV3D_INJECT_PANIC").is_some_and(|wanted| wanted == name) {
        panic!("injected into {name}");
    }
    let fail = std::env::var("OV3D_FAIL_ALLOCATION").ok().and_then(|n| n.parse().ok());
    COUNTDOWN.store(fail.unwrap_or(-1), Ordering::Relaxed);
}
