//! Row-wise sums that are no products, and finished sums to the words they are kept as.

#![allow(unsafe_code, reason = "calls into code compiled for instructions that only some CPUs have")]

use super::bf16_bits;
use crate::backend::cpu::level::CpuLevel;
use crate::backend::cpu::tensor::LINE;

/// Rounds the `sums` of some rows to BF16 `words`, after adding the residual's words, if there are any, and ReLU.
/// `strides` are those of `sums`, in floats, and of `words` and residual.
pub(in crate::backend::cpu) fn round(
    level: CpuLevel,
    sums: &[f32],
    residual: Option<&[f32]>,
    relu: bool,
    words: &mut [f32],
    strides: [usize; 2],
) {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is only chosen after CpuLevel::require found its instructions on this CPU.
        CpuLevel::Avx512Bf16 | CpuLevel::Amx => unsafe { round_avx512(sums, residual, relu, words, strides) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, for the instructions of these levels.
        CpuLevel::Avx2 | CpuLevel::Avx512 => unsafe { round_avx2(sums, residual, relu, words, strides) },
        _ => round_rows(sums, residual, relu, words, strides),
    }
}

/// `sums = shift + Σ table[entry]`, then ReLU; entries are rows of the table as wide as `sums`.
pub(in crate::backend::cpu) fn look_up(
    level: CpuLevel,
    shift: &[f32],
    table: &[f32],
    entries: &[u32],
    sums: &mut [f32],
) {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is only chosen after CpuLevel::require found its instructions on this CPU.
        CpuLevel::Avx512 | CpuLevel::Avx512Bf16 | CpuLevel::Amx => unsafe {
            look_up_avx512(shift, table, entries, sums)
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, for the instructions of this level.
        CpuLevel::Avx2 => unsafe { look_up_avx2(shift, table, entries, sums) },
        _ => look_up_row(shift, table, entries, sums),
    }
}

/// The same code compiled for more instructions, which the compiler then uses for its loops.
macro_rules! compiled_for {
    ($features:literal, $name:ident = $code:ident($($argument:ident: $type:ty),*)) => {
        /// # Safety
        /// The CPU has the instructions.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        unsafe fn $name($($argument: $type),*) {
            $code($($argument),*);
        }
    };
}

compiled_for!("avx2,fma", round_avx2 =
    round_rows(sums: &[f32], residual: Option<&[f32]>, relu: bool, words: &mut [f32], strides: [usize; 2]));
compiled_for!("avx512f,avx512bw,avx512vl", round_avx512 =
    round_rows(sums: &[f32], residual: Option<&[f32]>, relu: bool, words: &mut [f32], strides: [usize; 2]));
compiled_for!("avx2,fma", look_up_avx2 =
    look_up_row(shift: &[f32], table: &[f32], entries: &[u32], sums: &mut [f32]));
compiled_for!("avx512f,avx512bw,avx512vl", look_up_avx512 =
    look_up_row(shift: &[f32], table: &[f32], entries: &[u32], sums: &mut [f32]));

#[inline(always)]
fn look_up_row(shift: &[f32], table: &[f32], entries: &[u32], sums: &mut [f32]) {
    let stride = sums.len();
    let (pairs, rest) = sums.as_chunks_mut::<{ 2 * LINE }>();
    for (index, sums) in pairs.iter_mut().enumerate() {
        *sums = columns(shift, table, entries, stride, index * 2 * LINE);
    }
    let first = stride - rest.len();
    for (index, sums) in rest.as_chunks_mut::<LINE>().0.iter_mut().enumerate() {
        *sums = columns(shift, table, entries, stride, first + index * LINE);
    }
}

/// Some columns of a row that is looked up: few enough for registers.
#[inline(always)]
fn columns<const N: usize>(shift: &[f32], table: &[f32], entries: &[u32], stride: usize, column: usize) -> [f32; N] {
    let mut total = [0.0; N];
    total.copy_from_slice(&shift[column..column + N]);
    for &entry in entries {
        let terms = &table[entry as usize * stride + column..][..N];
        total.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
    }
    total.map(|v| if v < 0.0 { 0.0 } else { v })
}

#[inline(always)]
fn round_rows(sums: &[f32], residual: Option<&[f32]>, relu: bool, words: &mut [f32], strides: [usize; 2]) {
    let rows = sums.chunks_exact(strides[0]).zip(words.chunks_exact_mut(strides[1])).enumerate();
    for (index, (sums, words)) in rows {
        // As halves of the words, column by column, since compilers vectorise no loop over pairs.
        let (lines, padding) = bytemuck::cast_slice_mut::<f32, u16>(words).split_at_mut(sums.len());
        padding.fill(0);
        let (sums, lines) = (sums.as_chunks::<LINE>().0, lines.as_chunks_mut::<LINE>().0);
        match residual {
            Some(residual) => {
                let residual = bytemuck::cast_slice::<f32, u16>(&residual[index * strides[1]..][..strides[1]]);
                for ((line, sums), residual) in lines.iter_mut().zip(sums).zip(residual.as_chunks::<LINE>().0) {
                    for column in 0..LINE {
                        let sum = sums[column] + f32::from_bits(u32::from(residual[column]) << 16);
                        line[column] = bf16_bits(if relu && sum < 0.0 { 0.0 } else { sum });
                    }
                }
            }
            None => {
                for (line, sums) in lines.iter_mut().zip(sums) {
                    for column in 0..LINE {
                        let sum = sums[column];
                        line[column] = bf16_bits(if relu && sum < 0.0 { 0.0 } else { sum });
                    }
                }
            }
        }
    }
}

/// The two BF16 numbers of a word.
#[inline(always)]
pub(in crate::backend::cpu) fn bf16_numbers(word: f32) -> [f32; 2] {
    [f32::from_bits(word.to_bits() << 16), f32::from_bits(word.to_bits() & 0xffff_0000)]
}
