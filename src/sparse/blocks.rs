//! 4x4x4 blocks: one 64-bit occupancy word each, through which a voxel's neighbours are found by bit tests.
//!
//! The voxels of level l + 2 are the blocks of level l. A neighbour's row is the block's first row plus the number
//! of occupied cells before it, because a block's voxels stand in Morton order.

use super::levels::NO_ROW;
use crate::arena::Buffer;
use crate::cancel::Cancel;
use crate::error::Result;
use std::ops::Range;
use std::sync::LazyLock;

/// The blocks of one level.
#[derive(Debug, Clone)]
pub struct Blocks {
    /// `[b + 1]` the first row of each block.
    first: Buffer<u32>,
    /// Bit m set: the cell with Morton code m is occupied.
    occupancy: Buffer<u64>,
    /// Rows of the 27 neighbouring blocks, or [`NO_ROW`].
    around: Buffer<[u32; 27]>,
}

/// For each of the 64 cells of a block and each kernel offset: the neighbouring block (0-26) and the cell in it.
#[derive(Debug)]
pub(super) struct LocalOffsets {
    size: usize,
    table: Vec<(u8, u8)>,
}

/// The occupied cells of the 8x8x8 from two before to two after a block.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// By z: bit x + 8 y.
    planes: [u64; 8],
}

impl LocalOffsets {
    /// Those of a centred kernel of `size` 3 or 5 (a block reaches no farther than its direct neighbours).
    pub(super) fn of_size(size: usize) -> &'static Self {
        static OF_3: LazyLock<LocalOffsets> = LazyLock::new(|| LocalOffsets::new(3));
        static OF_5: LazyLock<LocalOffsets> = LazyLock::new(|| LocalOffsets::new(5));
        if size == 3 { &OF_3 } else { &OF_5 }
    }

    fn new(size: usize) -> Self {
        let mut table = Vec::with_capacity(64 * size.pow(3));
        for morton in 0..64 {
            let cell = local_cell(morton);
            for offset in super::kernel_offsets(size) {
                let target = [0, 1, 2].map(|axis| cell[axis] as i32 + offset[axis] + 4);
                let slot = target[0] / 4 + 3 * (target[1] / 4) + 9 * (target[2] / 4);
                table.push((slot as u8, morton_in_block(target.map(|v| v as u32 % 4))));
            }
        }
        Self { size, table }
    }

    pub(super) fn of(&self, morton: usize) -> &[(u8, u8)] {
        let volume = self.size.pow(3);
        &self.table[morton * volume..(morton + 1) * volume]
    }
}

/// The cell with a Morton code within its block, each axis 0-3.
pub fn local_cell(m: usize) -> [usize; 3] {
    [(m & 1) | (m >> 2 & 2), (m >> 1 & 1) | (m >> 3 & 2), (m >> 2 & 1) | (m >> 4 & 2)]
}

fn morton_in_block([x, y, z]: [u32; 3]) -> u8 {
    let spread = |v: u32| (v & 1) | (v & 2) << 2;
    (spread(x) | spread(y) << 1 | spread(z) << 2) as u8
}

impl Window {
    /// Which of the `size` cells along x around a cell of the block are occupied, at `dy` and `dz` from the kernel's
    /// corner: bit 0 is the first.
    pub fn line(&self, [x, y, z]: [usize; 3], size: usize, [dy, dz]: [usize; 2]) -> usize {
        let corner = 2 - size / 2;
        let plane = self.planes[z + corner + dz];
        (plane >> (8 * (y + corner + dy) + x + corner)) as usize & ((1 << size) - 1)
    }

    /// The kernel offsets at which a cell of the block has an occupied neighbour.
    fn offsets(&self, cell: [usize; 3], size: usize) -> u128 {
        if size == 3 {
            let [x, y, z] = cell;
            let plane = |dz: usize| {
                let lines = self.planes[z + 1 + dz] >> (8 * (y + 1) + x + 1);
                (lines & 7 | lines >> 5 & 0o70 | lines >> 10 & 0o700) << (9 * dz)
            };
            return u128::from(plane(0) | plane(1) | plane(2));
        }
        let lines = (0..size * size).map(|line| (line, self.line(cell, size, [line % size, line / size])));
        lines.fold(0, |mask, (line, bits)| mask | (bits as u128) << (line * size))
    }
}

