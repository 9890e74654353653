//! The micro-kernel `output[p.output] += input[p.input] · weights` over a list of row pairs, at every CPU level.

mod kernel;
mod vector;

use super::ahead::Ahead;
use super::level::CpuLevel;
use super::tensor::LINE;
use crate::sparse::Pairs;
use std::ops::Range;

/// What the sums of a product begin from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start<'a> {
    /// What the output rows hold.
    Output,
    /// The shift, plus the row of the residual if there is one; what the output rows held before is lost.
    Shift {
        /// `[columns]`.
        shift: &'a [f32],
        /// Rows as those of the output.
        residual: Option<&'a [f32]>,
    },
}

/// The operands of one call: one weight panel against the rows a pair list names.
pub(super) struct RowProduct<'a> {
    /// Input rows, `input_stride` floats apart.
    pub(super) input: &'a [f32],
    pub(super) input_stride: usize,
    /// Channels of an input row to multiply: whole lines.
    pub(super) channels: Range<usize>,
    /// `[channels][width]`.
    pub(super) weights: &'a [f32],
    /// Fetched meanwhile.
    pub(super) ahead: &'a mut Ahead,
    /// Output rows, `output_stride` floats apart.
    pub(super) output: &'a mut [f32],
    pub(super) output_stride: usize,
    /// First output column.
    pub(super) column: usize,
    /// Columns of the panel: whole lines, at most [`widest_panel`].
    pub(super) width: usize,
    pub(super) start: Start<'a>,
    /// Whether negative sums become 0.
    pub(super) relu: bool,
}

/// Columns of the widest panel of `level`.
pub(super) fn widest_panel(level: CpuLevel) -> usize {
    match level {
        CpuLevel::Portable | CpuLevel::Neon | CpuLevel::Avx2 => 16,
        CpuLevel::Avx512 => 64,
    }
}

