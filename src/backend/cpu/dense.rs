//! A dense product with weights kept at the width they are stored at: a panel at a time becomes FP32 while it is used.

use super::ahead::Ahead;
use super::arithmetic::Arithmetic;
use super::linear::SAME_ROW;
use super::packed::{Panel, panels};
use super::simd::{RowProduct, Start};
use super::tensor::{Buffer, LINE, Tensor, Workers};
use crate::error::{Error, Result, collected, with_capacity};
use crate::plan::{Dense, Weight, WeightData};
use crate::sparse::Pairs;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

/// `[channels][width]` weights of one panel.
enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
}

/// `x · weightᵀ + bias` in packed form.
pub(super) struct PackedDense {
    /// In FP32.
    arithmetic: Arithmetic,
    /// Values of an input row, and those with its padding to whole lines.
    inputs: usize,
    channels: usize,
    columns: usize,
    panels: Vec<(Panel, Values)>,
    /// `[columns]`, padded to whole lines.
    bias: Vec<f32>,
}

/// What a panel's product gave: `[rows][width]`.
pub(super) struct PanelRows {
    panel: Panel,
    rows: Buffer,
}

impl PackedDense {
    /// Packs `dense`, whose matrices must be as wide as one another; where their widths in bytes differ, FP32 holds all.
    pub(super) fn new(arithmetic: Arithmetic, dense: Dense) -> Result<Self> {
        let (inputs, columns) = (dense.inputs(), dense.columns());
        let packed: Vec<(Panel, Values)> = panels(arithmetic, columns)
            .into_par_iter()
            .map(|panel| Ok((panel, pack(&dense, panel)?)))
            .collect::<Result<_>>()?;
        let bias = |column: usize| dense.bias.get(column).copied().unwrap_or(0.0);
        let bias = collected((0..columns.next_multiple_of(LINE)).map(bias), "the bias")?;
        Ok(Self { arithmetic, inputs, channels: inputs.next_multiple_of(LINE), columns, panels: packed, bias })
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn bytes(&self) -> u64 {
        let values = |values: &Values| match values {
            Values::F32(values) => size_of_val(&values[..]),
            Values::F16(values) => size_of_val(&values[..]),
            Values::BF16(values) => size_of_val(&values[..]),
        };
        self.panels.iter().map(|(_, panel)| values(panel) as u64).sum::<u64>() + 4 * self.bias.len() as u64
    }

    /// The product with every row of `input`, whose padding must be 0, panel by panel.
    /// Each row's sums are the same whatever rows stand beside it.
    pub(super) fn apply(&self, input: &Tensor, workers: &Workers) -> Result<Vec<PanelRows>> {
        if input.channels != self.inputs {
            return Err(Error::internal(format!("{} channels for a product of {}", input.channels, self.inputs)));
        }
        if self.panels.iter().any(|(_, values)| !matches!(values, Values::F32(_))) {
            let widest = self.panels.iter().map(|(panel, _)| panel.width).max().unwrap_or(0);
            workers.reserve(self.channels * widest)?;
        }
        let widen = |panel: &Panel, values: &Values| {
            let Values::F32(values) = values else {
                let product = workers.with(self.channels * panel.width, |wide| {
                    match values {
                        Values::F16(values) => values.convert_to_f32_slice(wide),
                        Values::BF16(values) => values.convert_to_f32_slice(wide),
                        Values::F32(values) => wide.copy_from_slice(values),
                    }
                    self.apply_panel(input, *panel, wide)
                });
                return product?;
            };
            self.apply_panel(input, *panel, values)
        };
        self.panels.par_iter().map(|(panel, values)| widen(panel, values)).collect()
    }

    fn apply_panel(&self, input: &Tensor, panel: Panel, weights: &[f32]) -> Result<PanelRows> {
        let mut rows = Buffer::zeroed(input.rows * panel.width, "the rows of a product")?;
        let mut product = RowProduct {
            input: input.as_slice(),
            input_stride: input.stride,
            words: 0..self.channels,
            weights,
            ahead: &mut Ahead::default(),
            output: rows.as_mut_slice(),
            output_stride: panel.width,
            panels: &[Panel { column: 0, width: panel.width }],
            start: Start::Shift { shift: &self.bias[panel.column..], residual: None },
            relu: false,
        };
        product.accumulate(self.arithmetic, Pairs::new(&SAME_ROW[..input.rows]));
        Ok(PanelRows { panel, rows })
    }
}

/// Hands every row of `output` with the panels' values for it, in order of columns, to `finish`.
pub(super) fn finish_rows(panels: &[PanelRows], output: &mut Tensor, finish: impl Fn(&mut [f32], &[f32]) + Sync) {
    let (stride, channels) = (output.stride, output.channels);
    output.as_mut_slice().par_chunks_exact_mut(stride).enumerate().for_each(|(row, output)| {
        for PanelRows { panel, rows } in panels {
            let width = panel.width.min(channels - panel.column);
            let values = &rows.as_slice()[row * panel.width..][..width];
            finish(&mut output[panel.column..panel.column + width], values);
        }
    });
}

/// The weights of one panel's columns, transposed.
fn pack(dense: &Dense, panel: Panel) -> Result<Values> {
    let kind = |weight: &WeightData| std::mem::discriminant(weight);
    let first = dense.weights.first().map(|weight| &weight.data);
    let same = dense.weights.iter().all(|weight| first.is_some_and(|first| kind(first) == kind(&weight.data)));
    match first {
        Some(WeightData::F16(_)) if same => Ok(Values::F16(transposed(dense, panel, f16::from_f32)?)),
        Some(WeightData::BF16(_)) if same => Ok(Values::BF16(transposed(dense, panel, bf16::from_f32)?)),
        _ => Ok(Values::F32(transposed(dense, panel, |value| value)?)),
    }
}

fn transposed<T: Copy>(dense: &Dense, panel: Panel, narrow: impl Fn(f32) -> T) -> Result<Vec<T>> {
    let inputs = dense.inputs();
    let channels = inputs.next_multiple_of(LINE);
    // Where each column's row of weights is: its matrix and the index of its first value.
    let mut sources = with_capacity(panel.width, "the weights of a panel")?;
    for column in panel.column..panel.column + panel.width {
        let mut before = 0;
        let holds = |weight: &&Weight| {
            before += weight.shape[0];
            column < before
        };
        let weight = dense.weights.iter().find(holds);
        sources.push(weight.map(|weight| (weight, (column + weight.shape[0] - before) * inputs)));
    }
    let mut values = with_capacity(channels * panel.width, "the packed weights")?;
    for channel in 0..channels {
        let value = |source: &Option<(&Weight, usize)>| {
            let source = source.filter(|_| channel < inputs);
            narrow(source.map_or(0.0, |(weight, start)| weight.get(start + channel)))
        };
        values.extend(sources.iter().map(value));
    }
    Ok(values)
}
