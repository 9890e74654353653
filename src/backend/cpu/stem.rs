//! The stem on constant ones: a table lookup per column of the kernel on the occupancy bits around a voxel.
//!
//! A 5x5x5 kernel is 25 rows along x of five occupancy bits; each row has a table of the 32 possible sums.

use super::convolution::Operands;
use super::level::CpuLevel;
use super::prepared::pack_shift;
use super::simd::{look_up, round};
use super::tensor::{LINE, Tensor};
use crate::arena::{self, Arena, Buffer};
use crate::backend::{Precision, Work};
use crate::error::{Error, Result, filled};
use crate::plan::Stem;
use crate::sparse::{Blocks, Levels, local_cell};
use rayon::prelude::*;

/// Edge of the largest kernel that a block's window covers.
const LARGEST: usize = 5;

/// The packed form of a [`Stem`].
pub(super) struct PackedStem {
    size: usize,
    /// Columns, whole lines.
    stride: usize,
    /// `[size²][2^size][stride]` sums of the weights whose bit is set, batch norm's scale folded in.
    table: Vec<f32>,
    shift: Vec<f32>,
}

impl PackedStem {
    pub(super) fn new(stem: &Stem) -> Result<Self> {
        let columns = stem.affine.scale.len();
        let (stride, patterns) = (columns.next_multiple_of(LINE), 1 << stem.size);
        let values = &stem.weight;
        let channels = values.len() / (stem.size.pow(3) * columns);
        let weight = |offset: usize, column: usize| -> f64 {
            (0..channels).map(|channel| f64::from(values.get((offset * channels + channel) * columns + column))).sum()
        };
        let mut table = filled(stem.size.pow(2) * patterns * stride, 0.0_f32, "the stem's table")?;
        for (entry, sums) in table.chunks_exact_mut(stride).enumerate() {
            let (row, pattern) = (entry / patterns, entry % patterns);
            for (column, sum) in sums.iter_mut().enumerate().take(columns) {
                let set = (0..stem.size).filter(|&x| pattern >> x & 1 == 1);
                let total: f64 = set.map(|x| weight(row * stem.size + x, column)).sum();
                *sum = (total * stem.affine.scale[column]) as f32;
            }
        }
        Ok(Self { size: stem.size, stride, table, shift: pack_shift(std::iter::once(&stem.affine)) })
    }

    /// Fills `output` and returns the work that the lookup stands for.
    pub(super) fn run(&self, run: &Operands<'_>, levels: &Levels, output: &mut Tensor) -> Result<Work> {
        let blocks = levels.blocks(0);
        let (stride, precision) = (output.stride, output.precision);
        let level = run.arithmetic.level;
        let mut rows_by_block = split_rows(output.as_mut_slice(), blocks, levels.arena(), stride)?;
        let lookups: u64 = rows_by_block
            .par_iter_mut()
            .with_min_len(16)
            .map(|(block, words)| {
                let block = *block;
                run.control.cancel.check()?;
                match precision {
                    Precision::F32 => Ok(self.run_block(level, blocks, block, words)),
                    Precision::Bf16 => run.workers.with(words.len() / stride * self.stride, |sums| {
                        let lookups = self.run_block(level, blocks, block, sums);
                        round(level, sums, None, false, words, [self.stride, stride]);
                        lookups
                    }),
                }
            })
            .try_reduce(|| 0, |a, b| Ok::<u64, Error>(a + b))?;
        drop(rows_by_block);
        Ok(Work { flop: 2 * lookups * output.channels as u64, bytes: output.bytes() })
    }

    /// Fills the rows of one block; returns the number of occupied neighbours met.
    fn run_block(&self, level: CpuLevel, blocks: &Blocks, block: usize, rows: &mut [f32]) -> u64 {
        let window = blocks.window(block);
        let patterns = 1 << self.size;
        let mut neighbours = 0;
        let mut entries = [0; LARGEST * LARGEST];
        for (cell, sums) in blocks.cells(block).zip(rows.chunks_exact_mut(self.stride)) {
            let cell = local_cell(cell);
            let mut count = 0;
            for dz in 0..self.size {
                for dy in 0..self.size {
                    let pattern = window.line(cell, self.size, [dy, dz]);
                    neighbours += u64::from(pattern.count_ones());
                    // The entry of no neighbour is zero.
                    entries[count] = ((dy + self.size * dz) * patterns + pattern) as u32;
                    count += usize::from(pattern != 0);
                }
            }
            look_up(level, &self.shift, &self.table, &entries[..count], sums);
        }
        neighbours
    }
}

