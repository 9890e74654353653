//! One fused convolution: shift and residual first, then every source and offset, then ReLU, chunk by chunk.
//!
//! A chunk's output rows stay in the L2 cache of the one thread that owns it while each offset's weights pass by.

use super::level::CpuLevel;
use super::packed::Packed;
use super::prepared::{pack_product, pack_shift};
use super::simd::RowProduct;
use super::tensor::Tensor;
use crate::backend::{Control, Work};
use crate::error::{Error, Result};
use crate::plan::{Convolution, Geometry, Plan, TensorId};
use crate::sparse::{Chunk, KernelMap};
use rayon::prelude::*;
use std::collections::HashMap;

/// Negative values become 0; NaN stays, so that a fault upstream shows.
pub(super) fn relu(values: &mut [f32]) {
    values.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v });
}

/// A product's packed weights by source.
struct PackedProduct {
    geometry: Geometry,
    sources: Vec<(TensorId, Packed)>,
}

/// The packed form of a [`Convolution`].
pub(super) struct PackedConvolution {
    products: Vec<PackedProduct>,
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

impl Operands<'_> {
    fn map(&self, geometry: Geometry) -> Result<&KernelMap> {
        self.maps.get(&geometry).ok_or_else(|| Error::internal(format!("no kernel map for {geometry:?}")))
    }
}

impl PackedConvolution {
    pub(super) fn new(level: CpuLevel, plan: &Plan, convolution: &Convolution) -> Result<Self> {
        let products = || std::iter::once(&convolution.main).chain(&convolution.shortcut);
        Ok(Self {
            products: products()
                .map(|p| Ok(PackedProduct { geometry: p.geometry, sources: pack_product(level, plan, p)? }))
                .collect::<Result<_>>()?,
            shift: pack_shift(products().map(|p| &p.affine)),
            residual: convolution.residual,
            relu: convolution.relu,
        })
    }

    /// Fills `output` and returns what the products took.
    pub(super) fn run(&self, operands: &Operands<'_>, output: &mut Tensor) -> Result<Work> {
        let maps = self.products.iter().map(|p| operands.map(p.geometry)).collect::<Result<Vec<_>>>()?;
        let Some(first) = maps.first() else { return Err(Error::internal("a convolution without a product")) };
        let (chunk_rows, stride) = (first.chunk_rows, output.stride);
        output.as_mut_slice().par_chunks_mut(chunk_rows * stride).enumerate().try_for_each(|(index, rows)| {
            operands.control.cancel.check()?;
            self.initialise(operands, index * chunk_rows, rows, stride);
            for (product, map) in self.products.iter().zip(&maps) {
                product.accumulate(operands, &map.chunks[index], rows, stride)?;
            }
            if self.relu {
                relu(rows);
            }
            Ok::<(), Error>(())
        })?;
        let flop = |(product, map): (&PackedProduct, &&KernelMap)| 2 * map.pair_count() * product.channels() as u64;
        let per_column: u64 = self.products.iter().zip(&maps).map(flop).sum();
        let sources = self.products.iter().flat_map(|product| &product.sources);
        let read: u64 = sources.map(|(source, packed)| operands.tensors[source.0].bytes() + packed.bytes()).sum();
        let residual = self.residual.map_or(0, |residual| operands.tensors[residual.0].bytes());
        Ok(Work { flop: per_column * output.channels as u64, bytes: read + residual + output.bytes() })
    }

    /// Starts every row of a chunk from shift plus residual; nothing of what the buffer held before remains.
    fn initialise(&self, operands: &Operands<'_>, first_row: usize, rows: &mut [f32], stride: usize) {
        for row in rows.chunks_exact_mut(stride) {
            row.copy_from_slice(&self.shift);
        }
        if let Some(residual) = self.residual {
            let start = first_row * stride;
            let residual = &operands.tensors[residual.0].as_slice()[start..start + rows.len()];
            rows.iter_mut().zip(residual).for_each(|(v, r)| *v += r);
        }
    }
}

impl PackedProduct {
    fn channels(&self) -> usize {
        self.sources.iter().map(|(_, packed)| packed.c_in).sum()
    }

    fn accumulate(&self, operands: &Operands<'_>, chunk: &Chunk, rows: &mut [f32], stride: usize) -> Result<()> {
        for (source, packed) in &self.sources {
            let input = &operands.tensors[source.0];
            for &panel in &packed.panels {
                for offset in 0..self.geometry.volume() {
                    let pairs = chunk.pairs(offset);
                    if pairs.is_empty() {
                        continue;
                    }
                    operands.control.cancel.check()?;
                    let mut product = RowProduct {
                        input: input.as_slice(),
                        input_stride: input.stride,
                        c_in: packed.c_in,
                        weights: packed.block(offset, panel),
                        output: rows,
                        output_stride: stride,
                        column: panel.column,
                        width: panel.width,
                    };
                    product.accumulate(operands.level, pairs);
                }
            }
        }
        Ok(())
    }
}
