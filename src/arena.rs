//! Memory that a run takes and gives back, kept for the runs to come: a stream of frames then needs no new memory.

#![allow(
    unsafe_code,
    reason = "an allocator: blocks come from the system's with the layout of their class and go back so"
)]

use crate::error::{Error, ErrorKind, Result, over_budget};
use allocator_api2::alloc::{AllocError, Allocator, Global, Layout};
use parking_lot::Mutex;
use std::ptr::NonNull;
use std::sync::Arc;

/// A vector in an arena's memory, which it gives back when it is dropped.
pub type Buffer<T> = allocator_api2::vec::Vec<T, Arena>;

/// A buffer of nothing, for results that were not asked for.
pub fn nothing<T>() -> Buffer<T> {
    Buffer::new_in(Arena::default())
}

/// Consecutive parts of `whole`, of these lengths, which are no more than it has in all.
pub(crate) fn parts<T>(mut whole: &mut [T], lengths: impl Iterator<Item = usize>) -> impl Iterator<Item = &mut [T]> {
    lengths.map(move |length| {
        let part;
        (part, whole) = std::mem::take(&mut whole).split_at_mut(length);
        part
    })
}

/// Where a run's buffers live. The default is the system's heap; [`Arena::keeping`] keeps what is given back.
///
/// Clones are the same arena. Blocks are kept by size class, up to a quarter larger than asked for, so that frames of
/// about the same size use the same blocks.
#[derive(Clone, Default)]
pub struct Arena(Option<Arc<Mutex<Blocks>>>);

/// Alignment of all blocks: a cache line.
const ALIGN: usize = 64;
/// Quarter steps from one power of two to the next, from 2^6 to below 2^63, which is more than any layout.
const CLASSES: usize = 4 * 57;
/// Runs through which a block may lie idle before it goes back to the system.
const IDLE_RUNS: u32 = 8;

/// The blocks of one size class that are free, as a list that runs through the blocks themselves.
#[derive(Clone, Copy, Default)]
struct Class {
    first: Option<NonNull<Link>>,
    free: usize,
    /// Fewest free at any time since the last [`Arena::trim`].
    fewest: usize,
    /// Trims for which `fewest` was not 0.
    idle: u32,
}

/// What a free block begins with.
struct Link {
    next: Option<NonNull<Link>>,
}

struct Blocks {
    classes: [Class; CLASSES],
    in_use: u64,
    peak: u64,
    free: u64,
    /// What is in use as it was asked for, before it was rounded up to blocks.
    asked: u64,
    budget: Option<Budget>,
}

/// What a run may ask for.
#[derive(Clone, Copy)]
struct Budget {
    bytes: u64,
    /// What was in use before the run: results of earlier ones.
    before: u64,
}

// SAFETY: the lists are owned by the arena and reached only through its lock.
unsafe impl Send for Blocks {}

impl Arena {
    /// An arena that keeps what is given back.
    pub fn keeping() -> Self {
        let classes = [Class::default(); CLASSES];
        Self(Some(Arc::new(Mutex::new(Blocks { classes, in_use: 0, peak: 0, free: 0, asked: 0, budget: None }))))
    }

    /// Bytes in use and kept.
    pub fn held_bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |blocks| {
            let blocks = blocks.lock();
            blocks.in_use + blocks.free
        })
    }

    /// The most bytes in use at one time since the last [`Self::trim`].
    pub fn peak_bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |blocks| blocks.lock().peak)
    }

    /// Marks the end of a run: gives back to the system what several runs in a row had no use for.
    pub fn trim(&self) {
        let Some(blocks) = &self.0 else { return };
        let mut blocks = blocks.lock();
        for class in 0..CLASSES {
            let entry = &mut blocks.classes[class];
            entry.idle = if entry.fewest == 0 { 0 } else { entry.idle + 1 };
            let surplus = if entry.idle >= IDLE_RUNS { entry.fewest } else { 0 };
            for _ in 0..surplus {
                blocks.give_back(class);
            }
            let entry = &mut blocks.classes[class];
            entry.fewest = entry.free;
        }
        blocks.peak = blocks.in_use;
    }

    /// Lets [`Self::with_capacity`] and what is built on it take at most so many bytes from now on; `None` ends that. Blocks
    /// that lie idle go back if there are more bytes of them.
    pub fn set_budget(&self, bytes: Option<u64>) {
        if let Some(blocks) = &self.0 {
            let mut blocks = blocks.lock();
            blocks.budget = bytes.map(|bytes| Budget { bytes, before: blocks.asked });
            if bytes.is_some_and(|bytes| blocks.free > bytes) {
                blocks.give_all_back();
            }
        }
    }

    fn check_budget(&self, bytes: u64) -> Result<()> {
        let Some(blocks) = &self.0 else { return Ok(()) };
        let blocks = blocks.lock();
        match blocks.budget {
            Some(budget) => over_budget(blocks.asked.saturating_sub(budget.before).saturating_add(bytes), budget.bytes),
            None => Ok(()),
        }
    }

    /// Room for `count` elements.
    pub fn with_capacity<T>(&self, count: usize, what: &str) -> Result<Buffer<T>> {
        self.check_budget((count as u64).saturating_mul(size_of::<T>() as u64))?;
        let mut buffer = Buffer::new_in(self.clone());
        buffer.try_reserve_exact(count).map_err(|_| {
            let message = format!("no memory for {what} ({count} elements); free memory or send a smaller cloud");
            Error::new(ErrorKind::OutOfMemory, message)
        })?;
        Ok(buffer)
    }

    /// `count` times `value`.
    pub fn filled<T: Clone>(&self, count: usize, value: T, what: &str) -> Result<Buffer<T>> {
        let mut buffer = self.with_capacity(count, what)?;
        buffer.resize(count, value);
        Ok(buffer)
    }

    /// The items of an iterator that knows its length.
    pub fn collected<T>(&self, items: impl ExactSizeIterator<Item = T>, what: &str) -> Result<Buffer<T>> {
        let mut buffer = self.with_capacity(items.len(), what)?;
        buffer.extend(items);
        Ok(buffer)
    }
}

