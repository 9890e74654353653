//! The stable radix sort of `kernels/sort.cu`: keys with values, between two buffers.

use super::buffer::{Region, RegionPlan, Slot, Span};
use super::kernels::{Queue, tiles_for};
use super::module::Argument;
use crate::error::Result;
use bytemuck::{Pod, Zeroable};

/// Items of a block.
const TILE: usize = 2048;
const DIGITS: usize = 256;
const PASSES: u32 = 9;
/// Numbers of a `SortPlan`: per pass whether it runs and what it reads, then where the result lies.
const PLAN: usize = 2 * PASSES as usize + 1;

/// Which bits of the keys may differ; the kernels' struct of that name.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct KeyBits {
    /// Among keys that are not "none".
    pub(super) differing: u64,
    /// Whether any key is "none", which is all ones.
    pub(super) absent: u32,
    pub(super) reserved: u32,
}

/// The kernels' struct of that name.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SortBuffers {
    keys: [u64; 2],
    values: [u64; 2],
    counts: u64,
    totals: u64,
    plan: u64,
    count: u64,
    tiles: u32,
    pass: u32,
}

/// Memory for sorting up to a number of items.
#[derive(Debug, Clone, Copy)]
pub(super) struct SortSlots {
    items: usize,
    keys: [Slot<u64>; 2],
    values: [Slot<u32>; 2],
    counts: Slot<u32>,
    totals: Slot<u32>,
    plan: Slot<u32>,
    bits: Slot<KeyBits>,
    count: Slot<u32>,
}

/// The same with addresses. What is to be sorted goes into `keys[0]` and `values[0]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sort {
    items: usize,
    pub(super) keys: [Span<u64>; 2],
    pub(super) values: [Span<u32>; 2],
    counts: Span<u32>,
    totals: Span<u32>,
    plan: Span<u32>,
    /// Which bits may differ; read when the sort runs.
    pub(super) bits: Span<KeyBits>,
    /// The number of items, `[1]`.
    pub(super) count: Span<u32>,
}

impl SortSlots {
    pub(super) fn plan(items: usize, plan: &mut RegionPlan) -> Result<Self> {
        let tiles = items.div_ceil(TILE);
        Ok(Self {
            items,
            keys: [plan.reserve(items)?, plan.reserve(items)?],
            values: [plan.reserve(items)?, plan.reserve(items)?],
            counts: plan.reserve(DIGITS * tiles)?,
            totals: plan.reserve(DIGITS)?,
            plan: plan.reserve(PLAN)?,
            bits: plan.reserve(1)?,
            count: plan.reserve(1)?,
        })
    }

    pub(super) fn place(&self, region: &Region) -> Result<Sort> {
        Ok(Sort {
            items: self.items,
            keys: [region.span(self.keys[0])?, region.span(self.keys[1])?],
            values: [region.span(self.values[0])?, region.span(self.values[1])?],
            counts: region.span(self.counts)?,
            totals: region.span(self.totals)?,
            plan: region.span(self.plan)?,
            bits: region.span(self.bits)?,
            count: region.span(self.count)?,
        })
    }
}

impl Sort {
    /// Bytes of the keys and values, once.
    pub(super) fn bytes(&self) -> usize {
        self.items * (size_of::<u64>() + size_of::<u32>())
    }

    /// Which of the two buffers holds the result, `[1]`.
    pub(super) fn result(&self) -> Result<Span<u32>> {
        self.plan.part(PLAN - 1, 1)
    }

    /// Sorts by key; equal keys keep their order, keys that are all ones go last. The number of items and the bits must
    /// be in place.
    pub(super) fn enqueue(&self, queue: Queue<'_>) -> Result<()> {
        let kernels = queue.kernels;
        let tiles = tiles_for(self.items, TILE)?;
        let mut buffers = SortBuffers {
            keys: self.keys.map(|keys| keys.address()),
            values: self.values.map(|values| values.address()),
            counts: self.counts.address(),
            totals: self.totals.address(),
            plan: self.plan.address(),
            count: self.count.address(),
            tiles,
            pass: 0,
        };
        let (bits, plan) = (self.bits.address(), self.plan.address());
        // SAFETY: a `KeyBits` and a plan of `PLAN` numbers, as the kernel takes them.
        unsafe { queue.launch(&kernels.sort_plan, (1, 1, 1), 0, &[Argument::of(&bits), Argument::of(&plan)])? };
        // No sort can do with less than one pass, however many this one needs.
        let least = 2 * self.bytes();
        for pass in 0..PASSES {
            buffers.pass = pass;
            let arguments = [Argument::of(&buffers)];
            // SAFETY: `SortSlots::plan` gave every buffer the size that the kernels' struct asks for; one block per tile
            // writes counts of its own tile, one per digit those of its digit.
            unsafe {
                queue.launch(&kernels.sort_count, (tiles, 1, 1), 0, &arguments)?;
                queue.launch(
                    &kernels.sort_offsets,
                    (if tiles > 0 { DIGITS as u32 } else { 0 }, 1, 1),
                    0,
                    &arguments,
                )?;
                queue.launch(&kernels.sort_scatter, (tiles, 1, 1), if pass == 0 { least } else { 0 }, &arguments)?;
            }
        }
        Ok(())
    }
}
