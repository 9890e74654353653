//! BF16 products of tiles of up to 32 rows by 32 columns (AMX): the rows of a group of pairs are gathered to one place,
//! multiplied tile by tile, and their products added to the output rows.

#![allow(unsafe_code, reason = "tile instructions exist only as assembly; RowProduct::check has bounded all accesses")]

use super::vector::Vector;
use super::{RowProduct, Start};
use crate::backend::cpu::tensor::LINE;
use crate::sparse::Pair;
use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::sync::LazyLock;

/// Whose hints fetch memory ahead.
type V = __m512;

/// Rows and columns of two tiles side by side.
const SIDE: usize = 2 * LINE;
/// Words of the input rows that one gathering takes: 32 rows of them fit the L1 cache beside weights and products.
const DEPTH: usize = 8 * LINE;
/// Bytes from one row of products to the next.
const PRODUCT_STRIDE: usize = SIDE * size_of::<f32>();

/// Shapes of the tile registers: all of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static SHAPES: Shapes = Shapes {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// A word that is written before anything but a tile reads it. Tiles read rows past a group's last pair too, whose
/// products nobody reads.
type Word = MaybeUninit<f32>;

const UNFILLED: Word = Word::uninit();

/// The rows of one group of pairs, and their products.
#[repr(C, align(64))]
struct Group {
    rows: [[Word; DEPTH]; SIDE],
    products: [[Word; SIDE]; SIDE],
}

/// Whether the CPU has BF16 tiles and the operating system lets this process use them, which it is asked for.
pub(in crate::backend::cpu) fn is_usable() -> bool {
    static USABLE: LazyLock<bool> = LazyLock::new(|| has_tiles() && request_tiles());
    *USABLE
}

/// CPUID leaf 7: AMX-BF16 and AMX-TILE.
fn has_tiles() -> bool {
    let leaf = __cpuid_count(7, 0);
    leaf.edx >> 22 & 1 == 1 && leaf.edx >> 24 & 1 == 1
}

