//! The micro-kernel `output[p.output] += input[p.input] · weights` over a list of row pairs, at every CPU level and
//! precision.

#[cfg(target_arch = "x86_64")]
pub(super) mod amx;
mod kernel;
mod rows;
#[cfg(test)]
mod tests;
mod vector;

pub(super) use rows::{bf16_numbers, look_up, round};

use super::ahead::{Ahead, STEP_WORDS};
use super::arithmetic::Arithmetic;
use super::level::CpuLevel;
use super::packed::Panel;
use super::tensor::LINE;
use crate::backend::Precision;
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
        /// FP32 rows as those of the output.
        residual: Option<&'a [f32]>,
    },
}

/// The operands of one call: one offset's weights against the rows a pair list names. Input and weights are 32-bit words
/// of one FP32 or two BF16 numbers.
pub(super) struct RowProduct<'a> {
    /// Input rows, `input_stride` words apart.
    pub(super) input: &'a [f32],
    pub(super) input_stride: usize,
    /// Words of an input row to multiply: whole lines.
    pub(super) words: Range<usize>,
    /// `[input_stride][width]` per panel.
    pub(super) weights: &'a [f32],
    /// Fetched meanwhile.
    pub(super) ahead: &'a mut Ahead,
    /// Output rows, `output_stride` floats apart.
    pub(super) output: &'a mut [f32],
    pub(super) output_stride: usize,
    /// Neighbours, as many as [`panels_together`] says or fewer.
    pub(super) panels: &'a [Panel],
    pub(super) start: Start<'a>,
    /// Whether negative sums become 0.
    pub(super) relu: bool,
}

/// Columns of the widest panel.
pub(super) fn widest_panel(arithmetic: Arithmetic) -> usize {
    match arithmetic.level {
        CpuLevel::Portable | CpuLevel::Neon | CpuLevel::Avx2 => 16,
        CpuLevel::Amx => 32,
        CpuLevel::Avx512 | CpuLevel::Avx512Bf16 => 64,
    }
}

/// Panels that one product takes at once: rows gathered for tiles serve them all.
pub(super) fn panels_together(arithmetic: Arithmetic) -> usize {
    match arithmetic.level {
        CpuLevel::Amx => usize::MAX,
        _ => 1,
    }
}

/// How often the kernels look at what to fetch ahead while they multiply `pairs` rows of `words` words, counted once per
/// panel.
pub(super) fn fetch_steps(arithmetic: Arithmetic, pairs: usize, words: usize) -> usize {
    match arithmetic.level {
        CpuLevel::Amx => pairs,
        // About eight rows per tile.
        _ => pairs * words / (8 * STEP_WORDS),
    }
}

/// Two numbers rounded to BF16 in one word, the first in its lower half.
pub(super) fn bf16_pair(pair: [f32; 2]) -> f32 {
    let [low, high] = pair.map(|value| u32::from(bf16_bits(value)));
    f32::from_bits(high << 16 | low)
}

/// The nearest BF16 number, ties to even. Written out, since the crate's conversion is no loop that compilers vectorise.
#[inline(always)]
fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    (if value.is_nan() { bits >> 16 | 0x40 } else { rounded }) as u16
}

impl RowProduct<'_> {
    /// Adds the product of every pair. Each output row may occur once in `pairs`.
    #[allow(unsafe_code, reason = "calls into code for instructions that only some CPUs have")]
    pub(super) fn accumulate(&mut self, arithmetic: Arithmetic, pairs: Pairs<'_>) {
        #[cfg(target_arch = "x86_64")]
        use CpuLevel::{Avx2, Avx512, Avx512Bf16};
        use Precision::{Bf16, F32};
        self.check(arithmetic, pairs);
        // SAFETY: `check` passed for these pairs; each function is for the width it is called with, and a level is only
        // chosen after CpuLevel::require found its instructions on this CPU.
        unsafe {
            match (arithmetic.precision, arithmetic.level, self.panels[0].width) {
                #[cfg(target_arch = "x86_64")]
                (Bf16, CpuLevel::Amx, _) => amx::accumulate(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (Bf16, Avx512Bf16, 64) => kernel::avx512_bf16_64(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (Bf16, Avx512Bf16, 48) => kernel::avx512_bf16_48(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (Bf16, Avx512Bf16, 32) => kernel::avx512_bf16_32(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (Bf16, Avx512Bf16, _) => kernel::avx512_bf16_16(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (Bf16, Avx2, _) => kernel::avx2_bf16(self, &pairs),
                #[cfg(target_arch = "aarch64")]
                (Bf16, CpuLevel::Neon, _) => kernel::neon_bf16(self, &pairs),
                (Bf16, _, _) => kernel::portable_bf16(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (F32, Avx512, 64) => kernel::avx512_64(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (F32, Avx512, 48) => kernel::avx512_48(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (F32, Avx512, 32) => kernel::avx512_32(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (F32, Avx512, _) => kernel::avx512_16(self, &pairs),
                #[cfg(target_arch = "x86_64")]
                (F32, Avx2, _) => kernel::avx2(self, &pairs),
                #[cfg(target_arch = "aarch64")]
                (F32, CpuLevel::Neon, _) => kernel::neon(self, &pairs),
                (F32, _, _) => kernel::portable(self, &pairs),
            }
        }
    }

    /// Panics unless every access of the kernels lies inside the slices: what their raw pointers rely on.
    fn check(&self, arithmetic: Arithmetic, pairs: Pairs<'_>) {
        assert!((1..=panels_together(arithmetic)).contains(&self.panels.len()));
        let mut column = self.panels[0].column;
        for panel in self.panels {
            assert!(panel.column == column && panel.width > 0 && panel.width.is_multiple_of(LINE));
            assert!(panel.width <= widest_panel(arithmetic));
            column += panel.width;
        }
        assert!(column <= self.output_stride);
        assert!(!self.words.is_empty() && self.words.end <= self.input_stride);
        assert!(self.words.start.is_multiple_of(LINE) && self.words.end.is_multiple_of(LINE));
        assert!(self.weights.len() == self.input_stride * (column - self.panels[0].column));
        assert!(pairs.input_rows() <= self.input.len() / self.input_stride);
        assert!(pairs.output_rows() <= self.output.len() / self.output_stride);
        if let Start::Shift { shift, residual } = self.start {
            assert!(column <= shift.len());
            assert!(residual.is_none_or(|rows| rows.len() >= pairs.output_rows() * self.output_stride));
        }
    }
}
