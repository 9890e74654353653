//! 4x4x4 blocks: one 64-bit occupancy word each, through which a voxel's neighbours are found by bit tests.
//!
//! The voxels of level l + 2 are the blocks of level l. A neighbour's row is the block's first row plus the number
//! of occupied cells before it, because a block's voxels stand in Morton order.

use super::levels::{Levels, NO_ROW};
use crate::cancel::Cancel;
use crate::error::{Result, with_capacity};

/// The blocks of one level.
#[derive(Debug)]
pub struct Blocks<'a> {
    levels: &'a Levels,
    depth: usize,
    /// `[b + 1]` the first row of each block.
    first: Vec<u32>,
    /// Bit m set: the cell with Morton code m is occupied.
    occupancy: Vec<u64>,
    /// Rows of the 27 neighbouring blocks.
    around: Vec<[u32; 27]>,
}

/// For each of the 64 cells of a block and each kernel offset: the neighbouring block (0-26) and the cell in it.
#[derive(Debug)]
pub(super) struct LocalOffsets {
    volume: usize,
    table: Vec<(u8, u8)>,
}

impl LocalOffsets {
    /// For a centred kernel of `size` 3 or 5 (a block reaches no farther than its direct neighbours).
    pub(super) fn new(size: usize) -> Self {
        let volume = size.pow(3);
        let mut table = Vec::with_capacity(64 * volume);
        for morton in 0..64_u32 {
            let bit = |i: u32| (morton >> i) & 1;
            let cell = [bit(0) | bit(3) << 1, bit(1) | bit(4) << 1, bit(2) | bit(5) << 1];
            for offset in super::kernel_offsets(size) {
                let target = [0, 1, 2].map(|axis| cell[axis] as i32 + offset[axis] + 4);
                let slot = target[0] / 4 + 3 * (target[1] / 4) + 9 * (target[2] / 4);
                table.push((slot as u8, morton_in_block(target.map(|v| v as u32 % 4))));
            }
        }
        Self { volume, table }
    }

    fn of(&self, morton: usize) -> &[(u8, u8)] {
        &self.table[morton * self.volume..(morton + 1) * self.volume]
    }
}

fn morton_in_block([x, y, z]: [u32; 3]) -> u8 {
    let spread = |v: u32| (v & 1) | (v & 2) << 2;
    (spread(x) | spread(y) << 1 | spread(z) << 2) as u8
}

impl<'a> Blocks<'a> {
    /// The blocks of level `depth`, whose block level must exist in `levels`.
    pub fn new(levels: &'a Levels, depth: usize, cancel: Cancel<'_>) -> Result<Self> {
        cancel.check()?;
        let (fine, coarse) = (levels.level(depth), levels.level(depth + 2));
        let mut first = with_capacity(coarse.len() + 1, "the blocks")?;
        let mut occupancy: Vec<u64> = with_capacity(coarse.len(), "the blocks")?;
        for (row, &key) in fine.keys.iter().enumerate() {
            if row == 0 || fine.keys[row - 1] >> 6 != key >> 6 {
                first.push(row as u32);
                occupancy.push(0);
            }
            if let Some(word) = occupancy.last_mut() {
                *word |= 1 << (key & 63);
            }
        }
        first.push(fine.len() as u32);
        Ok(Self { levels, depth, first, occupancy, around: levels.neighbours(depth + 2, cancel)? })
    }

    /// The number of blocks.
    pub fn len(&self) -> usize {
        self.occupancy.len()
    }

    /// Whether there are no blocks.
    pub fn is_empty(&self) -> bool {
        self.occupancy.is_empty()
    }

    /// The block that holds `row`.
    pub(super) fn block_of(&self, row: usize) -> usize {
        let parent = self.levels.level(self.depth).parents[row] as usize;
        self.levels.level(self.depth + 1).parents[parent] as usize
    }

    /// Writes the rows of the neighbours of `row`, or [`NO_ROW`], in kernel-offset order.
    pub(super) fn neighbours_of(&self, row: usize, lookup: &LocalOffsets, neighbours: &mut [u32]) {
        let around = &self.around[self.block_of(row)];
        let morton = (self.levels.level(self.depth).keys[row] & 63) as usize;
        for (neighbour, &(slot, bit)) in neighbours.iter_mut().zip(lookup.of(morton)) {
            let block = around[usize::from(slot)];
            *neighbour = if block == NO_ROW { NO_ROW } else { self.row_in(block as usize, bit) };
        }
    }

    fn row_in(&self, block: usize, bit: u8) -> u32 {
        let word = self.occupancy[block];
        if word >> bit & 1 == 0 {
            return NO_ROW;
        }
        self.first[block] + (word & ((1 << bit) - 1)).count_ones()
    }

    /// The rows that block `block` holds.
    pub fn rows(&self, block: usize) -> std::ops::Range<usize> {
        self.first[block] as usize..self.first[block + 1] as usize
    }

    /// The cell of `row` within its block, each axis 0-3.
    pub fn local_cell(&self, row: usize) -> [usize; 3] {
        let m = self.levels.level(self.depth).keys[row] as usize & 63;
        [(m & 1) | (m >> 2 & 2), (m >> 1 & 1) | (m >> 3 & 2), (m >> 2 & 1) | (m >> 4 & 2)]
    }

    /// Occupancy of the 8x8x8 cells from two before to two after `block`: bit x of entry `y + 8 z`.
    pub fn window(&self, block: usize) -> [u8; 64] {
        let linear = self.around[block].map(|row| if row == NO_ROW { 0 } else { linear(self.occupancy[row as usize]) });
        let mut window = [0_u8; 64];
        for z in 0..8 {
            for y in 0..8 {
                let slot = (y + 2) / 4 * 3 + (z + 2) / 4 * 9;
                let shift = (y + 2) % 4 * 4 + (z + 2) % 4 * 16;
                let row = |x: usize| (linear[slot + x] >> shift) as u8 & 15;
                window[y + 8 * z] = row(0) >> 2 | row(1) << 2 | row(2) << 6;
            }
        }
        window
    }
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
    use crate::sparse::Voxels;

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
        let voxels = Voxels::from_cells(&[&cells], Cancel::default()).unwrap();
        let levels = Levels::new(voxels.keys, 5, Cancel::default()).unwrap();
        let blocks = Blocks::new(&levels, 0, Cancel::default()).unwrap();
        for block in 0..blocks.len() {
            let window = blocks.window(block);
            let corner = super::super::decode(levels.level(2).keys[block], 2).cell.map(|v| 4 * v as i64 - 2);
            for z in 0..8 {
                for y in 0..8 {
                    for x in 0..8 {
                        let cell = [corner[0] + x, corner[1] + y, corner[2] + z];
                        let occupied = cells.iter().any(|c| c.map(i64::from) == cell);
                        assert_eq!(window[(y + 8 * z) as usize] >> x & 1 == 1, occupied, "{cell:?}");
                    }
                }
            }
        }
    }
}