impl Blocks {
    /// The blocks of a level with `keys`; `around` are the neighbours of the voxels two levels above, which they are.
    pub(super) fn new(keys: &[u64], around: Buffer<[u32; 27]>, cancel: Cancel<'_>) -> Result<Self> {
        cancel.check()?;
        let arena = around.allocator();
        let mut first = arena.with_capacity(around.len() + 1, "the blocks")?;
        let mut occupancy: Buffer<u64> = arena.with_capacity(around.len(), "the blocks")?;
        let mut last = None;
        for (row, &key) in keys.iter().enumerate() {
            if last != Some(key >> 6) {
                last = Some(key >> 6);
                first.push(row as u32);
                occupancy.push(0);
            }
            if let Some(word) = occupancy.last_mut() {
                *word |= 1 << (key & 63);
            }
        }
        first.push(keys.len() as u32);
        Ok(Self { first, occupancy, around })
    }

    /// The number of blocks.
    pub fn len(&self) -> usize {
        self.occupancy.len()
    }

    /// Whether there are no blocks.
    pub fn is_empty(&self) -> bool {
        self.occupancy.is_empty()
    }

    /// The rows that block `block` holds.
    pub fn rows(&self, block: usize) -> Range<usize> {
        self.first[block] as usize..self.first[block + 1] as usize
    }

    /// The Morton codes of the occupied cells of a block, which are its rows in order.
    pub fn cells(&self, block: usize) -> impl Iterator<Item = usize> {
        set_bits(u128::from(self.occupancy[block]))
    }

    /// The rows of the occupied cells among `masks` (neighbouring block, its cells) around `block`.
    pub(super) fn occupied(&self, block: usize, masks: &[(u8, u64)]) -> impl Iterator<Item = u32> {
        let around = &self.around[block];
        masks.iter().filter(|mask| around[usize::from(mask.0)] != NO_ROW).flat_map(|&(slot, cells)| {
            let neighbour = around[usize::from(slot)] as usize;
            let (word, first) = (self.occupancy[neighbour], self.first[neighbour]);
            set_bits(u128::from(word & cells)).map(move |bit| first + (word & ((1 << bit) - 1)).count_ones())
        })
    }

    /// The number of occupied cells among `masks` around `block`.
    pub(super) fn count_occupied(&self, block: usize, masks: &[(u8, u64)]) -> usize {
        let around = &self.around[block];
        let neighbours = masks.iter().map(|&(slot, cells)| (around[usize::from(slot)], cells));
        let occupied = neighbours.filter(|(neighbour, _)| *neighbour != NO_ROW);
        occupied.map(|(neighbour, cells)| (self.occupancy[neighbour as usize] & cells).count_ones() as usize).sum()
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        (size_of_val(&self.first[..]) + size_of_val(&self.occupancy[..]) + size_of_val(&self.around[..])) as u64
    }

    /// The occupied cells around a block.
    pub fn window(&self, block: usize) -> Window {
        let words = self.around[block].map(|row| if row == NO_ROW { 0 } else { linear(self.occupancy[row as usize]) });
        let plane = |z: usize| {
            // Four lines of a block, a byte each, whose bits 2 to 5 are the block in the middle.
            let lines = |y: usize| {
                let at = |x: usize| bytes_of_nibbles((words[x + 3 * y + 9 * (z / 4)] >> (16 * (z % 4))) as u16);
                u64::from(at(0) >> 2 & 0x0303_0303 | at(1) << 2 | (at(2) & 0x0303_0303) << 6)
            };
            lines(0) >> 16 | lines(1) << 16 | lines(2) << 48
        };
        Window { planes: std::array::from_fn(|z| plane(z + 2)) }
    }

    /// The kernel offsets at which each of `rows` has a neighbour.
    pub(super) fn offsets(&self, lookup: &LocalOffsets, rows: Range<usize>, offsets: &mut [u128]) {
        self.for_blocks(rows.clone(), |block, within| {
            let window = self.window(block);
            for (row, cell) in self.rows(block).zip(self.cells(block)).filter(|(row, _)| within.contains(row)) {
                offsets[row - rows.start] = window.offsets(local_cell(cell), lookup.size);
            }
        });
    }

