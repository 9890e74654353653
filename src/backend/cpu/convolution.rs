//! One fused convolution: shift, residual, every source and offset, ReLU, chunk by chunk.
//!
//! A chunk's output rows stay in the L2 cache of the one thread that owns it while each offset's weights pass by.

use super::ahead::Ahead;
use super::arithmetic::Arithmetic;
use super::coordinates::CoordinateMaps;
use super::packed::Packed;
use super::prepared::{pack_product, pack_shift};
use super::simd::{RowProduct, Start, bf16_numbers, fetch_steps, panels_together, round};
use super::tensor::{LINE, Tensor, Workers};
use crate::backend::{Control, Precision, Work};
use crate::error::{Error, Result};
use crate::plan::{Convolution, Geometry, Plan, TensorId};
use crate::sparse::KernelMap;
use rayon::prelude::*;
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
    /// Of an input row.
    words: Range<usize>,
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
    pub(super) arithmetic: Arithmetic,
    pub(super) workers: &'a Workers,
    /// Tensors by number; those not live are empty.
    pub(super) tensors: &'a [Tensor],
    pub(super) maps: &'a CoordinateMaps,
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

/// The terms of operands with the given geometries and words per row, in an order in which a term that meets every row comes
/// first and another last where there are such: they start the sums from the shift and end them with ReLU without
/// another pass over the rows. A single centre is cut in two between its words for that.
fn schedule(operands: &[(Geometry, usize)]) -> Vec<Term> {
    let term = |operand: usize, offset: usize| Term {
        operand,
        offset,
        words: 0..operands[operand].1,
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
        let half = centre.words.end / 2 / LINE * LINE;
        if half > 0 {
            let second = Term { words: half..centre.words.end, ..centre.clone() };
            centre.words.end = half;
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
    pub(super) fn new(arithmetic: Arithmetic, plan: &Plan, convolution: &Convolution) -> Result<Self> {
        let products = || std::iter::once(&convolution.main).chain(&convolution.shortcut);
        let mut operands = Vec::new();
        for product in products() {
            for (tensor, weights) in pack_product(arithmetic, plan, product)? {
                operands.push(Operand { geometry: product.geometry, tensor, weights });
            }
        }
        let shapes: Vec<_> = operands.iter().map(|operand| (operand.geometry, operand.weights.words)).collect();
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
        let arena = run.maps.levels.arena();
        let mut maps = arena.with_capacity(self.operands.len(), "the maps of a convolution")?;
        for operand in &self.operands {
            maps.push(run.maps.map(operand.geometry)?);
        }
        let Some(&first) = maps.first() else { return Err(Error::internal("a convolution without a product")) };
        let (chunk_rows, stride, precision) = (first.chunk_rows, output.stride, output.precision);
        output.as_mut_slice().par_chunks_mut(chunk_rows * stride).enumerate().try_for_each(|(index, words)| {
            let chunk = Chunk { convolution: self, run, maps: &maps, index, rows: words.len() / stride };
            match precision {
                Precision::F32 => chunk.fill(words),
                Precision::Bf16 => chunk.fill_rounded(words),
            }
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
struct Chunk<'a> {
    convolution: &'a PackedConvolution,
    run: &'a Operands<'a>,
    /// By operand.
    maps: &'a [&'a KernelMap],
    index: usize,
    rows: usize,
}

impl<'a> Chunk<'a> {
    /// Fills FP32 rows.
    fn fill(&self, rows: &mut [f32]) -> Result<()> {
        let (relu, mut ahead) = (self.convolution.relu, self.ahead(rows));
        match self.residual(self.index) {
            Some((residual, Precision::Bf16)) => {
                self.sum(rows, None, false, &mut ahead)?;
                add_words(rows, residual, relu, [self.columns(), residual.len() / self.rows]);
                Ok(())
            }
            residual => self.sum(rows, residual.map(|(rows, _)| rows), relu, &mut ahead),
        }
    }

    /// Fills BF16 rows: sums are rounded once, when they are complete.
    fn fill_rounded(&self, words: &mut [f32]) -> Result<()> {
        let (strides, mut ahead) = ([self.columns(), words.len() / self.rows], self.ahead(words));
        self.run.workers.with(self.rows * self.columns(), |sums| {
            self.sum(sums, None, false, &mut ahead)?;
            let residual = self.residual(self.index).map(|(words, _)| words);
            round(self.run.arithmetic.level, sums, residual, self.convolution.relu, words, strides);
            Ok(())
        })?
    }

    /// Columns padded to whole lines: what separates rows of sums.
    fn columns(&self) -> usize {
        self.convolution.shift.len()
    }

    /// `sums = shift + residual + products`, then ReLU if wanted.
    fn sum(&self, sums: &mut [f32], residual: Option<&[f32]>, relu: bool, ahead: &mut Ahead) -> Result<()> {
        let (convolution, run) = (self.convolution, self.run);
        if !convolution.terms.iter().any(|term| term.begins) {
            sums.chunks_exact_mut(self.columns()).for_each(|row| row.copy_from_slice(&convolution.shift));
            if let Some(residual) = residual {
                sums.iter_mut().zip(residual).for_each(|(v, r)| *v += r);
            }
        }
        let panels = convolution.operands.first().map_or(&[][..], |operand| &operand.weights.panels);
        for panels in panels.chunks(panels_together(run.arithmetic)) {
            for term in &convolution.terms {
                run.control.cancel.check()?;
                let start = match term.begins {
                    true => Start::Shift { shift: &convolution.shift, residual },
                    false => Start::Output,
                };
                let operand = &convolution.operands[term.operand];
                let input = &run.tensors[operand.tensor.0];
                let pairs = self.maps[term.operand].chunk(self.index).pairs(term.offset);
                if pairs.is_empty() {
                    continue;
                }
                let mut product = RowProduct {
                    input: input.as_slice(),
                    input_stride: input.stride,
                    words: term.words.clone(),
                    weights: operand.weights.blocks(term.offset, panels),
                    ahead,
                    output: sums,
                    output_stride: self.columns(),
                    panels,
                    start,
                    relu: relu && term.ends,
                };
                product.accumulate(run.arithmetic, pairs);
            }
        }
        if relu && !convolution.terms.iter().any(|term| term.ends) {
            self::relu(sums);
        }
        Ok(())
    }

    /// The rows of the residual, if there is one, that belong to chunk `index`; none past the last.
    fn residual(&self, index: usize) -> Option<(&'a [f32], Precision)> {
        let tensor = &self.run.tensors[self.convolution.residual?.0];
        let start = |index: usize| tensor.rows.min(index * self.maps[0].chunk_rows) * tensor.stride;
        Some((&tensor.as_slice()[start(index)..start(index + 1)], tensor.precision))
    }

    /// What the next chunk will touch first; `output` is what this one fills.
    fn ahead(&self, output: &[f32]) -> Ahead {
        let mut ahead = Ahead::default();
        let (mut steps, next) = (0, self.index + 1);
        for (operand, map) in self.convolution.operands.iter().zip(self.maps) {
            let input = &self.run.tensors[operand.tensor.0];
            let home = if next < map.chunk_count() { map.chunk(next).home() } else { 0..0 };
            let rows = &input.as_slice()[home.start * input.stride..home.end * input.stride];
            ahead.add(rows.as_ptr(), rows.len());
            let pairs = map.chunk(self.index).pair_count();
            steps += fetch_steps(self.run.arithmetic, pairs, operand.weights.words * operand.weights.panels.len());
        }
        if let Some((rows, _)) = self.residual(next) {
            ahead.add(rows.as_ptr(), rows.len());
        }
        let next_rows = self.maps[0].output_rows.saturating_sub(next * self.maps[0].chunk_rows);
        let stride = output.len() / self.rows;
        ahead.add(output.as_ptr_range().end, next_rows.min(self.maps[0].chunk_rows) * stride);
        ahead.pace(steps);
        ahead
    }
}

/// `sums += words`, where words are BF16 pairs, then ReLU if wanted.
fn add_words(sums: &mut [f32], words: &[f32], relu: bool, strides: [usize; 2]) {
    for (sums, words) in sums.chunks_exact_mut(strides[0]).zip(words.chunks_exact(strides[1])) {
        sums.iter_mut().zip(words.iter().copied().flat_map(bf16_numbers)).for_each(|(v, r)| *v += r);
    }
    if relu {
        self::relu(sums);
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
            for (operand, &(geometry, words)) in operands.iter().enumerate() {
                for offset in 0..geometry.volume() {
                    let of = terms.iter().filter(|term| term.operand == operand && term.offset == offset);
                    let mut used: Vec<usize> = of.flat_map(|term| term.words.clone()).collect();
                    used.sort_unstable();
                    assert_eq!(used, (0..words).collect::<Vec<_>>(), "{operands:?}");
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