impl Blocks {
    /// Gives the first free block of a class back to the system.
    fn give_back(&mut self, class: usize) {
        let Some(block) = self.pop(class) else { return };
        // SAFETY: free blocks of a class were allocated with its layout.
        unsafe { Global.deallocate(block.cast(), layout_of(class)) };
    }

    /// Gives all free blocks back to the system.
    fn give_all_back(&mut self) {
        (0..CLASSES).for_each(|class| (0..self.classes[class].free).for_each(|_| self.give_back(class)));
    }

    fn pop(&mut self, class: usize) -> Option<NonNull<Link>> {
        let entry = &mut self.classes[class];
        let block = entry.first?;
        // SAFETY: a free block begins with the link that `deallocate` wrote.
        entry.first = unsafe { block.as_ref() }.next;
        entry.free -= 1;
        entry.fewest = entry.fewest.min(entry.free);
        self.free -= layout_of(class).size() as u64;
        Some(block)
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.give_all_back();
    }
}

/// The size of the block that a buffer of `bytes` bytes gets.
pub(crate) fn block_bytes(bytes: usize) -> usize {
    let class = Layout::from_size_align(bytes, ALIGN).ok().and_then(class_of);
    class.map_or(bytes, |class| layout_of(class).size())
}

/// The smallest class that holds `layout`.
fn class_of(layout: Layout) -> Option<usize> {
    if layout.align() > ALIGN {
        return None;
    }
    let size = layout.size().max(ALIGN);
    // Two bits below the highest, rounded up.
    let shift = size.ilog2() - 2;
    let steps = size.checked_add((1 << shift) - 1)? >> shift;
    Some(4 * (shift as usize - 4) + steps - 4).filter(|&class| class < CLASSES)
}

/// The layout of the blocks of a class.
fn layout_of(class: usize) -> Layout {
    let size = (4 + class % 4) << (class / 4 + 4);
    // SAFETY: the alignment is a power of two; classes end below the largest size.
    unsafe { Layout::from_size_align_unchecked(size, ALIGN) }
}

