//! One fused convolution: shift, residual, every source and offset, ReLU, chunk by chunk.
//!
//! A chunk's output rows stay in the L2 cache of the one thread that owns it while each offset's weights pass by.

use super::ahead::{Ahead, STEP_CHANNELS};
use super::level::CpuLevel;
use super::packed::{Packed, Panel};
use super::prepared::{pack_product, pack_shift};
use super::simd::{RowProduct, Start};
use super::tensor::{LINE, Tensor};
use crate::backend::{Control, Work};
use crate::error::{Error, Result};
use crate::plan::{Convolution, Geometry, Plan, TensorId};
use crate::sparse::KernelMap;
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;

/// One source of a product.
struct Operand {
    geometry: Geometry,
    tensor: TensorId,
    weights: Packed,
}

/// One kernel offset of one operand.
#[derive(Debug, Clone, PartialEq)]
struct Term {
    operand: usize,
    offset: usize,
    /// Input channels.
    channels: Range<usize>,
    /// Whether the sums begin here, from the shift.
    begins: bool,
    /// Whether they are complete, ready for ReLU.
    ends: bool,
}

/// The packed form of a [`Convolution`].
pub(super) struct PackedConvolution {
    operands: Vec<Operand>,
    /// In order of execution.
    terms: Vec<Term>,
    /// Padded to whole lines.
    shift: Vec<f32>,
    residual: Option<TensorId>,
    relu: bool,
}

/// What the convolutions of a run share.
pub(super) struct Operands<'a> {
    pub(super) level: CpuLevel,
    /// Tensors by number; those not live are empty.
    pub(super) tensors: &'a [Tensor],
    pub(super) maps: &'a HashMap<Geometry, KernelMap>,
    pub(super) control: Control<'a>,
}

/// Which terms of an operand meet each output row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coverage {
    /// The centre offset meets each row.
    Centre(usize),
    /// Exactly one offset meets each row.
    One,
    /// Some offsets meet each row.
    Some,
}

fn coverage(geometry: Geometry) -> Coverage {
    match geometry {
        Geometry::Submanifold { .. } => Coverage::Centre(geometry.volume() / 2),
        Geometry::Transposed { .. } => Coverage::One,
        Geometry::Strided { .. } => Coverage::Some,
    }
}

/// The terms of operands with the given geometries and channels, in an order in which a term that meets every row comes
/// first and another last where there are such: they start the sums from the shift and end them with ReLU without
/// another pass over the rows. A single centre is cut in two between its channels for that.
fn schedule(operands: &[(Geometry, usize)]) -> Vec<Term> {
    let term = |operand: usize, offset: usize| Term {
        operand,
        offset,
        channels: 0..operands[operand].1,
        begins: false,
        ends: false,
    };
    let (mut centres, mut terms) = (Vec::new(), Vec::new());
    for (operand, &(geometry, _)) in operands.iter().enumerate() {
        for offset in 0..geometry.volume() {
            match coverage(geometry) == Coverage::Centre(offset) {
                true => centres.push(term(operand, offset)),
                false => terms.push(term(operand, offset)),
            }
        }
    }
    if let [centre] = &mut centres[..] {
        let half = centre.channels.end / 2 / LINE * LINE;
        if half > 0 {
            let second = Term { channels: half..centre.channels.end, ..centre.clone() };
            centre.channels.end = half;
            centres.push(second);
        }
    }
    let mut centres = centres.into_iter();
    if let Some(first) = centres.next() {
        let last = centres.next_back().map(|last| Term { ends: true, ..last });
        let begin = std::iter::once(Term { begins: true, ..first });
        terms = begin.chain(centres).chain(terms).chain(last).collect();
    } else if operands.iter().all(|&(geometry, _)| coverage(geometry) == Coverage::One) {
        for term in &mut terms {
            term.begins = term.operand == 0;
            term.ends = term.operand == operands.len() - 1;
        }
    }
    terms
}

