//! The micro-kernel: tiles of several rows by one column panel that stay in registers over all words of the input rows.
//! Input rows are read in place through the pair list, so nothing is gathered or scattered.

#![allow(unsafe_code, reason = "vector loads and stores through pointers that RowProduct::check has bounded")]

use super::vector::{Multiply, Single, Vector, Widened};
use super::{RowProduct, Start};
use crate::backend::cpu::ahead::STEP_WORDS;
use crate::backend::cpu::tensor::LINE;
use crate::sparse::Pair;

/// `ROWS` output rows by `VECTORS` vectors of columns. `following` are the pairs of the next tile.
///
/// # Safety
/// `product` has passed [`RowProduct::check`], `pairs` are of those it was checked with, it has one panel, of `VECTORS`
/// vectors, and the CPU has the instructions of `V` and `M`.
#[inline(always)]
unsafe fn tile<V: Vector, M: Multiply<V>, const ROWS: usize, const VECTORS: usize>(
    product: &mut RowProduct<'_>,
    pairs: &[Pair],
    following: &[Pair],
) {
    let column = product.panels[0].column;
    let input = |pair: Pair| pair.input as usize * product.input_stride + product.words.start;
    let place = |pair: Pair| pair.output as usize * product.output_stride + column;
    // SAFETY: RowProduct::check established that the input row, the output panel and, if there are any, the shift and
    // the residual panel of every pair, and all weight rows lie inside their slices.
    unsafe {
        let mut inputs = [std::ptr::null::<f32>(); ROWS];
        let mut soon = [std::ptr::null::<f32>(); ROWS];
        let mut outputs = [std::ptr::null_mut::<f32>(); ROWS];
        let output = product.output.as_mut_ptr();
        for row in 0..ROWS {
            inputs[row] = product.input.as_ptr().add(input(pairs[row]));
            soon[row] = product.input.as_ptr().wrapping_add(input(following[row]));
            outputs[row] = output.add(place(pairs[row]));
        }
        let mut weights = product.weights.as_ptr().add(product.words.start * VECTORS * V::LANES);
        // Loops that the compiler unrolls: only then do the sums live in registers and nowhere else.
        let mut sums = [[V::load(weights); VECTORS]; ROWS];
        match product.start {
            Start::Output => (0..ROWS).for_each(|row| sums[row] = load(outputs[row])),
            Start::Shift { shift, residual } => {
                sums = [load(shift.as_ptr().add(column)); ROWS];
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
        for first in (0..product.words.len()).step_by(STEP_WORDS) {
            product.ahead.step(V::prefetch_far);
            if first % LINE == 0 {
                soon.iter().for_each(|row| V::prefetch_near(row.wrapping_add(first)));
            }
            // A fixed count, unrolled: the branch at the end of a short loop would be mispredicted too often.
            for word in first..first + STEP_WORDS {
                let panel: [V; VECTORS] = load(weights);
                weights = weights.add(VECTORS * V::LANES);
                for row in 0..ROWS {
                    let x = V::splat(inputs[row].add(word));
                    for vector in 0..VECTORS {
                        sums[row][vector] = M::multiply(sums[row][vector], x, panel[vector]);
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

/// A function that runs all pairs of a product whose panel is `$vectors` vectors wide: full tiles of `$rows` rows, then
/// one tile with the rows that are left.
macro_rules! tiles {
    ($(#[$attribute:meta])* $name:ident, $vector:ty, $multiply:ty, $rows:literal x $vectors:literal, [$($tail:literal)*]) => {
        /// # Safety
        /// As [`tile`].
        $(#[$attribute])*
        pub(super) unsafe fn $name(product: &mut RowProduct<'_>, pairs: &[Pair]) {
            let (full, rest) = pairs.as_chunks::<$rows>();
            for (index, pairs) in full.iter().enumerate() {
                let following = full.get(index + 1).unwrap_or(pairs);
                // SAFETY: as promised by the caller.
                unsafe { tile::<$vector, $multiply, $rows, $vectors>(product, pairs, following) };
            }
            match rest.len() {
                // SAFETY: as promised by the caller.
                $($tail => unsafe { tile::<$vector, $multiply, $tail, $vectors>(product, rest, rest) },)*
                0 => {}
                _ => unreachable!("a tail as long as the tile"),
            }
        }
    };
}

/// The tiles of AVX-512: 24 of 32 registers hold sums, or 16 for the narrowest panel.
#[cfg(target_arch = "x86_64")]
macro_rules! avx512_tiles {
    ($multiply:ty, $features:literal, $name64:ident, $name48:ident, $name32:ident, $name16:ident) => {
        tiles!(#[target_feature(enable = $features)] $name64, std::arch::x86_64::__m512, $multiply, 6 x 4, [1 2 3 4 5]);
        tiles!(#[target_feature(enable = $features)] $name48, std::arch::x86_64::__m512, $multiply, 8 x 3, [1 2 3 4 5 6 7]);
        tiles!(
            #[target_feature(enable = $features)]
            $name32, std::arch::x86_64::__m512, $multiply, 12 x 2, [1 2 3 4 5 6 7 8 9 10 11]
        );
        tiles!(
            #[target_feature(enable = $features)]
            $name16, std::arch::x86_64::__m512, $multiply, 16 x 1, [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15]
        );
    };
}

tiles!(portable, [f32; 16], Single, 2 x 1, [1]);
tiles!(portable_bf16, [f32; 16], Widened, 2 x 1, [1]);
// 12 of 16 registers hold sums; 8 where BF16 pairs need some to be widened.
tiles!(
    #[cfg(target_arch = "x86_64")] #[target_feature(enable = "avx2,fma")]
    avx2, std::arch::x86_64::__m256, Single, 6 x 2, [1 2 3 4 5]
);
tiles!(
    #[cfg(target_arch = "x86_64")] #[target_feature(enable = "avx2,fma")]
    avx2_bf16, std::arch::x86_64::__m256, Widened, 4 x 2, [1 2 3]
);
#[cfg(target_arch = "x86_64")]
avx512_tiles!(Single, "avx512f", avx512_64, avx512_48, avx512_32, avx512_16);
#[cfg(target_arch = "x86_64")]
avx512_tiles!(super::vector::Dot, "avx512f,avx512bf16", avx512_bf16_64, avx512_bf16_48, avx512_bf16_32, avx512_bf16_16);
// 24 of 32 registers.
tiles!(
    #[cfg(target_arch = "aarch64")] #[target_feature(enable = "neon")]
    neon, std::arch::aarch64::float32x4_t, Single, 6 x 4, [1 2 3 4 5]
);
tiles!(
    #[cfg(target_arch = "aarch64")] #[target_feature(enable = "neon")]
    neon_bf16, std::arch::aarch64::float32x4_t, Widened, 4 x 4, [1 2 3]
);