impl RowProduct<'_> {
    /// Adds the product of every pair. Each output row may occur once in `pairs`.
    #[allow(unsafe_code, reason = "calls into code for instructions that only some CPUs have")]
    pub(super) fn accumulate(&mut self, level: CpuLevel, pairs: Pairs<'_>) {
        self.check(level, pairs);
        // SAFETY: `check` passed for these pairs; each function is for the width it is called with, and a level is only
        // chosen after CpuLevel::require found its instructions on this CPU.
        unsafe {
            match (level, self.width) {
                #[cfg(target_arch = "x86_64")]
                (CpuLevel::Avx512, 64) => kernel::avx512_64(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (CpuLevel::Avx512, 48) => kernel::avx512_48(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (CpuLevel::Avx512, 32) => kernel::avx512_32(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (CpuLevel::Avx512, _) => kernel::avx512_16(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (CpuLevel::Avx2, _) => kernel::avx2_16(self, &pairs),
                #[cfg(target_arch = "aarch64")]
                (CpuLevel::Neon, _) => kernel::neon_16(self, &pairs),
                _ => kernel::portable_16(self, &pairs),
            }
        }
    }

    /// Panics unless every access of the kernels lies inside the slices: what their raw pointers rely on.
    fn check(&self, level: CpuLevel, pairs: Pairs<'_>) {
        assert!(self.width > 0 && self.width.is_multiple_of(16) && self.width <= widest_panel(level));
        assert!(self.channels.end <= self.input_stride && self.channels.len().is_multiple_of(LINE));
        assert!(self.weights.len() == self.channels.len() * self.width);
        assert!(!self.weights.is_empty() && self.column + self.width <= self.output_stride);
        assert!(pairs.input_rows() <= self.input.len() / self.input_stride);
        assert!(pairs.output_rows() <= self.output.len() / self.output_stride);
        if let Start::Shift { shift, residual } = self.start {
            assert!(self.column + self.width <= shift.len());
            assert!(residual.is_none_or(|rows| rows.len() >= pairs.output_rows() * self.output_stride));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sparse::Pair;

    /// Every level, panel width, channel count and tail of the row tile against f64.
    #[test]
    fn every_level_multiplies() {
        for level in CpuLevel::ALL.into_iter().filter(|level| level.is_available()) {
            for width in (16..=widest_panel(level)).step_by(16) {
                for (c_in, rows) in [(16, 1), (16, 7), (32, 8), (48, 9), (96, 12), (64, 13), (96, 31), (16, 0)] {
                    for start in 0..3 {
                        check_one(level, width, c_in, rows, start);
                    }
                }
            }
        }
    }

    /// From the output alone, from the shift with ReLU, and from the shift and a residual over the last channels.
    fn check_one(level: CpuLevel, width: usize, c_in: usize, rows: usize, start: usize) {
        let value = |i: usize| ((i * 2_654_435_761) % 1009) as f32 / 504.5 - 1.0;
        let (input_stride, output_stride, column) = (c_in + 16, 16 + width, 16);
        let input: Vec<f32> = (0..(rows + 3) * input_stride).map(value).collect();
        let weights: Vec<f32> = (0..c_in * width).map(|i| value(i + 77)).collect();
        let before: Vec<f32> = (0..(rows + 2) * output_stride).map(|i| value(i + 5)).collect();
        let pairs: Vec<Pair> =
            (0..rows).map(|i| Pair { input: ((i * 7 + 2) % (rows + 3)) as u32, output: i as u32 }).collect();
        let mut output = before.clone();
        let shift: Vec<f32> = (0..output_stride).map(|i| value(i + 9)).collect();
        let residual: Vec<f32> = (0..before.len()).map(|i| value(i + 3)).collect();
        let first = if start == 2 { c_in / 32 * 16 } else { 0 };
        let mut product = RowProduct {
            input: &input,
            input_stride,
            channels: first..c_in,
            weights: &weights[first * width..],
            ahead: &mut Ahead::default(),
            output: &mut output,
            output_stride,
            column,
            width,
            start: match start {
                0 => Start::Output,
                1 => Start::Shift { shift: &shift, residual: None },
                _ => Start::Shift { shift: &shift, residual: Some(&residual) },
            },
            relu: start == 1,
        };
        product.accumulate(level, Pairs::new(&pairs));
        for (index, (&got, &before)) in output.iter().zip(&before).enumerate() {
            let (row, col) = (index / output_stride, index % output_stride);
            let mut want = f64::from(before);
            if row < rows && (column..column + width).contains(&col) {
                want = match start {
                    0 => want,
                    1 => f64::from(shift[col]),
                    _ => f64::from(shift[col]) + f64::from(residual[index]),
                };
                for k in first..c_in {
                    let x = input[pairs[row].input as usize * input_stride + k];
                    want += f64::from(x) * f64::from(weights[k * width + col - column]);
                }
                want = if start == 1 { want.max(0.0) } else { want };
            }
            let error = (f64::from(got) - want).abs();
            assert!(error <= 1e-5 * (1.0 + want.abs()), "{level} {width} {c_in} {rows} {start}: {got} for {want}");
        }
    }

    /// Each of the kernels' assumptions, broken alone.
    #[test]
    fn accesses_outside_the_slices_are_refused() {
        let refused = |spoil: fn(&mut RowProduct<'_>, &mut Pair)| {
            let (mut output, mut ahead, mut pair) = (vec![0.0; 32], Ahead::default(), Pair { input: 1, output: 1 });
            let mut product = RowProduct {
                input: &[0.0; 32],
                input_stride: 16,
                channels: 0..16,
                weights: &[0.0; 256],
                ahead: &mut ahead,
                output: &mut output,
                output_stride: 16,
                column: 0,
                width: 16,
                start: Start::Output,
                relu: false,
            };
            spoil(&mut product, &mut pair);
            let run = std::panic::AssertUnwindSafe(|| product.accumulate(CpuLevel::Portable, Pairs::new(&[pair])));
            std::panic::catch_unwind(run).is_err()
        };
        assert!(!refused(|_, _| {}));
        assert!(refused(|_, pair| pair.input = 2));
        assert!(refused(|_, pair| pair.output = 2));
        assert!(refused(|product, _| product.channels = 16..32));
        assert!(refused(|product, _| product.channels = 0..15));
        assert!(refused(|product, _| product.column = 16));
        assert!(refused(|product, _| product.start = Start::Shift { shift: &[0.0; 15], residual: None }));
        assert!(refused(|product, _| product.start = Start::Shift { shift: &[0.0; 16], residual: Some(&[0.0; 31]) }));
    }
}
