//! Kernel maps: which input row meets which output row under which kernel offset.
//!
//! Output rows are cut into chunks. Within a chunk the pairs are sorted by offset, then by output row, so that a
//! convolution streams one offset's weights over the whole chunk and sums each output in one fixed order.

use super::blocks::{LocalOffsets, set_bits};
use super::{Blocks, Level, Levels};
use crate::arena::{self, Arena, Buffer};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
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
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    map: &'a KernelMap,
    index: usize,
}

impl<'a> Chunk<'a> {
    /// The pairs of kernel offset `offset`, outputs ascending.
    pub fn pairs(&self, offset: usize) -> Pairs<'a> {
        let starts = self.starts();
        let pairs = &self.map.pairs[starts[offset] as usize..starts[offset + 1] as usize];
        let [input_rows, output_rows] = self.map.limits[self.index].map(|rows| rows as usize);
        Pairs { pairs, input_rows, output_rows }
    }

    /// The number of pairs of all offsets.
    pub fn pair_count(&self) -> usize {
        let starts = self.starts();
        (starts[self.map.volume] - starts[0]) as usize
    }

    /// Input rows that lie where the chunk's output rows lie: the first to be needed.
    pub fn home(&self) -> Range<usize> {
        let [first, last] = self.map.homes[self.index];
        first as usize..last as usize
    }

    fn starts(&self) -> &'a [u64] {
        &self.map.starts[self.index * self.map.volume..][..self.map.volume + 1]
    }
}

/// Where the inputs of output rows stand.
trait Neighbourhood: Sync {
    /// The kernel offsets at which each of `rows` has an input, as bits.
    fn offsets(&self, rows: Range<usize>, offsets: &mut [u128]);

    /// Calls `found(row, offset, input)` for those offsets; the row counts from the first of `rows`.
    fn inputs(&self, rows: Range<usize>, offsets: &[u128], found: impl FnMut(usize, usize, u32));
}

/// A kernel of one cell.
struct Itself;

impl Neighbourhood for Itself {
    fn offsets(&self, _rows: Range<usize>, offsets: &mut [u128]) {
        offsets.fill(1);
    }

    fn inputs(&self, rows: Range<usize>, _offsets: &[u128], mut found: impl FnMut(usize, usize, u32)) {
        rows.clone().for_each(|row| found(row - rows.start, 0, row as u32));
    }
}

/// A centred kernel.
struct Around<'a> {
    blocks: &'a Blocks,
    lookup: &'a LocalOffsets,
}

impl Neighbourhood for Around<'_> {
    fn offsets(&self, rows: Range<usize>, offsets: &mut [u128]) {
        self.blocks.offsets(self.lookup, rows, offsets);
    }

    fn inputs(&self, rows: Range<usize>, offsets: &[u128], found: impl FnMut(usize, usize, u32)) {
        self.blocks.neighbours(self.lookup, rows, offsets, found);
    }
}

/// Children of a coarse voxel are contiguous and sorted by offset.
struct Children<'a> {
    fine: &'a Level,
    /// `[coarse + 1]`.
    first: Buffer<u32>,
}

impl Neighbourhood for Children<'_> {
    fn offsets(&self, rows: Range<usize>, offsets: &mut [u128]) {
        for (row, mask) in rows.zip(offsets) {
            let children = &self.fine.keys[self.first[row] as usize..self.first[row + 1] as usize];
            *mask = children.iter().fold(0, |mask, key| mask | 1 << (key & 7));
        }
    }

    fn inputs(&self, rows: Range<usize>, offsets: &[u128], mut found: impl FnMut(usize, usize, u32)) {
        for (index, row) in rows.enumerate() {
            for (offset, child) in set_bits(offsets[index]).zip(self.first[row]..) {
                found(index, offset, child);
            }
        }
    }
}

/// The coarse voxel that a fine one lies in.
struct Parent<'a> {
    fine: &'a Level,
}

impl Neighbourhood for Parent<'_> {
    fn offsets(&self, rows: Range<usize>, offsets: &mut [u128]) {
        rows.zip(offsets).for_each(|(row, mask)| *mask = 1 << (self.fine.keys[row] & 7));
    }

    fn inputs(&self, rows: Range<usize>, offsets: &[u128], mut found: impl FnMut(usize, usize, u32)) {
        for (index, row) in rows.enumerate() {
            found(index, offsets[index].trailing_zeros() as usize, self.fine.parents[row]);
        }
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
    /// `[chunks * volume + 1]` where the pairs of each chunk and offset begin.
    starts: Buffer<u64>,
    pairs: Buffer<Pair>,
    /// Per chunk, what every input and every output row of its pairs is below.
    limits: Buffer<[u32; 2]>,
    /// Per chunk the first and last of [`Chunk::home`].
    homes: Buffer<[u32; 2]>,
}

