//! The micro-kernel in AVX-512: 24 accumulators as 8 rows x 48, 12 x 32 or 16 x 16 columns.

#![allow(unsafe_code, reason = "vector loads and stores through pointers that RowProduct::check has bounded")]

use super::RowProduct;
use crate::sparse::Pair;
use std::arch::x86_64::{
    __m512, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

pub(super) fn accumulate(product: &mut RowProduct<'_>, pairs: &[Pair]) {
    // SAFETY: this level is only chosen after CpuLevel::require found avx512f on this CPU.
    unsafe {
        match product.width {
            48 => tiles_48(product, pairs),
            32 => tiles_32(product, pairs),
            _ => tiles_16(product, pairs),
        }
    }
}

/// Full tiles of `$rows` rows, then one tile with the rows that are left.
macro_rules! tiles {
    ($name:ident, $rows:literal, $lines:literal, [$($tail:literal)*]) => {
        #[target_feature(enable = "avx512f")]
        fn $name(product: &mut RowProduct<'_>, pairs: &[Pair]) {
            let mut full = pairs.chunks_exact($rows);
            for pairs in &mut full {
                tile::<$rows, $lines>(product, pairs);
            }
            let rest = full.remainder();
            match rest.len() {
                $($tail => tile::<$tail, $lines>(product, rest),)*
                _ => {}
            }
        }
    };
}

tiles!(tiles_48, 8, 3, [1 2 3 4 5 6 7]);
tiles!(tiles_32, 12, 2, [1 2 3 4 5 6 7 8 9 10 11]);
tiles!(tiles_16, 16, 1, [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15]);

/// `ROWS` output rows by `LINES` vectors of 16 columns, kept in registers over all input channels.
#[target_feature(enable = "avx512f")]
#[inline]
fn tile<const ROWS: usize, const LINES: usize>(product: &mut RowProduct<'_>, pairs: &[Pair]) {
    let mut inputs = [std::ptr::null::<f32>(); ROWS];
    let mut outputs = [std::ptr::null_mut::<f32>(); ROWS];
    let mut sums = [[_mm512_setzero_ps(); LINES]; ROWS];
    let mut weights = product.weights.as_ptr();
    // SAFETY: RowProduct::check, called by the only caller of this module, established that every pair's input row
    // (c_in floats) and output panel (width = 16 LINES floats) and all c_in weight rows lie inside their slices.
    unsafe {
        for row in 0..ROWS {
            inputs[row] = product.input.as_ptr().add(pairs[row].input as usize * product.input_stride);
            let start = pairs[row].output as usize * product.output_stride + product.column;
            outputs[row] = product.output.as_mut_ptr().add(start);
            for (line, sum) in sums[row].iter_mut().enumerate() {
                *sum = _mm512_loadu_ps(outputs[row].add(16 * line));
            }
        }
        for channel in 0..product.c_in {
            let mut panel = [_mm512_setzero_ps(); LINES];
            for (line, vector) in panel.iter_mut().enumerate() {
                *vector = _mm512_loadu_ps(weights.add(16 * line));
            }
            weights = weights.add(16 * LINES);
            for row in 0..ROWS {
                let x: __m512 = _mm512_set1_ps(*inputs[row].add(channel));
                for (sum, vector) in sums[row].iter_mut().zip(panel) {
                    *sum = _mm512_fmadd_ps(x, vector, *sum);
                }
            }
        }
        for (output, sums) in outputs.iter().zip(sums) {
            for (line, sum) in sums.into_iter().enumerate() {
                _mm512_storeu_ps(output.add(16 * line), sum);
            }
        }
    }
}