/// Linux gives the state of tile registers only to processes that ask.
#[cfg(target_os = "linux")]
fn request_tiles() -> bool {
    /// `ARCH_REQ_XCOMP_PERM` of the kernel's `asm/prctl.h`, for the state component of the tile data.
    const REQUEST: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: the call takes two integers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn request_tiles() -> bool {
    false
}

/// One group of up to `$rows` tiles of rows by `$columns` tiles of columns over `$steps` lines of the input rows.
macro_rules! multiply {
    ($steps:expr, $a:expr, $a_stride:expr, $b:expr, $b_stride:expr, $c:expr,
     [$($zero:literal),*], [$($step:literal),*], [$($store:literal),*]) => {
        asm!(
            $($zero,)*
            "/* {c_lower} */",
            "2:",
            $($step,)*
            "add {a}, 64",
            "add {lower}, 64",
            "add {b}, {b_step}",
            "dec {steps}",
            "jnz 2b",
            $($store,)*
            a = inout(reg) $a => _,
            lower = inout(reg) $a.wrapping_byte_add(LINE * $a_stride) => _,
            a_stride = in(reg) $a_stride,
            b = inout(reg) $b => _,
            b_stride = in(reg) $b_stride,
            b_step = in(reg) LINE * $b_stride,
            steps = inout(reg) $steps => _,
            c = in(reg) $c,
            c_lower = in(reg) $c.wrapping_byte_add(LINE * PRODUCT_STRIDE),
            c_stride = in(reg) PRODUCT_STRIDE,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// Runs all pairs of a product.
///
/// # Safety
/// `product` has passed [`RowProduct::check`] for `pairs`, none of its panels is wider than [`SIDE`], its words are BF16
/// pairs, and the CPU has the instructions.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn accumulate(product: &mut RowProduct<'_>, pairs: &[Pair]) {
    let mut group = Group { rows: [[UNFILLED; DEPTH]; SIDE], products: [[UNFILLED; SIDE]; SIDE] };
    // SAFETY: reads the shapes. No code between here and the release uses tile registers but `multiply`.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, readonly)) };
    let mut groups = pairs.chunks(SIDE).peekable();
    while let Some(pairs) = groups.next() {
        let following = groups.peek().copied().unwrap_or_default();
        let mut start = product.start;
        for first in product.words.clone().step_by(DEPTH) {
            let words = first..product.words.end.min(first + DEPTH);
            // SAFETY: as promised by the caller; `words` are of the product's.
            unsafe { group.run(product, [pairs, following], words, start) };
            start = Start::Output;
        }
    }
    // SAFETY: gives the tile registers back, so that a switch of threads need not save them.
    unsafe { asm!("tilerelease", options(nomem, nostack)) };
}

impl Group {
    /// Multiplies some words of one group's rows and adds the products to the output.
    ///
    /// # Safety
    /// As [`accumulate`], the shapes loaded.
    #[target_feature(enable = "avx512f")]
    unsafe fn run(
        &mut self,
        product: &mut RowProduct<'_>,
        [pairs, following]: [&[Pair]; 2],
        words: std::ops::Range<usize>,
        start: Start<'_>,
    ) {
        // SAFETY: as promised by the caller.
        let (rows, stride) = unsafe { self.gather(product, [pairs, following], words.clone()) };
        let steps = words.len() / LINE;
        let relu = product.relu && words.end == product.words.end;
        let mut block = product.weights.as_ptr();
        for panel in product.panels {
            let width = panel.width * size_of::<f32>();
            let weights = block.wrapping_add(words.start * panel.width);
            let products = self.products.as_mut_ptr();
            // SAFETY: `rows` holds 16 or 32 rows, as many as the tiles read, of `steps` lines; the weights hold as many
            // lines of the panel, and `products` all that is stored.
            unsafe {
                match (pairs.len() > LINE, panel.width > LINE) {
                    (true, true) => multiply!(
                        steps,
                        rows,
                        stride,
                        weights,
                        width,
                        products,
                        ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"],
                        [
                            "tileloadd tmm4, [{a} + {a_stride}]",
                            "tileloadd tmm6, [{b} + {b_stride}]",
                            "tdpbf16ps tmm0, tmm4, tmm6",
                            "tileloadd tmm7, [{b} + {b_stride} + 64]",
                            "tdpbf16ps tmm1, tmm4, tmm7",
                            "tileloadd tmm5, [{lower} + {a_stride}]",
                            "tdpbf16ps tmm2, tmm5, tmm6",
                            "tdpbf16ps tmm3, tmm5, tmm7"
                        ],
                        [
                            "tilestored [{c} + {c_stride}], tmm0",
                            "tilestored [{c} + {c_stride} + 64], tmm1",
                            "tilestored [{c_lower} + {c_stride}], tmm2",
                            "tilestored [{c_lower} + {c_stride} + 64], tmm3"
                        ]
                    ),
                    (true, false) => multiply!(
                        steps,
                        rows,
                        stride,
                        weights,
                        width,
                        products,
                        ["tilezero tmm0", "tilezero tmm2"],
                        [
                            "tileloadd tmm4, [{a} + {a_stride}]",
                            "tileloadd tmm6, [{b} + {b_stride}]",
                            "tdpbf16ps tmm0, tmm4, tmm6",
                            "tileloadd tmm5, [{lower} + {a_stride}]",
                            "tdpbf16ps tmm2, tmm5, tmm6"
                        ],
                        ["tilestored [{c} + {c_stride}], tmm0", "tilestored [{c_lower} + {c_stride}], tmm2"]
                    ),
                    (false, true) => multiply!(
                        steps,
                        rows,
                        stride,
                        weights,
                        width,
                        products,
                        ["tilezero tmm0", "tilezero tmm1"],
                        [
                            "tileloadd tmm4, [{a} + {a_stride}]",
                            "tileloadd tmm6, [{b} + {b_stride}]",
                            "tdpbf16ps tmm0, tmm4, tmm6",
                            "tileloadd tmm7, [{b} + {b_stride} + 64]",
                            "tdpbf16ps tmm1, tmm4, tmm7"
                        ],
                        ["tilestored [{c} + {c_stride}], tmm0", "tilestored [{c} + {c_stride} + 64], tmm1"]
                    ),
                    (false, false) => multiply!(
                        steps,
                        rows,
                        stride,
                        weights,
                        width,
                        products,
                        ["tilezero tmm0"],
                        [
                            "tileloadd tmm4, [{a} + {a_stride}]",
                            "tileloadd tmm6, [{b} + {b_stride}]",
                            "tdpbf16ps tmm0, tmm4, tmm6"
                        ],
                        ["tilestored [{c} + {c_stride}], tmm0"]
                    ),
                }
                self.add(product, pairs, panel.column, panel.width / LINE, start, relu);
            }
            block = block.wrapping_add(product.input_stride * panel.width);
        }
    }

    /// The first row and the bytes from row to row of the group's input rows: where they stand if they stand in a row,
    /// or copied together.
    ///
    /// # Safety
    /// As [`accumulate`].
    #[target_feature(enable = "avx512f")]
    unsafe fn gather(
        &mut self,
        product: &mut RowProduct<'_>,
        [pairs, following]: [&[Pair]; 2],
        words: std::ops::Range<usize>,
    ) -> (*const f32, usize) {
        let row = |pair: &Pair| pair.input as usize * product.input_stride + words.start;
        let neighbours = |pairs: &[Pair; 2]| pairs[0].input + 1 == pairs[1].input;
        for pair in following {
            let from = product.input.as_ptr().wrapping_add(row(pair));
            (0..words.len()).step_by(LINE).for_each(|word| V::prefetch_near(from.wrapping_add(word)));
            product.ahead.step(V::prefetch_far);
        }
        if pairs.len().is_multiple_of(LINE) && pairs.array_windows().all(neighbours) {
            let rows = product.input.as_ptr().wrapping_add(row(&pairs[0]));
            return (rows, product.input_stride * size_of::<f32>());
        }
        for (pair, to) in pairs.iter().zip(&mut self.rows) {
            let from = product.input.as_ptr().wrapping_add(row(pair));
            for word in (0..words.len()).step_by(LINE) {
                // SAFETY: RowProduct::check established that all words of the row lie inside the input.
                unsafe { _mm512_store_ps(to.as_mut_ptr().add(word).cast(), _mm512_loadu_ps(from.add(word))) };
            }
        }
        (self.rows.as_ptr().cast(), DEPTH * size_of::<f32>())
    }

    /// Adds the products of the group to `lines` lines of the output rows from `column` on.
    ///
    /// # Safety
    /// As [`accumulate`].
    #[target_feature(enable = "avx512f")]
    unsafe fn add(
        &self,
        product: &mut RowProduct<'_>,
        pairs: &[Pair],
        column: usize,
        lines: usize,
        start: Start<'_>,
        relu: bool,
    ) {
        for (pair, products) in pairs.iter().zip(&self.products) {
            let place = pair.output as usize * product.output_stride + column;
            for at in (0..lines * LINE).step_by(LINE) {
                // SAFETY: RowProduct::check established that the panel of the row lies inside the output, the shift
                // and the residual.
                unsafe {
                    let to = product.output.as_mut_ptr().add(place + at);
                    let mut sum = _mm512_load_ps(products.as_ptr().add(at).cast());
                    sum = match start {
                        Start::Output => _mm512_add_ps(sum, _mm512_loadu_ps(to)),
                        Start::Shift { shift, residual } => {
                            sum = _mm512_add_ps(sum, _mm512_loadu_ps(shift.as_ptr().add(column + at)));
                            match residual {
                                Some(rows) => _mm512_add_ps(sum, _mm512_loadu_ps(rows.as_ptr().add(place + at))),
                                None => sum,
                            }
                        }
                    };
                    if relu {
                        sum = _mm512_max_ps(_mm512_setzero_ps(), sum);
                    }
                    _mm512_storeu_ps(to, sum);
                }
            }
        }
    }
}