/// Cuts the output rows at the block boundaries.
fn split_rows<'a>(
    rows: &'a mut [f32],
    blocks: &Blocks,
    arena: &Arena,
    stride: usize,
) -> Result<Buffer<(usize, &'a mut [f32])>> {
    let mut parts = arena.with_capacity(blocks.len(), "the rows by block")?;
    parts.extend(arena::parts(rows, (0..blocks.len()).map(|block| blocks.rows(block).len() * stride)).enumerate());
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::super::arithmetic::Arithmetic;
    use super::super::coordinates::CoordinateMaps;
    use super::super::tensor::Workers;
    use super::*;
    use crate::arena::nothing;
    use crate::backend::Control;
    use crate::cancel::Cancel;
    use crate::plan::{Affine, TensorId, Weight};
    use crate::sparse::{KernelMap, Voxels};
    use std::sync::Arc;

    #[test]
    fn lookup_equals_the_convolution_of_ones() {
        let cells: Vec<[u32; 3]> = (0..700_u32).map(|i| [i * 7919 % 14, i * 104_729 % 13, i * 31 % 12]).collect();
        for (size, columns) in [(5, 20), (3, 32)] {
            let volume = usize::pow(size, 3);
            let value = |i: usize| ((i * 2_654_435_761) % 1009) as f32 / 504.5 - 1.0;
            let values: Vec<f32> = (0..volume * 3 * columns).map(value).collect();
            let scale: Vec<f64> = (0..columns).map(|c| 0.5 + c as f64 / 16.0).collect();
            let shift: Vec<f64> = (0..columns).map(|c| c as f64 / 8.0 - 1.0).collect();
            let stem = Stem {
                name: "stem".into(),
                size,
                weight: Arc::new(Weight::f32([volume, 3, columns], values.clone())),
                affine: Affine { scale: scale.clone(), shift: shift.clone() },
                output: TensorId(0),
            };
            let voxels = Voxels::from_cells(&[&cells], &Arena::default(), Cancel::default()).unwrap();
            let levels = Levels::new(voxels.keys, 5, Cancel::default()).unwrap();
            let map = KernelMap::submanifold(&levels, 0, size, 1 << 20, Cancel::default()).unwrap();
            let maps = CoordinateMaps { levels: levels.clone(), kernel_maps: nothing() };
            let outputs: Vec<Tensor> = CpuLevel::available(Precision::F32)
                .map(|level| {
                    let run = Operands {
                        arithmetic: Arithmetic::new(level, Precision::F32),
                        workers: &Workers::new(1),
                        tensors: &[],
                        maps: &maps,
                        control: Control::default(),
                    };
                    let rows = levels.level(0).len();
                    let mut output = Tensor::zeroed(rows, columns, Precision::F32);
                    output.as_mut_slice().fill(f32::NAN);
                    let work = PackedStem::new(&stem).unwrap().run(&run, &levels, &mut output).unwrap();
                    assert_eq!(work.flop, 2 * map.pair_count() * columns as u64);
                    output
                })
                .collect();
            let mut want = vec![0.0_f64; outputs[0].rows * columns];
            for offset in 0..volume {
                for pair in map.chunk(0).pairs(offset).iter() {
                    for column in 0..columns {
                        let channel = |c: usize| f64::from(values[(offset * 3 + c) * columns + column]);
                        want[pair.output as usize * columns + column] += (0..3).map(channel).sum::<f64>();
                    }
                }
            }
            for (index, sum) in want.into_iter().enumerate() {
                let (row, column) = (index / columns, index % columns);
                let want = (sum * scale[column] + shift[column]).max(0.0);
                for output in &outputs {
                    assert!((f64::from(output.row(row)[column]) - want).abs() < 2e-5 * (1.0 + want.abs()));
                }
            }
        }
    }
}
