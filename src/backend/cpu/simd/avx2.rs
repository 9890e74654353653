//! The micro-kernel in AVX2 with FMA: 12 accumulators as 6 rows x 16 columns.

#![allow(unsafe_code, reason = "vector loads and stores through pointers that RowProduct::check has bounded")]

use super::RowProduct;
use crate::sparse::Pair;
use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps};

const ROWS: usize = 6;

pub(super) fn accumulate(product: &mut RowProduct<'_>, pairs: &[Pair]) {
    // SAFETY: this level is only chosen after CpuLevel::require found avx2 and fma on this CPU.
    unsafe { tiles(product, pairs) }
}

#[target_feature(enable = "avx2,fma")]
fn tiles(product: &mut RowProduct<'_>, pairs: &[Pair]) {
    let mut full = pairs.chunks_exact(ROWS);
    for pairs in &mut full {
        tile::<ROWS>(product, pairs);
    }
    let rest = full.remainder();
    match rest.len() {
        1 => tile::<1>(product, rest),
        2 => tile::<2>(product, rest),
        3 => tile::<3>(product, rest),
        4 => tile::<4>(product, rest),
        5 => tile::<5>(product, rest),
        _ => {}
    }
}

/// `N` output rows by 16 columns, kept in registers over all input channels.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn tile<const N: usize>(product: &mut RowProduct<'_>, pairs: &[Pair]) {
    let mut inputs = [std::ptr::null::<f32>(); N];
    let mut outputs = [std::ptr::null_mut::<f32>(); N];
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    let mut weights = product.weights.as_ptr();
    // SAFETY: RowProduct::check, called by the only caller of this module, established that every pair's input row
    // (c_in floats) and output panel (16 floats) and all c_in weight rows lie inside their slices.
    unsafe {
        for row in 0..N {
            inputs[row] = product.input.as_ptr().add(pairs[row].input as usize * product.input_stride);
            let start = pairs[row].output as usize * product.output_stride + product.column;
            outputs[row] = product.output.as_mut_ptr().add(start);
            sums[row] = [_mm256_loadu_ps(outputs[row]), _mm256_loadu_ps(outputs[row].add(8))];
        }
        for channel in 0..product.c_in {
            let panel = [_mm256_loadu_ps(weights), _mm256_loadu_ps(weights.add(8))];
            weights = weights.add(16);
            for row in 0..N {
                let x = _mm256_set1_ps(*inputs[row].add(channel));
                sums[row] = [_mm256_fmadd_ps(x, panel[0], sums[row][0]), _mm256_fmadd_ps(x, panel[1], sums[row][1])];
            }
        }
        for row in 0..N {
            _mm256_storeu_ps(outputs[row], sums[row][0]);
            _mm256_storeu_ps(outputs[row].add(8), sums[row][1]);
        }
    }
}