// SAFETY: a block is handed out once until it is given back, is as large and aligned as its layout asks, and stays
// where it is however the arena moves; clones share the blocks.
unsafe impl Allocator for Arena {
    fn allocate(&self, layout: Layout) -> std::result::Result<NonNull<[u8]>, AllocError> {
        let Some(blocks) = self.0.as_ref().filter(|_| layout.size() > 0) else { return Global.allocate(layout) };
        let class = class_of(layout).ok_or(AllocError)?;
        let whole = layout_of(class);
        let mut blocks = blocks.lock();
        let block = match blocks.pop(class) {
            Some(block) => NonNull::slice_from_raw_parts(block.cast(), layout.size()),
            None => {
                // Where memory is short, none lies idle.
                let held = blocks.in_use + blocks.free + whole.size() as u64;
                if blocks.budget.is_some_and(|budget| held > budget.before.saturating_add(budget.bytes)) {
                    blocks.give_all_back();
                }
                NonNull::slice_from_raw_parts(Global.allocate(whole)?.cast(), layout.size())
            }
        };
        blocks.in_use += whole.size() as u64;
        blocks.asked += layout.size() as u64;
        blocks.peak = blocks.peak.max(blocks.in_use);
        Ok(block)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        let kept = self.0.as_ref().filter(|_| layout.size() > 0).zip(class_of(layout));
        let Some((blocks, class)) = kept else {
            // SAFETY: `allocate` took it from there with the same layout.
            return unsafe { Global.deallocate(block, layout) };
        };
        let size = layout_of(class).size() as u64;
        let mut blocks = blocks.lock();
        blocks.in_use -= size;
        blocks.asked -= layout.size() as u64;
        blocks.free += size;
        let entry = &mut blocks.classes[class];
        // SAFETY: the block is free, and as large and aligned as a link at least.
        unsafe { block.cast::<Link>().write(Link { next: entry.first }) };
        entry.first = Some(block.cast());
        entry.free += 1;
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arena, {} bytes", self.held_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_they_are_for() {
        for size in (1..5000).chain([1 << 20, (1 << 20) + 1, 5 << 30, 7_777_777_777]) {
            let class = class_of(Layout::from_size_align(size, 8).unwrap()).unwrap();
            let held = layout_of(class).size();
            assert!(held >= size && held <= ALIGN.max(size + size / 4 + 1), "{size} in {held}");
            assert!(class == 0 || layout_of(class - 1).size() < size.max(ALIGN), "{size} in {held}");
        }
        assert!(class_of(Layout::from_size_align(8, 128).unwrap()).is_none());
        assert!(class_of(Layout::from_size_align(isize::MAX as usize - 63, 1).unwrap()).is_none());
        let largest = layout_of(CLASSES - 1).size();
        assert!(
            largest <= isize::MAX as usize - 63 && class_of(Layout::from_size_align(largest, 1).unwrap()).is_some()
        );
        assert!(Arena::keeping().filled(isize::MAX as usize - 63, 0_u8, "too much").is_err());
    }

    #[test]
    fn blocks_come_back_and_are_counted() {
        let arena = Arena::keeping();
        let first = arena.filled(1000, 7_u32, "numbers").unwrap();
        let place = first.as_ptr();
        assert_eq!(place.addr() % ALIGN, 0);
        let second = arena.filled(1000, 8_u32, "numbers").unwrap();
        assert!(second.as_ptr() != place && first.iter().all(|&v| v == 7));
        drop(first);
        let other = arena.collected(0..990_u32, "numbers").unwrap();
        assert_eq!((other.as_ptr(), other[989]), (place, 989));
        drop((second, other));
        assert_eq!((arena.held_bytes(), arena.peak_bytes()), (2 * 4096, 2 * 4096));
        assert!(arena.filled(usize::MAX / 8, 0_u64, "too much").is_err());
        assert!(arena.filled(usize::MAX, 0_u64, "too much").is_err());
    }

    #[test]
    fn a_budget_holds_from_where_it_is_set() {
        let arena = Arena::keeping();
        drop(arena.filled(10_000, 0_u8, "a large frame").unwrap());
        let earlier = arena.filled(1000, 0_u8, "a result").unwrap();
        arena.set_budget(Some(500));
        let half = arena.filled(250, 0_u8, "numbers").unwrap();
        assert!(arena.held_bytes() < 1500, "nothing lies idle");
        let error = arena.filled(251, 0_u8, "numbers").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Budget);
        assert!(error.to_string().contains("501 bytes") && error.to_string().contains("500"), "{error}");
        drop((earlier, half));
        arena.filled(1500, 0_u8, "what was free before").unwrap_err();
        arena.filled(500, 0_u8, "numbers").unwrap();
        arena.set_budget(None);
        arena.filled(5000, 0_u8, "numbers").unwrap();
    }

    #[test]
    fn what_lies_idle_goes_back() {
        let arena = Arena::keeping();
        drop(arena.filled(1 << 20, 0_u8, "a large frame").unwrap());
        for _ in 0..2 * IDLE_RUNS {
            drop(arena.filled(100, 0_u8, "a small frame").unwrap());
            arena.trim();
        }
        assert_eq!(arena.held_bytes(), 112);
        let alternating = Arena::keeping();
        for run in 0..4 * IDLE_RUNS {
            drop(alternating.filled(1 << (10 + run % 2), 0_u8, "a frame").unwrap());
            alternating.trim();
        }
        assert_eq!(alternating.held_bytes(), 1024 + 2048);
    }

    #[test]
    fn threads_share_it() {
        let arena = Arena::keeping();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let arena = &arena;
                scope.spawn(move || {
                    for count in 1..2000 {
                        let buffer = arena.filled(count, thread, "bytes").unwrap();
                        assert!(buffer.iter().all(|&v| v == thread));
                    }
                });
            }
        });
        drop(arena);
    }
}