/// Offsets of the largest kernel.
const MOST_OFFSETS: usize = 125;

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
        let shape = [size.pow(3), rows, rows];
        match size {
            1 => Self::build(shape, chunk_rows, levels.arena(), cancel, &Itself),
            _ => {
                let around = Around { blocks: levels.blocks(depth), lookup: LocalOffsets::of_size(size) };
                Self::build(shape, chunk_rows, levels.arena(), cancel, &around)
            }
        }
    }

    /// The map of a convolution of kernel and stride 2 from level `depth` to `depth + 1`.
    pub fn strided(levels: &Levels, depth: usize, chunk_rows: usize, cancel: Cancel<'_>) -> Result<Self> {
        let (fine, coarse) = (levels.level(depth), levels.level(depth + 1));
        // The first child is where the parent changes.
        let mut first = levels.arena().with_capacity(coarse.len() + 1, "a strided kernel map")?;
        for (row, parent) in fine.parents.iter().enumerate() {
            if *parent as usize == first.len() {
                first.push(row as u32);
            }
        }
        first.push(fine.len() as u32);
        Self::build([8, fine.len(), coarse.len()], chunk_rows, levels.arena(), cancel, &Children { fine, first })
    }

    /// The map of a transposed convolution of kernel and stride 2 from level `depth + 1` back to `depth`: the
    /// strided map with its sides exchanged and the offset unchanged.
    pub fn transposed(levels: &Levels, depth: usize, chunk_rows: usize, cancel: Cancel<'_>) -> Result<Self> {
        let (fine, coarse) = (levels.level(depth), levels.level(depth + 1));
        Self::build([8, coarse.len(), fine.len()], chunk_rows, levels.arena(), cancel, &Parent { fine })
    }

    /// The chunk `index`.
    pub fn chunk(&self, index: usize) -> Chunk<'_> {
        Chunk { map: self, index }
    }

    /// The number of chunks.
    pub fn chunk_count(&self) -> usize {
        self.limits.len()
    }

    fn build(
        [volume, input_rows, output_rows]: [usize; 3],
        chunk_rows: usize,
        arena: &Arena,
        cancel: Cancel<'_>,
        neighbourhood: &impl Neighbourhood,
    ) -> Result<Self> {
        let (chunks, what) = (output_rows.div_ceil(chunk_rows), "a kernel map");
        let rows_of = |index: usize| index * chunk_rows..output_rows.min((index + 1) * chunk_rows);
        // The kernel offsets of every row, counted, then the pairs.
        let mut offsets = arena.filled(output_rows, 0_u128, what)?;
        let mut starts = arena.filled(chunks * volume + 1, 0_u64, what)?;
        let counted = offsets.par_chunks_mut(chunk_rows).zip(starts[1..].par_chunks_mut(volume)).enumerate();
        counted.try_for_each(|(index, (offsets, counts))| {
            cancel.check()?;
            neighbourhood.offsets(rows_of(index), offsets);
            for (offset, count) in counts.iter_mut().enumerate() {
                // Halves of a word each: shifts of whole masks would take most of the time.
                let half = |mask: &u128| (mask >> (offset / 64 * 64)) as u64;
                *count = offsets.iter().map(|mask| half(mask) >> (offset % 64) & 1).sum();
            }
            Ok::<(), Error>(())
        })?;
        let mut total = 0;
        for start in starts.iter_mut() {
            total += *start;
            *start = total;
        }
        let mut map = Self {
            volume,
            input_rows,
            output_rows,
            chunk_rows,
            pairs: arena.filled(total as usize, Pair { input: 0, output: 0 }, what)?,
            limits: arena.filled(chunks, [0; 2], what)?,
            homes: arena.filled(chunks, [0; 2], what)?,
            starts,
        };
        let mut parts: Buffer<(&mut [Pair], &mut [u32; 2], &mut [u32; 2])> = arena.with_capacity(chunks, what)?;
        let pairs_of = |chunk: usize| (map.starts[(chunk + 1) * volume] - map.starts[chunk * volume]) as usize;
        let pairs = arena::parts(&mut map.pairs, (0..chunks).map(pairs_of));
        let places = map.limits.iter_mut().zip(map.homes.iter_mut());
        parts.extend(pairs.zip(places).map(|(pairs, (limits, home))| (pairs, limits, home)));
        let starts = &map.starts[..];
        parts.par_iter_mut().zip(offsets.par_chunks(chunk_rows)).enumerate().try_for_each(
            |(index, (part, offsets))| {
                cancel.check()?;
                let (pairs, limits, home) = part;
                let rows = rows_of(index);
                let first = starts[index * volume];
                let mut next = [0; MOST_OFFSETS];
                next.iter_mut()
                    .zip(&starts[index * volume..])
                    .for_each(|(next, start)| *next = (start - first) as usize);
                let (mut low, mut high) = (u32::MAX, 0);
                neighbourhood.inputs(rows.clone(), offsets, |output, offset, input| {
                    pairs[next[offset]] = Pair { input, output: output as u32 };
                    next[offset] += 1;
                    low = low.min(input);
                    high = high.max(input + 1);
                });
                **limits = [high, rows.len() as u32];
                **home = if volume % 2 == 1 { [rows.start as u32, rows.end as u32] } else { [low.min(high), high] };
                Ok::<(), Error>(())
            },
        )?;
        drop(parts);
        Ok(map)
    }

    /// The number of pairs, which is the number of row products of a convolution.
    pub fn pair_count(&self) -> u64 {
        self.pairs.len() as u64
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        (size_of_val(&self.pairs[..]) + size_of_val(&self.starts[..]) + 2 * size_of_val(&self.limits[..])) as u64
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
        for index in 0..map.chunk_count() {
            for offset in 0..map.volume {
                let rows = (index * map.chunk_rows) as u32;
                all.extend(map.chunk(index).pairs(offset).iter().map(|p| (offset, p.input, p.output + rows)));
            }
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn submanifold_maps_are_what_a_dictionary_finds() {
        for (count, chunk_rows) in [(0, 64), (1, 64), (63, 64), (64, 64), (65, 64), (900, 37)] {
            let voxels =
                Voxels::from_cells(&[&cells(count), &cells(count / 2)], &Arena::default(), Cancel::default()).unwrap();
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
        let voxels = Voxels::from_cells(&[&cells(800)], &Arena::default(), Cancel::default()).unwrap();
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
