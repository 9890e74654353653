//! A dense product over the trunk's rows, a block of rows at a time, so that no `[n, columns]` matrix need exist.

use super::ahead::Ahead;
use super::arithmetic::Arithmetic;
use super::packed::Packed;
use super::simd::{RowProduct, Start, panels_together};
use super::tensor::{LINE, Tensor};
use crate::backend::Work;
use crate::error::{Result, collected};
use crate::sparse::{Pair, Pairs};

/// `trunk · weight + bias` in packed form.
#[derive(Debug)]
pub(super) struct Linear {
    arithmetic: Arithmetic,
    packed: Packed,
    columns: usize,
    /// Padded to whole lines.
    bias: Vec<f32>,
}

impl Linear {
    /// From the `[rows, columns]` weight and `[columns]` bias that the functions give.
    pub(super) fn new(
        arithmetic: Arithmetic,
        rows: usize,
        columns: usize,
        weight: impl Fn(usize, usize) -> f32,
        bias: impl Fn(usize) -> f32,
    ) -> Result<Self> {
        let packed = Packed::new(arithmetic, 1, rows, columns, |_, row, column| weight(row, column))?;
        let padded =
            (0..columns.next_multiple_of(LINE)).map(|column| if column < columns { bias(column) } else { 0.0 });
        let bias = collected(padded, "the bias")?;
        Ok(Self { arithmetic, packed, columns, bias })
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Floats from one row of a result to the next.
    pub(super) fn stride(&self) -> usize {
        self.bias.len()
    }

    /// What applying it to `trunk` takes, results not stored.
    pub(super) fn work(&self, trunk: &Tensor) -> Work {
        let flop = 2 * trunk.rows as u64 * self.packed.c_in as u64 * self.columns as u64;
        Work { flop, bytes: self.packed.bytes() + trunk.bytes() }
    }

    /// Rows per block that keep a block's result near the L2 cache.
    pub(super) fn block_rows(&self) -> usize {
        block_rows(self.stride())
    }

    /// Floats of a block's result.
    pub(super) fn block_len(&self) -> usize {
        block_len(self.columns)
    }

    /// Fills `result` (up to [`Self::block_rows`] rows of [`Self::stride`] floats) from the trunk's rows from `first` on.
    pub(super) fn apply(&self, trunk: &Tensor, first: usize, result: &mut [f32]) {
        let pairs = Pairs::new(&SAME_ROW[..result.len() / self.stride()]);
        for panels in self.packed.panels.chunks(panels_together(self.arithmetic)) {
            let mut product = RowProduct {
                input: &trunk.as_slice()[first * trunk.stride..],
                input_stride: trunk.stride,
                words: 0..self.packed.words,
                weights: self.packed.blocks(0, panels),
                ahead: &mut Ahead::default(),
                output: result,
                output_stride: self.stride(),
                panels,
                start: Start::Shift { shift: &self.bias, residual: None },
                relu: false,
            };
            product.accumulate(self.arithmetic, pairs);
        }
    }
}

fn block_rows(stride: usize) -> usize {
    (64 * 1024 / stride.max(1)).clamp(16, MOST_ROWS)
}

/// Floats of a block's result of `columns` columns.
pub(super) fn block_len(columns: usize) -> usize {
    let stride = columns.next_multiple_of(LINE);
    block_rows(stride) * stride
}

/// The most rows of a block.
pub(super) const MOST_ROWS: usize = 512;

/// The pairs `(i, i)`.
pub(super) static SAME_ROW: [Pair; MOST_ROWS] = {
    let mut pairs = [Pair { input: 0, output: 0 }; MOST_ROWS];
    let mut row = 0;
    while row < MOST_ROWS {
        pairs[row] = Pair { input: row as u32, output: row as u32 };
        row += 1;
    }
    pairs
};