    /// Calls `found(row, offset, neighbour)` for the `offsets` of each of `rows`; the row counts from the first.
    pub(super) fn neighbours(
        &self,
        lookup: &LocalOffsets,
        rows: Range<usize>,
        offsets: &[u128],
        mut found: impl FnMut(usize, usize, u32),
    ) {
        self.for_blocks(rows.clone(), |block, within| {
            let around = &self.around[block];
            for (row, cell) in self.rows(block).zip(self.cells(block)).filter(|(row, _)| within.contains(row)) {
                let places = lookup.of(cell);
                for offset in set_bits(offsets[row - rows.start]) {
                    let (slot, bit) = places[offset];
                    let neighbour = around[usize::from(slot)] as usize;
                    let before = self.occupancy[neighbour] & ((1 << bit) - 1);
                    found(row - rows.start, offset, self.first[neighbour] + before.count_ones());
                }
            }
        });
    }

    /// Calls `visit` for each block that holds some of `rows`.
    fn for_blocks(&self, rows: Range<usize>, mut visit: impl FnMut(usize, &Range<usize>)) {
        let mut block = self.first.partition_point(|&first| first as usize <= rows.start).saturating_sub(1);
        while block < self.len() && (self.first[block] as usize) < rows.end {
            visit(block, &rows);
            block += 1;
        }
    }
}

/// The numbers of the bits that are set, lowest first.
pub(super) fn set_bits(mask: u128) -> impl Iterator<Item = usize> {
    let half = |mut bits: u64, first: usize| {
        std::iter::from_fn(move || {
            (bits != 0).then(|| {
                let bit = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                first + bit
            })
        })
    };
    half(mask as u64, 0).chain(half((mask >> 64) as u64, 64))
}

/// Each of four nibbles in a byte of its own.
fn bytes_of_nibbles(nibbles: u16) -> u32 {
    let pairs = (u32::from(nibbles) | u32::from(nibbles) << 8) & 0x00FF_00FF;
    (pairs | pairs << 4) & 0x0F0F_0F0F
}

/// An occupancy word with its bits in the order x + 4 y + 16 z: three exchanges of index bits, each a delta swap.
fn linear(morton: u64) -> u64 {
    let exchange = |v: u64, lower: u64, distance: u32| {
        let t = (v >> distance ^ v) & lower;
        v ^ t ^ t << distance
    };
    // Index bits from the highest: z1 y1 x1 z0 y0 x0.
    let v = exchange(morton, 0x00CC_00CC_00CC_00CC, 6); // z1 y1 y0 z0 x1 x0
    let v = exchange(v, 0x00F0_00F0_00F0_00F0, 4); // z1 y1 z0 y0 x1 x0
    exchange(v, 0x0000_FF00_0000_FF00, 8) // z1 z0 y1 y0 x1 x0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::sparse::{Levels, Voxels};

    #[test]
    fn linear_order_is_x_then_y_then_z() {
        for z in 0..4 {
            for y in 0..4 {
                for x in 0..4 {
                    let morton = 1_u64 << morton_in_block([x, y, z]);
                    assert_eq!(linear(morton), 1 << (x + 4 * y + 16 * z));
                }
            }
        }
        assert_eq!(linear(u64::MAX), u64::MAX);
    }

    #[test]
    fn windows_hold_what_is_occupied() {
        let cells: Vec<[u32; 3]> = (0..900_u32).map(|i| [i * 7919 % 13, i * 104_729 % 11, i * 31 % 17]).collect();
        let voxels = Voxels::from_cells(&[&cells], &Arena::default(), Cancel::default()).unwrap();
        let levels = Levels::new(voxels.keys, 5, Cancel::default()).unwrap();
        let blocks = levels.blocks(0);
        for block in 0..blocks.len() {
            let window = blocks.window(block);
            let corner = super::super::decode(levels.level(2).keys[block], 2).cell.map(|v| 4 * v as i64 - 2);
            for z in 0..8 {
                for y in 0..8 {
                    for x in 0..8 {
                        let cell = [corner[0] + x, corner[1] + y, corner[2] + z];
                        let occupied = cells.iter().any(|c| c.map(i64::from) == cell);
                        assert_eq!(window.planes[z as usize] >> (x + 8 * y) & 1 == 1, occupied, "{cell:?}");
                    }
                }
            }
        }
    }
}
