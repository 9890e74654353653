//! The micro-kernel in plain Rust: two rows by 16 columns, which the compiler vectorises for any target.

use super::RowProduct;
use crate::sparse::Pair;

pub(super) fn accumulate(product: &mut RowProduct<'_>, pairs: &[Pair]) {
    for pairs in pairs.chunks(2) {
        if let [a, b] = *pairs {
            tile(product, [a, b]);
        } else {
            tile(product, [pairs[0]]);
        }
    }
}

fn tile<const ROWS: usize>(product: &mut RowProduct<'_>, pairs: [Pair; ROWS]) {
    let mut sums = [[0.0_f32; 16]; ROWS];
    let out = |pair: Pair| pair.output as usize * product.output_stride + product.column;
    let inputs = pairs.map(|p| &product.input[p.input as usize * product.input_stride..][..product.c_in]);
    for (sum, pair) in sums.iter_mut().zip(pairs) {
        sum.copy_from_slice(&product.output[out(pair)..][..16]);
    }
    for (k, weights) in product.weights.chunks_exact(16).enumerate() {
        for (sum, input) in sums.iter_mut().zip(inputs) {
            for (s, w) in sum.iter_mut().zip(weights) {
                *s += input[k] * w;
            }
        }
    }
    for (sum, pair) in sums.iter().zip(pairs) {
        let at = out(pair);
        product.output[at..at + 16].copy_from_slice(sum);
    }
}
