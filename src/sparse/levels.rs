//! Coarser levels: each is the set of parents of the one below, in the same order, found by a scan.

use super::blocks::{Blocks, LocalOffsets};
use super::key::{Voxel, cells_per_axis, decode, encode_at};
use crate::arena::{Arena, Buffer};
use crate::cancel::Cancel;
use crate::error::Result;
use rayon::prelude::*;

/// The voxels of one level; tensor stride 2^level.
#[derive(Debug, Clone)]
pub struct Level {
    /// Keys in ascending order, already shifted to the level.
    pub keys: Buffer<u64>,
    /// Per voxel its row on the next coarser level; empty on the coarsest.
    pub parents: Buffer<u32>,
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
#[derive(Debug, Clone)]
pub struct Levels {
    levels: Buffer<Level>,
    /// Of all levels but the two above the coarsest, whose voxels are blocks.
    blocks: Buffer<Blocks>,
}

/// "No neighbour here" in a neighbour table.
pub(super) const NO_ROW: u32 = u32::MAX;

impl Levels {
    /// Levels 0 to `count - 1` over the sorted unique level-0 `keys`, and the two above them whose voxels are the
    /// 4x4x4 blocks through which neighbours are found.
    pub fn new(keys: Buffer<u64>, count: usize, cancel: Cancel<'_>) -> Result<Self> {
        let arena = &keys.allocator().clone();
        let mut levels: Buffer<Level> = arena.with_capacity(count + 2, "the levels")?;
        let no_parents = || Buffer::new_in(arena.clone());
        levels.push(Level { keys, parents: no_parents() });
        for depth in 1..count + 2 {
            cancel.check()?;
            let fine = &mut levels[depth - 1];
            let coarse_len = fine.keys.chunk_by(|a, b| a >> 3 == b >> 3).count();
            let mut coarse: Buffer<u64> = arena.with_capacity(coarse_len, "the coarse voxels")?;
            fine.parents = arena.with_capacity(fine.keys.len(), "the parents of the voxels")?;
            for &key in &fine.keys {
                if coarse.last() != Some(&(key >> 3)) {
                    coarse.push(key >> 3);
                }
                fine.parents.push(coarse.len() as u32 - 1);
            }
            levels.push(Level { keys: coarse, parents: no_parents() });
        }
        let mut blocks: Buffer<Blocks> = arena.with_capacity(count, "the blocks")?;
        // From the coarsest down: the neighbours of a level's blocks are found through the blocks two levels above.
        for depth in (0..count).rev() {
            let (keys, level) = (&levels[depth].keys, &levels[depth + 2]);
            let around = match (count - 1 - depth).checked_sub(2) {
                Some(place) => neighbours(&level.keys, depth + 2, Some(&blocks[place]), cancel)?,
                None => neighbours_alone(&level.keys, depth + 2, cancel)?,
            };
            blocks.push(Blocks::new(keys, around, cancel)?);
        }
        blocks.reverse();
        Ok(Self { levels, blocks })
    }

    /// Where the levels' memory lives.
    pub fn arena(&self) -> &Arena {
        self.levels.allocator()
    }

    /// Level `depth`.
    pub fn level(&self, depth: usize) -> &Level {
        &self.levels[depth]
    }

    /// The keys of level 0, as they came.
    pub(crate) fn into_keys(mut self) -> Buffer<u64> {
        self.levels.swap_remove(0).keys
    }