impl PackedConvolution {
    pub(super) fn new(level: CpuLevel, plan: &Plan, convolution: &Convolution) -> Result<Self> {
        let products = || std::iter::once(&convolution.main).chain(&convolution.shortcut);
        let mut operands = Vec::new();
        for product in products() {
            for (tensor, weights) in pack_product(level, plan, product)? {
                operands.push(Operand { geometry: product.geometry, tensor, weights });
            }
        }
        let shapes: Vec<_> = operands.iter().map(|operand| (operand.geometry, operand.weights.channels)).collect();
        Ok(Self {
            operands,
            terms: schedule(&shapes),
            shift: pack_shift(products().map(|p| &p.affine)),
            residual: convolution.residual,
            relu: convolution.relu,
        })
    }

    /// Fills `output` and returns what the products took.
    pub(super) fn run(&self, run: &Operands<'_>, output: &mut Tensor) -> Result<Work> {
        let map = |operand: &Operand| {
            run.maps.get(&operand.geometry).ok_or_else(|| Error::internal(format!("no map for {:?}", operand.geometry)))
        };
        let maps = self.operands.iter().map(map).collect::<Result<Vec<_>>>()?;
        let Some(first) = maps.first() else { return Err(Error::internal("a convolution without a product")) };
        let (chunk_rows, stride) = (first.chunk_rows, output.stride);
        output.as_mut_slice().par_chunks_mut(chunk_rows * stride).enumerate().try_for_each(|(index, rows)| {
            let mut chunk = ChunkRun { convolution: self, run, maps: &maps, index, stride, rows };
            chunk.run()
        })?;
        let mut work = Work { flop: 0, bytes: output.bytes() };
        for (operand, map) in self.operands.iter().zip(&maps) {
            work.flop += 2 * map.pair_count() * operand.weights.c_in as u64 * output.channels as u64;
            work.bytes += run.tensors[operand.tensor.0].bytes() + operand.weights.bytes();
        }
        work.bytes += self.residual.map_or(0, |residual| run.tensors[residual.0].bytes());
        Ok(work)
    }
}

/// One chunk of output rows.
struct ChunkRun<'a> {
    convolution: &'a PackedConvolution,
    run: &'a Operands<'a>,
    /// By operand.
    maps: &'a [&'a KernelMap],
    index: usize,
    stride: usize,
    rows: &'a mut [f32],
}

impl<'a> ChunkRun<'a> {
    fn run(&mut self) -> Result<()> {
        let (convolution, run) = (self.convolution, self.run);
        let residual = convolution.residual.map(|residual| self.values_of(self.index, &run.tensors[residual.0]));
        let started = convolution.terms.iter().any(|term| term.begins);
        if !started {
            self.rows.chunks_exact_mut(self.stride).for_each(|row| row.copy_from_slice(&convolution.shift));
            if let Some(residual) = residual {
                self.rows.iter_mut().zip(residual).for_each(|(v, r)| *v += r);
            }
        }
        let mut ahead = self.ahead();
        for &panel in convolution.operands.first().map_or(&[][..], |operand| &operand.weights.panels) {
            for term in &convolution.terms {
                run.control.cancel.check()?;
                let start = match term.begins {
                    true => Start::Shift { shift: &convolution.shift, residual },
                    false => Start::Output,
                };
                self.add(term, panel, start, &mut ahead);
            }
        }
        if convolution.relu && !convolution.terms.iter().any(|term| term.ends) {
            relu(self.rows);
        }
        Ok(())
    }

    fn add(&mut self, term: &Term, panel: Panel, start: Start<'_>, ahead: &mut Ahead) {
        let operand = &self.convolution.operands[term.operand];
        let input = &self.run.tensors[operand.tensor.0];
        let pairs = self.maps[term.operand].chunks[self.index].pairs(term.offset);
        if pairs.is_empty() {
            return;
        }
        let weights = operand.weights.block(term.offset, panel);
        let mut product = RowProduct {
            input: input.as_slice(),
            input_stride: input.stride,
            channels: term.channels.clone(),
            weights: &weights[term.channels.start * panel.width..term.channels.end * panel.width],
            ahead,
            output: self.rows,
            output_stride: self.stride,
            column: panel.column,
            width: panel.width,
            start,
            relu: self.convolution.relu && term.ends,
        };
        product.accumulate(self.run.level, pairs);
    }

