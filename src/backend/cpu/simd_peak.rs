//! What the CPU can do at most at a level: ceilings that a benchmark compares the network with.

#![allow(unsafe_code, reason = "instructions behind a run-time check, and a foreign matrix product over raw pointers")]

use super::level::CpuLevel;
use crate::backend::Precision;
use crate::error::{Error, Result};
use std::hint::black_box;

/// Fused multiply-adds that never leave the registers of the current thread: no loads, no stores, and enough
/// independent sums to hide their latency. Each of `rounds` rounds adds to every sum once. Returns the number of FLOP,
/// multiply-adds times two. They are FP32 at every level.
pub fn spin(level: CpuLevel, rounds: u64) -> Result<u64> {
    level.require()?;
    // Hidden from the compiler, which could otherwise compute the result itself. Sums stay near 1.
    let [factor, term] = black_box([0.999_999_f32, 0.000_001]);
    let sums = match level.at(Precision::F32) {
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx2 => {
            // SAFETY: CpuLevel::require, above, found avx2 and fma on this CPU.
            black_box(unsafe { x86_64::spin_avx2(rounds, factor, term) });
            x86_64::SUMS_AVX2 * 8
        }
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx512 => {
            // SAFETY: CpuLevel::require, above, found avx512f on this CPU.
            black_box(unsafe { x86_64::spin_avx512(rounds, factor, term) });
            x86_64::SUMS_AVX512 * 16
        }
        _ => {
            black_box(portable::spin(rounds, factor, term));
            portable::SUMS
        }
    };
    Ok(rounds * 2 * sums as u64)
}

mod portable {
    /// Whether the target's baseline has fused multiply-adds, which the compiler does not make of products and sums.
    const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

    /// Single sums, in vectors of four: twenty of aarch64's thirty-two registers. Of x86-64's sixteen ten, as without
    /// fused multiply-adds the products need some too.
    pub(super) const SUMS: usize = if cfg!(target_arch = "aarch64") { 80 } else { 40 };

    pub(super) fn spin(rounds: u64, factor: f32, term: f32) -> [f32; SUMS] {
        let mut sums = [1.0_f32; SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = if FUSED { sum.mul_add(factor, term) } else { *sum * factor + term };
            }
        }
        // Vectors come from what is stored side by side: a returned sum of all would leave the loop without any.
        sums
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::{
        _mm256_add_ps, _mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps, _mm512_add_ps, _mm512_fmadd_ps,
        _mm512_reduce_add_ps, _mm512_set1_ps,
    };

    /// Vectors in flight: all of the sixteen registers but two, and no more, as the rest would go through memory. Two
    /// units of latency four or five keep ten busy.
    pub(super) const SUMS_AVX2: usize = 14;
    /// Of thirty-two registers.
    pub(super) const SUMS_AVX512: usize = 24;

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn spin_avx2(rounds: u64, factor: f32, term: f32) -> f32 {
        let (factor, term) = (_mm256_set1_ps(factor), _mm256_set1_ps(term));
        let mut sums = [_mm256_set1_ps(1.0); SUMS_AVX2];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, term);
            }
        }
        _mm256_cvtss_f32(sums.into_iter().fold(_mm256_set1_ps(0.0), |a, b| _mm256_add_ps(a, b)))
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn spin_avx512(rounds: u64, factor: f32, term: f32) -> f32 {
        let (factor, term) = (_mm512_set1_ps(factor), _mm512_set1_ps(term));
        let mut sums = [_mm512_set1_ps(1.0); SUMS_AVX512];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, term);
            }
        }
        _mm512_reduce_add_ps(sums.into_iter().fold(_mm512_set1_ps(0.0), |a, b| _mm512_add_ps(a, b)))
    }
}

/// `product = left · right` of dense matrices of `edge` rows and columns by the crate `gemm-f32`, at the best level that it
/// finds, on all threads of the current pool. The matrices are column-major: a row-major product takes it twice as long.
/// Returns the number of FLOP.
pub fn dense_product(edge: usize, left: &[f32], right: &[f32], product: &mut [f32]) -> Result<u64> {
    let len = edge.checked_mul(edge).filter(|_| edge > 0 && isize::try_from(edge).is_ok());
    if len != Some(left.len()) || len != Some(right.len()) || len != Some(product.len()) {
        let lens = [left.len(), right.len(), product.len()];
        return Err(Error::argument(format!("matrices of {lens:?} values for an edge of {edge}; give its square")));
    }
    let column = edge as isize;
    let threads = match rayon::current_num_threads() {
        1 => gemm_common::Parallelism::None,
        threads => gemm_common::Parallelism::Rayon(threads),
    };
    // SAFETY: all three slices hold edge * edge values, checked above, and are walked with steps of edge and 1; product
    // is borrowed exclusively, and is not read because read_dst is false.
    unsafe {
        gemm_f32::gemm::f32::get_gemm_fn()(
            edge,
            edge,
            edge,
            product.as_mut_ptr(),
            column,
            1,
            false,
            left.as_ptr(),
            column,
            1,
            right.as_ptr(),
            column,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
    Ok(2 * (edge as u64).pow(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_spins() {
        for level in CpuLevel::ALL.into_iter().filter(|level| level.is_available()) {
            let flop = spin(level, 1000).unwrap();
            assert!(flop.is_multiple_of(2000) && flop >= 80_000, "{level}: {flop}");
        }
    }

    #[test]
    fn dense_products_are_products() {
        let edge = 37;
        let value = |i: usize| ((i * 2_654_435_761) % 1009) as f32 / 504.5 - 1.0;
        let left: Vec<f32> = (0..edge * edge).map(value).collect();
        let right: Vec<f32> = (0..edge * edge).map(|i| value(i + 11)).collect();
        let mut product = vec![f32::NAN; edge * edge];
        assert_eq!(dense_product(edge, &left, &right, &mut product).unwrap(), 101_306);
        for (index, &got) in product.iter().enumerate() {
            let (column, row) = (index / edge, index % edge);
            let want: f64 =
                (0..edge).map(|k| f64::from(left[k * edge + row]) * f64::from(right[column * edge + k])).sum();
            assert!((f64::from(got) - want).abs() < 1e-4, "{row} {column}: {got} for {want}");
        }
        assert!(dense_product(edge, &left[1..], &right, &mut product).is_err());
        assert!(dense_product(0, &[], &[], &mut []).is_err());
    }
}
