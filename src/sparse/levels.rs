//! Coarser levels: each is the set of parents of the one below, in the same order, found by a scan.

use super::key::{Voxel, cells_per_axis, decode, encode_at};
use crate::cancel::Cancel;
use crate::error::{Result, filled, with_capacity};
use rayon::prelude::*;

/// The voxels of one level; tensor stride 2^level.
#[derive(Debug, Clone, Default)]
pub struct Level {
    /// Keys in ascending order, already shifted to the level.
    pub keys: Vec<u64>,
    /// Per voxel its row on the next coarser level; empty on the coarsest.
    pub parents: Vec<u32>,
}

impl Level {
    /// The number of voxels.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether the level has no voxels.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Level 0 and its coarsenings.
#[derive(Debug, Clone, Default)]
pub struct Levels {
    levels: Vec<Level>,
}

/// "No neighbour here" in a neighbour table.
pub(super) const NO_ROW: u32 = u32::MAX;

impl Levels {
    /// Levels 0 to `count - 1` over the sorted unique level-0 `keys`, and the two above them whose voxels are the
    /// 4x4x4 blocks through which neighbours are found.
    pub fn new(keys: Vec<u64>, count: usize, cancel: Cancel<'_>) -> Result<Self> {
        let mut levels = vec![Level { keys, parents: Vec::new() }];
        for depth in 1..count + 2 {
            cancel.check()?;
            let fine = &mut levels[depth - 1];
            let coarse_len = fine.keys.chunk_by(|a, b| a >> 3 == b >> 3).count();
            let mut coarse: Vec<u64> = with_capacity(coarse_len, "the coarse voxels")?;
            fine.parents = with_capacity(fine.keys.len(), "the parents of the voxels")?;
            for &key in &fine.keys {
                if coarse.last() != Some(&(key >> 3)) {
                    coarse.push(key >> 3);
                }
                fine.parents.push(coarse.len() as u32 - 1);
            }
            levels.push(Level { keys: coarse, parents: Vec::new() });
        }
        Ok(Self { levels })
    }

    /// Level `depth`.
    pub fn level(&self, depth: usize) -> &Level {
        &self.levels[depth]
    }

    /// Per voxel of `depth`, the rows of its 27 neighbours in kernel-offset order, by blocks where a block level
    /// exists and by binary search on the few voxels of the coarsest levels.
    pub(super) fn neighbours(&self, depth: usize, cancel: Cancel<'_>) -> Result<Vec<[u32; 27]>> {
        let level = self.level(depth);
        let mut table = filled(level.len(), [NO_ROW; 27], "the neighbours of the blocks")?;
        if depth + 2 < self.levels.len() {
            let blocks = super::Blocks::new(self, depth, cancel)?;
            let lookup = super::blocks::LocalOffsets::new(3);
            fill_rows(&mut table, cancel, |row, neighbours| blocks.neighbours_of(row, &lookup, neighbours))?;
        } else {
            fill_rows(&mut table, cancel, |row, neighbours| search_neighbours(level, depth, row, neighbours))?;
        }
        Ok(table)
    }
}

/// Fills every row of a neighbour table.
fn fill_rows(table: &mut [[u32; 27]], cancel: Cancel<'_>, fill: impl Fn(usize, &mut [u32; 27]) + Sync) -> Result<()> {
    const BLOCK: usize = 1 << 12;
    table.par_chunks_mut(BLOCK).enumerate().try_for_each(|(block, rows)| {
        cancel.check()?;
        rows.iter_mut().enumerate().for_each(|(index, row)| fill(block * BLOCK + index, row));
        Ok(())
    })
}

fn search_neighbours(level: &Level, depth: usize, row: usize, neighbours: &mut [u32; 27]) {
    let voxel = decode(level.keys[row], depth);
    let limit = cells_per_axis(depth);
    for (slot, offset) in super::kernel_offsets(3).enumerate() {
        let cell = [0, 1, 2].map(|axis| voxel.cell[axis].wrapping_add_signed(offset[axis]));
        if cell.iter().all(|&v| v < limit) {
            let key = encode_at(Voxel { cell, ..voxel }, depth);
            if let Ok(found) = level.keys.binary_search(&key) {
                neighbours[slot] = found as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sparse::{Voxels, encode};

    #[test]
    fn parents_are_sorted_and_complete() {
        let cells: Vec<[u32; 3]> = (0..200_u32).map(|i| [i * 7 % 40, i * 13 % 40, i * 29 % 40]).collect();
        let voxels = Voxels::from_cells(&[&cells], Cancel::default()).unwrap();
        let levels = Levels::new(voxels.keys, 5, Cancel::default()).unwrap();
        for depth in 0..6 {
            let (fine, coarse) = (levels.level(depth), levels.level(depth + 1));
            assert!(coarse.keys.is_sorted_by(|a, b| a < b));
            for (key, &parent) in fine.keys.iter().zip(&fine.parents) {
                assert_eq!(coarse.keys[parent as usize], key >> 3);
            }
        }
    }

    #[test]
    fn an_empty_call_has_empty_levels() {
        let levels = Levels::new(Vec::new(), 5, Cancel::default()).unwrap();
        assert!((0..7).all(|depth| levels.level(depth).is_empty()));
    }

    #[test]
    fn blocks_and_search_agree_on_neighbours() {
        let mut cells: Vec<[u32; 3]> = (0..3000_u32).map(|i| [i * 7919 % 23, i * 104_729 % 19, i * 31 % 17]).collect();
        cells.extend([[0, 0, 0], [(1 << 18) - 1; 3], [1 << 17, 0, (1 << 18) - 1]]);
        let voxels = Voxels::from_cells(&[&cells, &cells[..500]], Cancel::default()).unwrap();
        let levels = Levels::new(voxels.keys, 5, Cancel::default()).unwrap();
        for depth in 0..5 {
            let by_blocks = levels.neighbours(depth, Cancel::default()).unwrap();
            for (row, neighbours) in by_blocks.iter().enumerate() {
                let mut searched = [NO_ROW; 27];
                search_neighbours(levels.level(depth), depth, row, &mut searched);
                assert_eq!(*neighbours, searched, "level {depth} row {row}");
            }
        }
        assert!(levels.level(0).keys.contains(&encode(Voxel { batch: 1, cell: cells[0] })));
    }
}
