//! Kernel maps: which input row meets which output row under which kernel offset.
//!
//! Output rows are cut into chunks. Within a chunk the pairs are sorted by offset, then by output row, so that a
//! convolution streams one offset's weights over the whole chunk and sums each output in one fixed order.

use super::blocks::LocalOffsets;
use super::levels::NO_ROW;
use super::{Blocks, Levels};
use crate::cancel::Cancel;
use crate::error::{Error, Result, filled, with_capacity};
use rayon::prelude::*;
use std::ops::{Deref, Range};

/// One input row met by one output row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Row of the input tensor.
    pub input: u32,
    /// Row of the output tensor, counted from the chunk's first.
    pub output: u32,
}

/// Pairs together with how many rows they may name: what an access by them must be checked against.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a> {
    pairs: &'a [Pair],
    input_rows: usize,
    output_rows: usize,
}

impl<'a> Pairs<'a> {
    /// Any pairs; looks at each.
    pub fn new(pairs: &'a [Pair]) -> Self {
        let rows = |side: fn(&Pair) -> u32| pairs.iter().map(side).max().map_or(0, |last| last as usize + 1);
        Self { pairs, input_rows: rows(|pair| pair.input), output_rows: rows(|pair| pair.output) }
    }

    /// Every input row is below this.
    pub fn input_rows(&self) -> usize {
        self.input_rows
    }

    /// Every output row is below this.
    pub fn output_rows(&self) -> usize {
        self.output_rows
    }
}

impl Deref for Pairs<'_> {
    type Target = [Pair];

    fn deref(&self) -> &[Pair] {
        self.pairs
    }
}

/// The pairs of one chunk of output rows.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// `[volume + 1]` where each offset's pairs begin.
    starts: Vec<u32>,
    pairs: Vec<Pair>,
    /// What every input and every output row of `pairs` is below.
    limits: [usize; 2],
    /// Input rows that lie where the chunk's output rows lie: the first to be needed.
    pub home: Range<u32>,
}

impl Chunk {
    /// The pairs of kernel offset `offset`, outputs ascending.
    pub fn pairs(&self, offset: usize) -> Pairs<'_> {
        let pairs = &self.pairs[self.starts[offset] as usize..self.starts[offset + 1] as usize];
        Pairs { pairs, input_rows: self.limits[0], output_rows: self.limits[1] }
    }

    /// The number of pairs of all offsets.
    pub fn pair_count(&self) -> usize {
        self.pairs.len()
    }

    /// Sorts `found(row, offset)` (the input row, or [`NO_ROW`]) by offset. `table` is `[rows, volume]`.
    fn from_table(table: &[u32], volume: usize) -> Result<Self> {
        let mut starts = filled(volume + 1, 0_u32, "a kernel map")?;
        for row in table.chunks_exact(volume) {
            for (start, &input) in starts[1..].iter_mut().zip(row) {
                *start += u32::from(input != NO_ROW);
            }
        }
        for offset in 0..volume {
            starts[offset + 1] += starts[offset];
        }
        let mut next = starts.clone();
        let mut pairs = filled(starts[volume] as usize, Pair { input: 0, output: 0 }, "a kernel map")?;
        for (output, row) in table.chunks_exact(volume).enumerate() {
            for (next, &input) in next.iter_mut().zip(row) {
                if input != NO_ROW {
                    pairs[*next as usize] = Pair { input, output: output as u32 };
                    *next += 1;
                }
            }
        }
        let limits = Pairs::new(&pairs);
        let limits = [limits.input_rows, limits.output_rows];
        let first = pairs.iter().map(|pair| pair.input).min().unwrap_or(0);
        Ok(Self { starts, pairs, limits, home: first..limits[0] as u32 })
    }
}

/// All pairs of a convolution between two levels.
#[derive(Debug, Clone)]
pub struct KernelMap {
    /// Number of kernel offsets.
    pub volume: usize,
    /// Rows of the input tensor.
    pub input_rows: usize,
    /// Rows of the output tensor.
    pub output_rows: usize,
    /// Output rows per chunk (the last may have fewer).
    pub chunk_rows: usize,
    /// The chunks in order.
    pub chunks: Vec<Chunk>,
}

impl KernelMap {
    /// The map of a submanifold convolution with a centred kernel of `size` 1, 3 or 5 on level `depth`.
    pub fn submanifold(
        levels: &Levels,
        depth: usize,
        size: usize,
        chunk_rows: usize,
        cancel: Cancel<'_>,
    ) -> Result<Self> {
        let rows = levels.level(depth).len();
        if size == 1 {
            return Self::build([1, rows, rows], chunk_rows, cancel, |row, inputs| inputs[0] = row as u32);
        }
        let blocks = Blocks::new(levels, depth, cancel)?;
        let lookup = LocalOffsets::new(size);
        Self::build([size.pow(3), rows, rows], chunk_rows, cancel, |row, inputs| {
            blocks.neighbours_of(row, &lookup, inputs)
        })
    }

    /// The map of a convolution of kernel and stride 2 from level `depth` to `depth + 1`.
    pub fn strided(levels: &Levels, depth: usize, chunk_rows: usize, cancel: Cancel<'_>) -> Result<Self> {
        let (fine, coarse) = (levels.level(depth), levels.level(depth + 1));
        // Children of a voxel are contiguous: the first is where the parent changes.
        let mut first_child = with_capacity(coarse.len() + 1, "a strided kernel map")?;
        for (row, parents) in fine.parents.iter().enumerate() {
            if *parents as usize == first_child.len() {
                first_child.push(row);
            }
        }
        first_child.push(fine.len());
        Self::build([8, fine.len(), coarse.len()], chunk_rows, cancel, |row, inputs| {
            for child in first_child[row]..first_child[row + 1] {
                inputs[(fine.keys[child] & 7) as usize] = child as u32;
            }
        })
    }