    /// The blocks of level `depth`.
    pub fn blocks(&self, depth: usize) -> &Blocks {
        &self.blocks[depth]
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        let levels = self.levels.iter().map(|l| (size_of_val(&l.keys[..]) + size_of_val(&l.parents[..])) as u64);
        levels.sum::<u64>() + self.blocks.iter().map(Blocks::bytes).sum::<u64>()
    }
}

/// The neighbours of the voxels of a level above which there are no blocks: those are made for the purpose, two levels
/// at a time, until so few voxels are left that a search is quicker.
fn neighbours_alone(keys: &Buffer<u64>, depth: usize, cancel: Cancel<'_>) -> Result<Buffer<[u32; 27]>> {
    const FEW: usize = 64;
    if keys.len() <= FEW || cells_per_axis(depth) < 4 {
        return neighbours(keys, depth, None, cancel);
    }
    let mut above = keys.allocator().with_capacity(keys.len(), "the coarse voxels")?;
    keys.chunk_by(|a, b| a >> 6 == b >> 6).for_each(|block| above.push(block[0] >> 6));
    let around = neighbours_alone(&above, depth + 2, cancel)?;
    neighbours(keys, depth, Some(&Blocks::new(keys, around, cancel)?), cancel)
}

/// Per voxel of a level, the rows of its 27 neighbours in kernel-offset order: by its blocks where it has some, and by
/// binary search among few.
fn neighbours(
    keys: &Buffer<u64>,
    depth: usize,
    blocks: Option<&Blocks>,
    cancel: Cancel<'_>,
) -> Result<Buffer<[u32; 27]>> {
    /// Voxels of one thread's task.
    const TASK: usize = 512;
    let lookup = LocalOffsets::of_size(3);
    let mut table = keys.allocator().filled(keys.len(), [NO_ROW; 27], "the neighbours of the blocks")?;
    table.par_chunks_mut(TASK).enumerate().try_for_each(|(task, table)| {
        cancel.check()?;
        let first = task * TASK;
        let Some(blocks) = blocks else {
            table.iter_mut().enumerate().for_each(|(index, row)| search_neighbours(keys, depth, first + index, row));
            return Ok(());
        };
        let (rows, offsets) = (first..first + table.len(), &mut [0; TASK][..table.len()]);
        blocks.offsets(lookup, rows.clone(), offsets);
        blocks.neighbours(lookup, rows, offsets, |row, offset, neighbour| table[row][offset] = neighbour);
        Ok(())
    })?;
    Ok(table)
}

fn search_neighbours(keys: &[u64], depth: usize, row: usize, neighbours: &mut [u32; 27]) {
    let voxel = decode(keys[row], depth);
    let limit = cells_per_axis(depth);
    for (slot, offset) in super::kernel_offsets(3).enumerate() {
        let cell = [0, 1, 2].map(|axis| voxel.cell[axis].wrapping_add_signed(offset[axis]));
        if cell.iter().all(|&v| v < limit) {
            let key = encode_at(Voxel { cell, ..voxel }, depth);
            if let Ok(found) = keys.binary_search(&key) {
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
        let voxels = Voxels::from_cells(&[&cells], &Arena::default(), Cancel::default()).unwrap();
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
    fn many_clouds_have_neighbours_at_the_coarsest_level() {
        let cells: Vec<[u32; 3]> = vec![[0; 3], [(1 << 18) - 1; 3], [1 << 17; 3]];
        let clouds: Vec<&[[u32; 3]]> = vec![&cells; 300];
        let voxels = Voxels::from_cells(&clouds, &Arena::default(), Cancel::default()).unwrap();
        for depth in [14, 15, 16] {
            let mut keys = voxels.keys.clone();
            keys.iter_mut().for_each(|key| *key >>= 3 * depth);
            keys.dedup();
            let alone = neighbours_alone(&keys, depth, Cancel::default()).unwrap();
            assert!(alone == neighbours(&keys, depth, None, Cancel::default()).unwrap(), "level {depth}");
        }
    }

    #[test]
    fn an_empty_call_has_empty_levels() {
        let levels = Levels::new(Buffer::new_in(Arena::default()), 5, Cancel::default()).unwrap();
        assert!((0..7).all(|depth| levels.level(depth).is_empty()));
    }

    #[test]
    fn blocks_and_search_agree_on_neighbours() {
        let mut cells: Vec<[u32; 3]> = (0..3000_u32).map(|i| [i * 7919 % 23, i * 104_729 % 19, i * 31 % 17]).collect();
        cells.extend([[0, 0, 0], [(1 << 18) - 1; 3], [1 << 17, 0, (1 << 18) - 1]]);
        let voxels = Voxels::from_cells(&[&cells, &cells[..500]], &Arena::default(), Cancel::default()).unwrap();
        let levels = Levels::new(voxels.keys, 5, Cancel::default()).unwrap();
        for depth in 0..5 {
            let (level, blocks) = (levels.level(depth), Some(levels.blocks(depth)));
            let by_blocks = neighbours(&level.keys, depth, blocks, Cancel::default()).unwrap();
            let searched = neighbours(&level.keys, depth, None, Cancel::default()).unwrap();
            let alone = neighbours_alone(&level.keys, depth, Cancel::default()).unwrap();
            assert!(by_blocks == searched && alone == searched, "level {depth}");
        }
        assert!(levels.level(0).keys.contains(&encode(Voxel { batch: 1, cell: cells[0] })));
    }
}
