//! The micro-kernel: tiles of several rows by one column panel that stay in registers over all input channels. Input
//! rows are read in place through the pair list, so nothing is gathered or scattered.

#![allow(unsafe_code, reason = "vector loads and stores through pointers that RowProduct::check has bounded")]

use super::vector::Vector;
use super::{RowProduct, Start};
use crate::backend::cpu::ahead::STEP_CHANNELS;
use crate::backend::cpu::tensor::LINE;
use crate::sparse::Pair;

/// `ROWS` output rows by `VECTORS` vectors of columns. `following` are the pairs of the next tile.
///
/// # Safety
/// `product` has passed [`RowProduct::check`], `pairs` are of those it was checked with, its width is that of
/// `VECTORS` vectors, and the CPU has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn tile<V: Vector, const ROWS: usize, const VECTORS: usize>(
    product: &mut RowProduct<'_>,
    pairs: &[Pair],
    following: &[Pair],
) {
    let input = |pair: Pair| pair.input as usize * product.input_stride + product.channels.start;
    let place = |pair: Pair| pair.output as usize * product.output_stride + product.column;
    // SAFETY: RowProduct::check established that the input row (to the end of the channels), the output panel and, if
    // there are any, the shift and the residual panel of every pair, and all weight rows lie inside their slices.
    unsafe {
        let mut inputs = [std::ptr::null::<f32>(); ROWS];
        let mut soon = [std::ptr::null::<f32>(); ROWS];
        let mut outputs = [std::ptr::null_mut::<f32>(); ROWS];
        for row in 0..ROWS {
            inputs[row] = product.input.as_ptr().add(input(pairs[row]));
            soon[row] = product.input.as_ptr().wrapping_add(input(following[row]));
            outputs[row] = product.output.as_mut_ptr().add(place(pairs[row]));
        }
        // Loops that the compiler unrolls: only then do the sums live in registers and nowhere else.
        let mut sums = [[V::load(product.weights.as_ptr()); VECTORS]; ROWS];
        match product.start {
            Start::Output => (0..ROWS).for_each(|row| sums[row] = load(outputs[row])),
            Start::Shift { shift, residual } => {
                sums = [load(shift.as_ptr().add(product.column)); ROWS];
                if let Some(residual) = residual {
                    for row in 0..ROWS {
                        let residual: [V; VECTORS] = load(residual.as_ptr().add(place(pairs[row])));
                        for vector in 0..VECTORS {
                            sums[row][vector] = sums[row][vector].add(residual[vector]);
                        }
                    }
                }
            }
        }
        let mut weights = product.weights.as_ptr();
        for first in (0..product.channels.len()).step_by(STEP_CHANNELS) {
            let (line, lines) = product.ahead.step();
            for index in 0..lines {
                V::prefetch_far(std::ptr::without_provenance(line + index * LINE * size_of::<f32>()));
            }
            if first % LINE == 0 {
                soon.iter().for_each(|row| V::prefetch_near(row.wrapping_add(first)));
            }
            // A fixed count, unrolled: the branch at the end of a short loop would be mispredicted too often.
            for channel in first..first + STEP_CHANNELS {
                let panel: [V; VECTORS] = load(weights);
                weights = weights.add(VECTORS * V::LANES);
                for row in 0..ROWS {
                    let x = V::splat(inputs[row].add(channel));
                    for vector in 0..VECTORS {
                        sums[row][vector] = sums[row][vector].mul_add(x, panel[vector]);
                    }
                }
            }
        }
        for row in 0..ROWS {
            for vector in 0..VECTORS {
                let sum = sums[row][vector];
                let sum = if product.relu { sum.relu() } else { sum };
                sum.store(outputs[row].add(vector * V::LANES));
            }
        }
    }
}

/// # Safety
/// `from` is valid for `VECTORS` vectors, and the CPU has the instructions.
#[inline(always)]
unsafe fn load<V: Vector, const VECTORS: usize>(from: *const f32) -> [V; VECTORS] {
    // SAFETY: as promised by the caller.
    std::array::from_fn(|vector| unsafe { V::load(from.add(vector * V::LANES)) })
}

/// A function that runs all pairs of a product whose width is `$vectors` vectors: full tiles of `$rows` rows, then one
/// tile with the rows that are left.
macro_rules! tiles {
    ($(#[$attribute:meta])* $name:ident, $vector:ty, $rows:literal x $vectors:literal, [$($tail:literal)*]) => {
        /// # Safety
        /// As [`tile`].
        $(#[$attribute])*
        pub(super) unsafe fn $name(product: &mut RowProduct<'_>, pairs: &[Pair]) {
            let (full, rest) = pairs.as_chunks::<$rows>();
            for (index, pairs) in full.iter().enumerate() {
                let following = full.get(index + 1).unwrap_or(pairs);
                // SAFETY: as promised by the caller.
                unsafe { tile::<$vector, $rows, $vectors>(product, pairs, following) };
            }
            match rest.len() {
                // SAFETY: as promised by the caller.
                $($tail => unsafe { tile::<$vector, $tail, $vectors>(product, rest, rest) },)*
                _ => {}
            }
        }
    };
}

tiles!(portable_16, [f32; 16], 2 x 1, [1]);
// 12 of 16 registers hold sums.
tiles!(
    #[cfg(target_arch = "x86_64")] #[target_feature(enable = "avx2,fma")]
    avx2_16, std::arch::x86_64::__m256, 6 x 2, [1 2 3 4 5]
);
// 24 of 32 registers, or 16 for the narrowest panel.
tiles!(
    #[cfg(target_arch = "x86_64")] #[target_feature(enable = "avx512f")]
    avx512_64, std::arch::x86_64::__m512, 6 x 4, [1 2 3 4 5]
);
tiles!(
    #[cfg(target_arch = "x86_64")] #[target_feature(enable = "avx512f")]
    avx512_48, std::arch::x86_64::__m512, 8 x 3, [1 2 3 4 5 6 7]
);
tiles!(
    #[cfg(target_arch = "x86_64")] #[target_feature(enable = "avx512f")]
    avx512_32, std::arch::x86_64::__m512, 12 x 2, [1 2 3 4 5 6 7 8 9 10 11]
);
tiles!(
    #[cfg(target_arch = "x86_64")] #[target_feature(enable = "avx512f")]
    avx512_16, std::arch::x86_64::__m512, 16 x 1, [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15]
);
// 24 of 32 registers.
tiles!(
    #[cfg(target_arch = "aarch64")] #[target_feature(enable = "neon")]
    neon_16, std::arch::aarch64::float32x4_t, 6 x 4, [1 2 3 4 5]
);