    /// The map of a transposed convolution of kernel and stride 2 from level `depth + 1` back to `depth`: the
    /// strided map with its sides exchanged and the offset unchanged.
    pub fn transposed(levels: &Levels, depth: usize, chunk_rows: usize, cancel: Cancel<'_>) -> Result<Self> {
        let (fine, coarse) = (levels.level(depth), levels.level(depth + 1));
        Self::build([8, coarse.len(), fine.len()], chunk_rows, cancel, |row, inputs| {
            inputs[(fine.keys[row] & 7) as usize] = fine.parents[row];
        })
    }

    /// `inputs_of(row, inputs)` fills the input row per offset; `inputs` arrives as all [`NO_ROW`].
    fn build(
        [volume, input_rows, output_rows]: [usize; 3],
        chunk_rows: usize,
        cancel: Cancel<'_>,
        inputs_of: impl Fn(usize, &mut [u32]) + Sync,
    ) -> Result<Self> {
        let mut chunks = filled(output_rows.div_ceil(chunk_rows), Chunk::default(), "a kernel map")?;
        chunks.par_iter_mut().enumerate().try_for_each(|(index, chunk)| {
            cancel.check()?;
            let rows = index * chunk_rows..output_rows.min((index + 1) * chunk_rows);
            let mut table = filled(rows.len() * volume, NO_ROW, "a kernel map")?;
            for (row, inputs) in rows.zip(table.chunks_exact_mut(volume)) {
                inputs_of(row, inputs);
            }
            *chunk = Chunk::from_table(&table, volume)?;
            if volume % 2 == 1 {
                chunk.home = (index * chunk_rows) as u32..output_rows.min((index + 1) * chunk_rows) as u32;
            }
            Ok::<(), Error>(())
        })?;
        Ok(Self { volume, input_rows, output_rows, chunk_rows, chunks })
    }

    /// The number of pairs, which is the number of row products of a convolution.
    pub fn pair_count(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.pairs.len() as u64).sum()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|c| size_of_val(&c.pairs[..]) + size_of_val(&c.starts[..])).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sparse::{Voxels, decode, kernel_offsets};
    use std::collections::HashMap;

    fn cells(count: u32) -> Vec<[u32; 3]> {
        (0..count).map(|i| [i * 7919 % 21, i * 104_729 % 19, i * 31 % 18]).collect()
    }

    /// All pairs as (offset, input, output) with whole output rows.
    fn flatten(map: &KernelMap) -> Vec<(usize, u32, u32)> {
        let mut all = Vec::new();
        for (index, chunk) in map.chunks.iter().enumerate() {
            for offset in 0..map.volume {
                let rows = (index * map.chunk_rows) as u32;
                all.extend(chunk.pairs(offset).iter().map(|p| (offset, p.input, p.output + rows)));
            }
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn submanifold_maps_are_what_a_dictionary_finds() {
        for (count, chunk_rows) in [(0, 64), (1, 64), (63, 64), (64, 64), (65, 64), (900, 37)] {
            let voxels = Voxels::from_cells(&[&cells(count), &cells(count / 2)], Cancel::default()).unwrap();
            let levels = Levels::new(voxels.keys, 5, Cancel::default()).unwrap();
            for (depth, size) in [(0, 1), (0, 3), (0, 5), (1, 3), (2, 3), (4, 3), (4, 5)] {
                let level = levels.level(depth);
                let place = |row: usize| {
                    let voxel = decode(level.keys[row], depth);
                    (voxel.batch, voxel.cell.map(|v| v as i32))
                };
                let rows: HashMap<_, _> = (0..level.len()).map(|row| (place(row), row as u32)).collect();
                let mut want = Vec::new();
                for row in 0..level.len() {
                    let (batch, cell) = place(row);
                    for (offset, d) in kernel_offsets(size).enumerate() {
                        let target = [0, 1, 2].map(|axis| cell[axis] + d[axis]);
                        want.extend(rows.get(&(batch, target)).map(|&input| (offset, input, row as u32)));
                    }
                }
                want.sort_unstable();
                let map = KernelMap::submanifold(&levels, depth, size, chunk_rows, Cancel::default()).unwrap();
                assert_eq!(flatten(&map), want, "{count} points, level {depth}, kernel {size}");
                assert_eq!(map.pair_count(), want.len() as u64);
            }
        }
    }

    #[test]
    fn transposed_maps_are_strided_maps_exchanged() {
        let voxels = Voxels::from_cells(&[&cells(800)], Cancel::default()).unwrap();
        let levels = Levels::new(voxels.keys, 5, Cancel::default()).unwrap();
        for depth in 0..4 {
            let down = flatten(&KernelMap::strided(&levels, depth, 50, Cancel::default()).unwrap());
            let up = flatten(&KernelMap::transposed(&levels, depth, 70, Cancel::default()).unwrap());
            let mut exchanged: Vec<_> = down.iter().map(|&(offset, input, output)| (offset, output, input)).collect();
            exchanged.sort_unstable();
            assert_eq!(up, exchanged);
            assert_eq!(down.len(), levels.level(depth).len());
            for (offset, child, parent) in down {
                let child = decode(levels.level(depth).keys[child as usize], depth).cell;
                let parent = decode(levels.level(depth + 1).keys[parent as usize], depth + 1).cell;
                let want = [0, 1, 2].map(|axis| 2 * parent[axis] + (offset as u32 >> axis & 1));
                assert_eq!(child, want);
            }
        }
    }
}
