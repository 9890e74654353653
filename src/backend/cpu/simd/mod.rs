//! The micro-kernel `output[p.output] += input[p.input] · weights` over a list of row pairs, at every CPU level.
//!
//! Tiles of several rows by one column panel stay in registers over all input channels; input rows are read in
//! place through the pair list, so nothing is gathered or scattered.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::level::CpuLevel;
use crate::sparse::Pair;

/// The operands of one call: one weight panel against the rows a pair list names.
pub(super) struct RowProduct<'a> {
    /// Input rows, `input_stride` floats apart.
    pub(super) input: &'a [f32],
    pub(super) input_stride: usize,
    /// Channels of an input row.
    pub(super) c_in: usize,
    /// `[c_in][width]`.
    pub(super) weights: &'a [f32],
    /// Output rows, `output_stride` floats apart.
    pub(super) output: &'a mut [f32],
    pub(super) output_stride: usize,
    /// First output column.
    pub(super) column: usize,
    /// Columns of the panel: whole lines, at most [`widest_panel`].
    pub(super) width: usize,
}

/// Columns of the widest panel of `level`.
pub(super) fn widest_panel(level: CpuLevel) -> usize {
    match level {
        CpuLevel::Portable | CpuLevel::Avx2 => 16,
        CpuLevel::Avx512 => 48,
    }
}

impl RowProduct<'_> {
    /// Adds the product of every pair. Each output row may occur once in `pairs`.
    pub(super) fn accumulate(&mut self, level: CpuLevel, pairs: &[Pair]) {
        self.check(level, pairs);
        match level {
            CpuLevel::Portable => portable::accumulate(self, pairs),
            #[cfg(target_arch = "x86_64")]
            CpuLevel::Avx2 => avx2::accumulate(self, pairs),
            #[cfg(target_arch = "x86_64")]
            CpuLevel::Avx512 => avx512::accumulate(self, pairs),
            #[cfg(not(target_arch = "x86_64"))]
            CpuLevel::Avx2 | CpuLevel::Avx512 => portable::accumulate(self, pairs),
        }
    }

    /// Panics unless every access of the kernels lies inside the slices: what their raw pointers rely on. A few
    /// comparisons per pair against thousands of multiply-adds.
    fn check(&self, level: CpuLevel, pairs: &[Pair]) {
        assert!(self.width > 0 && self.width.is_multiple_of(16) && self.width <= widest_panel(level));
        assert!(self.c_in <= self.input_stride && self.weights.len() == self.c_in * self.width);
        assert!(self.column + self.width <= self.output_stride);
        let (inputs, outputs) = (self.input.len() / self.input_stride, self.output.len() / self.output_stride);
        assert!(pairs.iter().all(|p| (p.input as usize) < inputs && (p.output as usize) < outputs));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every level, panel width, channel count and tail of the row tile against f64.
    #[test]
    fn every_level_multiplies() {
        for level in CpuLevel::ALL.into_iter().filter(|level| level.is_available()) {
            for width in (16..=widest_panel(level)).step_by(16) {
                for (c_in, rows) in [(1, 1), (3, 7), (16, 8), (17, 9), (32, 12), (33, 13), (96, 31), (5, 0)] {
                    check_one(level, width, c_in, rows);
                }
            }
        }
    }

    fn check_one(level: CpuLevel, width: usize, c_in: usize, rows: usize) {
        let value = |i: usize| ((i * 2_654_435_761) % 1009) as f32 / 504.5 - 1.0;
        let (input_stride, output_stride, column) = (c_in.next_multiple_of(16), 16 + width, 16);
        let input: Vec<f32> = (0..(rows + 3) * input_stride).map(value).collect();
        let weights: Vec<f32> = (0..c_in * width).map(|i| value(i + 77)).collect();
        let before: Vec<f32> = (0..(rows + 2) * output_stride).map(|i| value(i + 5)).collect();
        let pairs: Vec<Pair> =
            (0..rows).map(|i| Pair { input: ((i * 7 + 2) % (rows + 3)) as u32, output: i as u32 }).collect();
        let mut output = before.clone();
        let mut product = RowProduct {
            input: &input,
            input_stride,
            c_in,
            weights: &weights,
            output: &mut output,
            output_stride,
            column,
            width,
        };
        product.accumulate(level, &pairs);
        for (index, (&got, &start)) in output.iter().zip(&before).enumerate() {
            let (row, col) = (index / output_stride, index % output_stride);
            let mut want = f64::from(start);
            if row < rows && (column..column + width).contains(&col) {
                for k in 0..c_in {
                    let x = input[pairs[row].input as usize * input_stride + k];
                    want += f64::from(x) * f64::from(weights[k * width + col - column]);
                }
            }
            let error = (f64::from(got) - want).abs();
            assert!(error <= 1e-5 * (1.0 + want.abs()), "{level} {width} {c_in} {rows}: {got} for {want}");
        }
    }

    #[test]
    #[should_panic]
    fn rows_outside_the_input_are_refused() {
        let mut output = vec![0.0; 16];
        let mut product = RowProduct {
            input: &[0.0; 16],
            input_stride: 16,
            c_in: 1,
            weights: &[0.0; 16],
            output: &mut output,
            output_stride: 16,
            column: 0,
            width: 16,
        };
        product.accumulate(CpuLevel::Portable, &[Pair { input: 1, output: 0 }]);
    }
}
