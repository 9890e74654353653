//! Vectors of FP32 lanes: the few operations a micro-kernel is made of, for every instruction set.

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
    /// Hints that the line at an address will be read soon.
    #[inline(always)]
    fn prefetch_near(_address: *const f32) {}
    /// Hints that the line at an address will be read later.
    #[inline(always)]
    fn prefetch_far(_address: *const f32) {}
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
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    macro_rules! x86_vector {
        ($vector:ty, $lanes:literal, $load:ident, $store:ident, $splat:ident, $fma:ident, $add:ident, $max:ident, $zero:ident) => {
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
        _mm256_setzero_ps
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
        _mm512_setzero_ps
    );
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
    }
}
