//! Vectors of FP32 lanes: the few operations a micro-kernel is made of, for every instruction set and precision.

#![allow(unsafe_code, reason = "vector instructions on pointers that the kernel has bounded")]

/// Some lanes in a register. The methods are inlined into functions compiled for the instructions they need.
///
/// # Safety
/// Pointers are valid for [`Vector::LANES`] floats (one for `splat`), and the CPU has the instructions.
pub(super) unsafe trait Vector: Copy {
    const LANES: usize;

    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// All lanes the float at `from`.
    unsafe fn splat(from: *const f32) -> Self;
    /// `self + a b`
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    /// Negative lanes become 0; NaN stays, so that a fault upstream shows.
    unsafe fn relu(self) -> Self;
    /// The lower BF16 number of each lane's two.
    unsafe fn low(self) -> Self;
    /// The upper BF16 number of each lane's two.
    unsafe fn high(self) -> Self;
    /// Hints that the line at an address will be read soon.
    #[inline(always)]
    fn prefetch_near(_address: *const f32) {}
    /// Hints that the line at an address will be read later.
    #[inline(always)]
    fn prefetch_far(_address: *const f32) {}
}

/// What a lane of two operands adds to its sum.
///
/// # Safety
/// The CPU has the instructions.
pub(super) unsafe trait Multiply<V: Vector> {
    unsafe fn multiply(sum: V, a: V, b: V) -> V;
}

/// Lanes are FP32 numbers.
pub(super) struct Single;
/// Lanes are two BF16 numbers each, widened and multiplied one after the other.
pub(super) struct Widened;
/// Lanes are two BF16 numbers each, multiplied by one instruction.
#[cfg(target_arch = "x86_64")]
pub(super) struct Dot;

// SAFETY: nothing but the vector's own operation.
unsafe impl<V: Vector> Multiply<V> for Single {
    #[inline(always)]
    unsafe fn multiply(sum: V, a: V, b: V) -> V {
        // SAFETY: as promised by the caller.
        unsafe { sum.mul_add(a, b) }
    }
}

// SAFETY: nothing but the vector's own operations.
unsafe impl<V: Vector> Multiply<V> for Widened {
    #[inline(always)]
    unsafe fn multiply(sum: V, a: V, b: V) -> V {
        // SAFETY: as promised by the caller.
        unsafe { sum.mul_add(a.low(), b.low()).mul_add(a.high(), b.high()) }
    }
}

/// Plain Rust, which the compiler vectorises for the target's baseline.
// SAFETY: every lane of the arrays is read and written as the trait says.
unsafe impl Vector for [f32; 16] {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as promised by the caller.
        unsafe { from.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as promised by the caller.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn splat(from: *const f32) -> Self {
        // SAFETY: as promised by the caller.
        [unsafe { *from }; 16]
    }
    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|lane| self[lane] + a[lane] * b[lane])
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        std::array::from_fn(|lane| self[lane] + other[lane])
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        self.map(|lane| if lane < 0.0 { 0.0 } else { lane })
    }
    #[inline(always)]
    unsafe fn low(self) -> Self {
        self.map(|lane| f32::from_bits(lane.to_bits() << 16))
    }
    #[inline(always)]
    unsafe fn high(self) -> Self {
        self.map(|lane| f32::from_bits(lane.to_bits() & 0xffff_0000))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Dot, Multiply, Vector};
    use std::arch::x86_64::*;
    use std::mem::transmute;

    macro_rules! x86_vector {
        ($vector:ty, $lanes:literal, $load:ident, $store:ident, $splat:ident, $fma:ident, $add:ident, $max:ident, $zero:ident, $shift:ident, $and:ident, $set1:ident, $ints:ty) => {
            // SAFETY: one instruction each, on the lanes the trait names.
            unsafe impl Vector for $vector {
                const LANES: usize = $lanes;

                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: as promised by the caller.
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: as promised by the caller.
                    unsafe { $store(to, self) }
                }
                #[inline(always)]
                unsafe fn splat(from: *const f32) -> Self {
                    // SAFETY: as promised by the caller.
                    unsafe { $splat(*from) }
                }
                #[inline(always)]
                unsafe fn mul_add(self, a: Self, b: Self) -> Self {
                    // SAFETY: as promised by the caller.
                    unsafe { $fma(a, b, self) }
                }
                #[inline(always)]
                unsafe fn add(self, other: Self) -> Self {
                    // SAFETY: as promised by the caller.
                    unsafe { $add(self, other) }
                }
                #[inline(always)]
                unsafe fn relu(self) -> Self {
                    // SAFETY: as promised by the caller. Of two operands one of which is NaN it gives the second.
                    unsafe { $max($zero(), self) }
                }
                #[inline(always)]
                unsafe fn low(self) -> Self {
                    // SAFETY: as promised by the caller; vectors of the same size.
                    unsafe { transmute($shift::<16>(transmute::<Self, $ints>(self))) }
                }
                #[inline(always)]
                unsafe fn high(self) -> Self {
                    // SAFETY: as promised by the caller; vectors of the same size.
                    unsafe { transmute($and(transmute::<Self, $ints>(self), $set1(0xffff_0000_u32 as i32))) }
                }
                #[inline(always)]
                fn prefetch_near(address: *const f32) {
                    // SAFETY: a hint, for any address.
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
                }
                #[inline(always)]
                fn prefetch_far(address: *const f32) {
                    // SAFETY: a hint, for any address.
                    unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
                }
            }
        };
    }

    x86_vector!(
        __m256,
        8,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        _mm256_max_ps,
        _mm256_setzero_ps,
        _mm256_slli_epi32,
        _mm256_and_si256,
        _mm256_set1_epi32,
        __m256i
    );
    x86_vector!(
        __m512,
        16,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        _mm512_max_ps,
        _mm512_setzero_ps,
        _mm512_slli_epi32,
        _mm512_and_si512,
        _mm512_set1_epi32,
        __m512i
    );

    // SAFETY: one instruction, on BF16 pairs as it expects.
    unsafe impl Multiply<__m512> for Dot {
        #[inline(always)]
        unsafe fn multiply(sum: __m512, a: __m512, b: __m512) -> __m512 {
            // SAFETY: as promised by the caller; vectors of the same size.
            unsafe { _mm512_dpbf16_ps(sum, transmute::<__m512, __m512bh>(a), transmute::<__m512, __m512bh>(b)) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::Vector;
    use std::arch::aarch64::*;

    // SAFETY: one instruction each, on the lanes the trait names.
    unsafe impl Vector for float32x4_t {
        const LANES: usize = 4;

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { vld1q_f32(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as promised by the caller.
            unsafe { vst1q_f32(to, self) }
        }
        #[inline(always)]
        unsafe fn splat(from: *const f32) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { vld1q_dup_f32(from) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { vfmaq_f32(self, a, b) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { vaddq_f32(self, other) }
        }
        #[inline(always)]
        unsafe fn relu(self) -> Self {
            // SAFETY: as promised by the caller. The maximum of NaN and anything is NaN.
            unsafe { vmaxq_f32(self, vdupq_n_f32(0.0)) }
        }
        #[inline(always)]
        unsafe fn low(self) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(vreinterpretq_u32_f32(self))) }
        }
        #[inline(always)]
        unsafe fn high(self) -> Self {
            // SAFETY: as promised by the caller.
            unsafe { vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(self), vdupq_n_u32(0xffff_0000))) }
        }
    }
}
