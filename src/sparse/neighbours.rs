//! Who touches whom: for every voxel the rows of the occupied cells among the 27 around it, itself included.

use super::Blocks;
use super::blocks::LocalOffsets;
use crate::arena::parts;
use crate::cancel::Cancel;
use crate::error::{Error, Result, filled, with_capacity};
use rayon::prelude::*;
use std::sync::LazyLock;

/// Blocks of one thread's task, and between two looks at the cancel token.
const TASK: usize = 1 << 7;

/// Voxels between two looks at the cancel token.
const BLOCK: usize = 1 << 16;

/// The neighbours of every voxel of a level, as one list cut into rows.
#[derive(Debug, Clone, Default)]
pub struct Neighbours {
    /// `[v + 1]` where each voxel's neighbours begin in `rows`.
    starts: Vec<usize>,
    rows: Vec<u32>,
}

/// For each of the 64 cells of a block: the neighbouring blocks that the 27 cells around it touch, and which cells
/// of each.
static MASKS: LazyLock<Vec<Vec<(u8, u64)>>> = LazyLock::new(|| {
    let offsets = LocalOffsets::of_size(3);
    let masks = |morton: usize| {
        let mut masks: Vec<(u8, u64)> = Vec::new();
        for &(slot, cell) in offsets.of(morton) {
            match masks.iter_mut().find(|mask| mask.0 == slot) {
                Some(mask) => mask.1 |= 1 << cell,
                None => masks.push((slot, 1 << cell)),
            }
        }
        masks
    };
    (0..64).map(masks).collect()
});

impl Neighbours {
    /// The neighbours of the voxels of `blocks`, block by block: an order that depends on the voxels alone.
    pub fn new(blocks: &Blocks, cancel: Cancel<'_>) -> Result<Self> {
        let masks = &*MASKS;
        let blocks_of = |task: usize| task * TASK..blocks.len().min((task + 1) * TASK);
        let rows_of = |task: usize| blocks.rows(task * TASK).start..blocks.rows(blocks_of(task).end - 1).end;
        let tasks = 0..blocks.len().div_ceil(TASK);
        let voxels = tasks.clone().last().map_or(0, |last| rows_of(last).end);
        let mut starts = filled(voxels + 1, 0_usize, "the neighbours")?;
        let mut counts = with_capacity(tasks.len(), "the neighbours")?;
        counts.extend(parts(&mut starts[1..], tasks.clone().map(|task| rows_of(task).len())));
        counts.par_iter_mut().enumerate().try_for_each(|(task, counts)| {
            cancel.check()?;
            let mut counts = counts.iter_mut();
            for block in blocks_of(task) {
                for (cell, count) in blocks.cells(block).zip(counts.by_ref()) {
                    *count = blocks.count_occupied(block, &masks[cell]);
                }
            }
            Ok::<(), Error>(())
        })?;
        let mut total = 0;
        for starts in starts.chunks_mut(BLOCK) {
            cancel.check()?;
            for start in starts {
                total += *start;
                *start = total;
            }
        }
        let mut rows = filled(total, 0, "the neighbours")?;
        let mut places = with_capacity(tasks.len(), "the neighbours")?;
        places.extend(parts(&mut rows, tasks.map(|task| starts[rows_of(task).end] - starts[rows_of(task).start])));
        places.par_iter_mut().enumerate().try_for_each(|(task, places)| {
            cancel.check()?;
            let mut places = places.iter_mut();
            for block in blocks_of(task) {
                for cell in blocks.cells(block) {
                    let around = blocks.occupied(block, &masks[cell]);
                    around.zip(places.by_ref()).for_each(|(row, place)| *place = row);
                }
            }
            Ok::<(), Error>(())
        })?;
        Ok(Self { starts, rows })
    }

    /// The number of voxels.
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether there are no voxels.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows of the occupied cells around `voxel`, itself included.
    pub fn of(&self, voxel: usize) -> &[u32] {
        &self.rows[self.starts[voxel]..self.starts[voxel + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::{Arena, nothing};
    use crate::sparse::{Levels, Voxels, decode};

    #[test]
    fn neighbours_are_the_occupied_cells_around() {
        let cells: Vec<[u32; 3]> = (0..9000_u32).map(|i| [i * 7919 % 33, i * 104_729 % 29, i * 31 % 27]).collect();
        let voxels = Voxels::from_cells(&[&cells], &Arena::default(), Cancel::default()).unwrap();
        let levels = Levels::new(voxels.keys, 1, Cancel::default()).unwrap();
        let neighbours = Neighbours::new(levels.blocks(0), Cancel::default()).unwrap();
        let keys = &levels.level(0).keys;
        assert_eq!(neighbours.len(), keys.len());
        for voxel in 0..keys.len() {
            let cell = |row: usize| decode(keys[row], 0).cell.map(i64::from);
            let mut want: Vec<u32> = (0..keys.len() as u32)
                .filter(|&other| (0..3).all(|a| (cell(other as usize)[a] - cell(voxel)[a]).abs() <= 1))
                .collect();
            want.sort_unstable();
            let mut got = neighbours.of(voxel).to_vec();
            got.sort_unstable();
            assert_eq!(got, want, "voxel {voxel}");
        }
        let none = Levels::new(nothing(), 1, Cancel::default()).unwrap();
        assert!(Neighbours::new(none.blocks(0), Cancel::default()).unwrap().is_empty());
    }
}