    /// The values of chunk `index` of a tensor of the output's shape; none past the last.
    fn values_of(&self, index: usize, tensor: &'a Tensor) -> &'a [f32] {
        let values = tensor.as_slice();
        let start = |index: usize| values.len().min(index * self.maps[0].chunk_rows * self.stride);
        &values[start(index)..start(index + 1)]
    }

    /// What the next chunk will touch first.
    fn ahead(&self) -> Ahead {
        let mut ahead = Ahead::default();
        let (mut steps, next) = (0, self.index + 1);
        for (operand, map) in self.convolution.operands.iter().zip(self.maps) {
            let input = &self.run.tensors[operand.tensor.0];
            let home = map.chunks.get(next).map_or(0..0, |chunk| chunk.home.clone());
            let rows = &input.as_slice()[home.start as usize * input.stride..home.end as usize * input.stride];
            ahead.add(rows.as_ptr(), rows.len());
            steps += map.chunks[self.index].pair_count() * operand.weights.channels * operand.weights.panels.len();
        }
        if let Some(residual) = self.convolution.residual {
            let rows = self.values_of(next, &self.run.tensors[residual.0]);
            ahead.add(rows.as_ptr(), rows.len());
        }
        let next_rows = self.maps[0].output_rows.saturating_sub(next * self.maps[0].chunk_rows);
        ahead.add(self.rows.as_ptr_range().end, next_rows.min(self.maps[0].chunk_rows) * self.stride);
        ahead.pace(steps / (8 * STEP_CHANNELS));
        ahead
    }
}

/// Negative values become 0; NaN stays, so that a fault upstream shows.
pub(super) fn relu(values: &mut [f32]) {
    values.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every weight is used once; what begins and what ends meets every row.
    #[test]
    fn schedules_use_every_weight_once() {
        let full = Geometry::Submanifold { level: 0, size: 3 };
        let point = Geometry::Submanifold { level: 0, size: 1 };
        let cases = [
            (vec![(full, 96)], [1, 1]),
            (vec![(full, 16)], [1, 0]),
            (vec![(full, 96), (full, 32)], [1, 1]),
            (vec![(full, 96), (point, 128), (point, 32)], [1, 1]),
            (vec![(point, 16)], [1, 0]),
            (vec![(Geometry::Strided { to: 1 }, 32)], [0, 0]),
            (vec![(Geometry::Transposed { to: 0 }, 32)], [8, 8]),
            (vec![(Geometry::Transposed { to: 0 }, 32), (Geometry::Transposed { to: 0 }, 16)], [8, 8]),
        ];
        for (operands, [begin, end]) in cases {
            let terms = schedule(&operands);
            for (operand, &(geometry, channels)) in operands.iter().enumerate() {
                for offset in 0..geometry.volume() {
                    let of = terms.iter().filter(|term| term.operand == operand && term.offset == offset);
                    let mut used: Vec<usize> = of.flat_map(|term| term.channels.clone()).collect();
                    used.sort_unstable();
                    assert_eq!(used, (0..channels).collect::<Vec<_>>(), "{operands:?}");
                }
            }
            let marked = |mark: fn(&Term) -> bool| terms.iter().filter(|term| mark(term)).count();
            assert_eq!([marked(|term| term.begins), marked(|term| term.ends)], [begin, end], "{operands:?}");
            let partial = |term: &&Term| {
                coverage(operands[term.operand].0) == Coverage::Some
                    || matches!(coverage(operands[term.operand].0), Coverage::Centre(centre) if centre != term.offset)
            };
            assert!(!terms.iter().filter(partial).any(|term| term.begins || term.ends), "{operands:?}");
            if let Some(Term { operand, .. }) = terms.first().filter(|_| begin == 1) {
                assert!(terms[0].begins && *operand == 0 && (end == 0 || terms[terms.len() - 1].ends), "{operands:?}");
            }
        }
    }
}
