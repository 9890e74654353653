// What single instructions compute: integers, floats, halves, conversions. Names follow PTX.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <immintrin.h>

namespace emu {

template <class To, class From> inline To bits(From from) { return std::bit_cast<To>(from); }

// ---- integers
template <class T> inline T shl(T a, uint32_t n) { return n >= 8 * sizeof(T) ? T(0) : static_cast<T>(a << n); }
template <class T> inline T shr(T a, uint32_t n) {
    if (n >= 8 * sizeof(T)) return std::is_signed_v<T> && a < 0 ? T(-1) : T(0);
    return static_cast<T>(a >> n);
}
inline uint32_t shf_l_wrap(uint32_t low, uint32_t high, uint32_t n) {
    return static_cast<uint32_t>(((static_cast<uint64_t>(high) << 32 | low) << (n & 31)) >> 32);
}
inline uint32_t shf_r_wrap(uint32_t low, uint32_t high, uint32_t n) {
    return static_cast<uint32_t>((static_cast<uint64_t>(high) << 32 | low) >> (n & 31));
}
inline uint32_t shf_l_clamp(uint32_t low, uint32_t high, uint32_t n) { return n >= 32 ? low : shf_l_wrap(low, high, n); }
inline uint32_t shf_r_clamp(uint32_t low, uint32_t high, uint32_t n) { return n >= 32 ? high : shf_r_wrap(low, high, n); }

template <uint32_t TABLE> inline uint32_t lop3(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t r = 0;
    if (TABLE & 1) r |= ~a & ~b & ~c;
    if (TABLE & 2) r |= ~a & ~b & c;
    if (TABLE & 4) r |= ~a & b & ~c;
    if (TABLE & 8) r |= ~a & b & c;
    if (TABLE & 16) r |= a & ~b & ~c;
    if (TABLE & 32) r |= a & ~b & c;
    if (TABLE & 64) r |= a & b & ~c;
    if (TABLE & 128) r |= a & b & c;
    return r;
}

inline uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector) {
    const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
    uint32_t r = 0;
    for (int i = 0; i < 4; ++i) {
        const uint32_t pick = selector >> (4 * i) & 15;
        uint32_t byte = bytes >> (8 * (pick & 7)) & 255;
        if (pick & 8) byte = byte & 128 ? 255 : 0;
        r |= byte << (8 * i);
    }
    return r;
}

template <class T> inline T bfe(T a, uint32_t position, uint32_t length) {
    using U = std::make_unsigned_t<T>;
    constexpr unsigned BITS = 8 * sizeof(T);
    position &= 255;
    length &= 255;
    if (length == 0) return 0;
    const T shifted = shr<T>(a, position);
    if (length >= BITS) return shifted;
    U field = static_cast<U>(shifted) & ((U(1) << length) - 1);
    // Bits beyond the top repeat the sign.
    const unsigned top = std::min(position + length - 1, BITS - 1);
    if (std::is_signed_v<T> && (static_cast<U>(a) >> top & 1)) field |= ~((U(1) << length) - 1);
    return static_cast<T>(field);
}

template <class T> inline T bfi(T a, T b, uint32_t position, uint32_t length) {
    constexpr unsigned BITS = 8 * sizeof(T);
    position &= 255;
    length &= 255;
    if (length == 0 || position >= BITS) return b;
    const T mask = (length >= BITS ? T(~T(0)) : static_cast<T>((T(1) << length) - 1)) << position;
    return (b & ~mask) | ((a << position) & mask);
}

template <class T> inline uint32_t popc(T a) { return std::popcount(a); }
template <class T> inline uint32_t clz(T a) { return std::countl_zero(a); }
template <class T> inline T brev(T a) {
    T r = 0;
    for (unsigned i = 0; i < 8 * sizeof(T); ++i) r |= (a >> i & 1) << (8 * sizeof(T) - 1 - i);
    return r;
}
template <class T> inline uint32_t bfind(T a, bool shift_amount) {
    using U = std::make_unsigned_t<T>;
    const U u = std::is_signed_v<T> && a < 0 ? static_cast<U>(~a) : static_cast<U>(a);
    if (u == 0) return ~0u;
    const uint32_t top = 8 * sizeof(T) - 1 - std::countl_zero(u);
    return shift_amount ? 8 * sizeof(T) - 1 - top : top;
}
inline uint32_t fns(uint32_t mask, uint32_t base, int32_t offset) {
    if (offset == 0) return mask >> base & 1 ? base : ~0u;
    const int step = offset > 0 ? 1 : -1;
    for (int at = static_cast<int>(base), left = std::abs(offset); at >= 0 && at < 32; at += step)
        if (mask >> at & 1 && --left == 0) return at;
    return ~0u;
}
template <class T> inline uint32_t bmsk(bool wrap, uint32_t a, uint32_t b) {
    if (wrap) a &= 31, b &= 31;
    return a >= 32 ? 0 : shl<uint32_t>(b >= 32 ? ~0u : (1u << b) - 1, a);
}

template <class T> inline T mul_hi(T a, T b) {
    if constexpr (sizeof(T) == 8) {
        using W = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
        return static_cast<T>((static_cast<W>(a) * static_cast<W>(b)) >> 64);
    } else {
        using W = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
        return static_cast<T>((static_cast<W>(a) * static_cast<W>(b)) >> (8 * sizeof(T)));
    }
}
// 24-bit products: the low 24 bits of each factor count.
template <class T> inline int64_t product24(T a, T b) {
    if constexpr (std::is_signed_v<T>) return static_cast<int64_t>(a << 8 >> 8) * (b << 8 >> 8);
    return static_cast<int64_t>(static_cast<uint64_t>(a & 0xffffff) * (b & 0xffffff));
}
// Division by zero and the overflowing quotient give what the hardware gives instead of a trap of the host.
template <class T> inline T div(T a, T b) {
    if (b == 0) return T(~T(0));
    if (std::is_signed_v<T> && b == T(-1)) return static_cast<T>(0 - static_cast<std::make_unsigned_t<T>>(a));
    return a / b;
}
template <class T> inline T rem(T a, T b) {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == T(-1)) return 0;
    return a % b;
}
template <class T> inline T abs_int(T a) {
    return a < 0 ? static_cast<T>(0 - static_cast<std::make_unsigned_t<T>>(a)) : a;
}
template <class T> inline T sad(T a, T b, T c) { return static_cast<T>((a < b ? b - a : a - b) + c); }
template <class T> inline T clamped(__int128 value) {
    if (value < std::numeric_limits<T>::min()) return std::numeric_limits<T>::min();
    if (value > std::numeric_limits<T>::max()) return std::numeric_limits<T>::max();
    return static_cast<T>(value);
}
template <bool A_SIGNED, bool B_SIGNED> inline int32_t dp4a(uint32_t a, uint32_t b, int32_t c) {
    int32_t sum = 0;
    for (int i = 0; i < 32; i += 8) {
        const int32_t x = A_SIGNED ? static_cast<int8_t>(a >> i) : static_cast<uint8_t>(a >> i);
        const int32_t y = B_SIGNED ? static_cast<int8_t>(b >> i) : static_cast<uint8_t>(b >> i);
        sum += x * y;
    }
    return static_cast<int32_t>(static_cast<uint32_t>(sum) + static_cast<uint32_t>(c));
}
template <bool A_SIGNED, bool B_SIGNED, bool HIGH> inline int32_t dp2a(uint32_t a, uint32_t b, int32_t c) {
    int32_t sum = 0;
    for (int i = 0; i < 2; ++i) {
        const int32_t x = A_SIGNED ? static_cast<int16_t>(a >> 16 * i) : static_cast<uint16_t>(a >> 16 * i);
        const uint32_t byte = b >> (8 * i + (HIGH ? 16 : 0));
        sum += x * (B_SIGNED ? static_cast<int8_t>(byte) : static_cast<int32_t>(static_cast<uint8_t>(byte)));
    }
    return static_cast<int32_t>(static_cast<uint32_t>(sum) + static_cast<uint32_t>(c));
}
// Chains of carries: the flag is a local variable of the generated function.
template <class T> inline T add_carry(T a, T b, bool carry_in, bool& carry_out) {
    const T partial = a + b, sum = partial + carry_in;
    carry_out = partial < a || sum < partial;
    return sum;
}
template <class T> inline T sub_borrow(T a, T b, bool borrow_in, bool& borrow_out) {
    const T partial = a - b, difference = partial - borrow_in;
    borrow_out = a < b || partial < static_cast<T>(borrow_in);
    return difference;
}

// ---- floats
template <class T> inline T ftz(T x) {
    return std::fabs(x) < std::numeric_limits<T>::min() ? std::copysign(T(0), x) : x;
}
template <class T> inline T saturate(T x) { return x > 0 ? (x < 1 ? x : T(1)) : T(0); }
template <class T> inline T fmin_ptx(T a, T b) {
    if (a != a) return b;
    if (b != b) return a;
    return a < b || (a == b && std::signbit(a)) ? a : b;
}
template <class T> inline T fmax_ptx(T a, T b) {
    if (a != a) return b;
    if (b != b) return a;
    return a > b || (a == b && !std::signbit(a)) ? a : b;
}
template <class T> inline T fmin_nan(T a, T b) {
    return a != a || b != b ? std::numeric_limits<T>::quiet_NaN() : fmin_ptx(a, b);
}
template <class T> inline T fmax_nan(T a, T b) {
    return a != a || b != b ? std::numeric_limits<T>::quiet_NaN() : fmax_ptx(a, b);
}

// Rounding other than to nearest, by the host's own rounding modes: 1 down, 2 up, 3 to zero.
enum : unsigned { RM = 1, RP = 2, RZ = 3 };
// The compiler can neither fold what comes of the value nor move it past this.
template <class T> inline void opaque(T& x) { asm volatile("" : "+m"(x) : : "memory"); }
template <unsigned MODE, class F, class... X> __attribute__((noinline)) auto rounded(F f, X... x) {
    const unsigned saved = _mm_getcsr();
    _mm_setcsr((saved & ~0x6000u) | MODE << 13);
    (opaque(x), ...);
    auto r = f(x...);
    opaque(r);
    _mm_setcsr(saved);
    return r;
}

template <class T> inline bool testp_normal(T x) { return std::isnormal(x); }

// ---- halves
inline float from_f16(uint16_t h) { return _cvtsh_ss(h); }
inline uint16_t to_f16(float f) { return _cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT); }
inline float from_bf16(uint16_t h) { return bits<float>(static_cast<uint32_t>(h) << 16); }
inline uint16_t to_bf16(float f) {
    if (f != f) return 0x7fff;
    const uint32_t u = bits<uint32_t>(f);
    return static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
// A double to the float that rounds on to the same half as the double itself: inexact results become odd.
inline float narrowed(double d) {
    const float f = static_cast<float>(d);
    if (static_cast<double>(f) == d || d != d || std::isinf(f)) return f;
    uint32_t u = bits<uint32_t>(f);
    if (u & 1) return f;
    const bool too_large = std::fabs(static_cast<double>(f)) > std::fabs(d);
    return bits<float>(too_large ? u - 1 : u + 1);
}
struct F16 {
    static float get(uint16_t h) { return from_f16(h); }
    static uint16_t put(float f) { return to_f16(f); }
    static uint16_t put_fma(float a, float b, float c) {
        // Exact in double but for sums whose parts lie more than 53 bits apart.
        return to_f16(narrowed(std::fma(static_cast<double>(a), static_cast<double>(b), static_cast<double>(c))));
    }
    static constexpr uint16_t NAN_BITS = 0x7fff;
};
struct BF16 {
    static float get(uint16_t h) { return from_bf16(h); }
    static uint16_t put(float f) { return to_bf16(f); }
    static uint16_t put_fma(float a, float b, float c) {
        return to_bf16(narrowed(std::fma(static_cast<double>(a), static_cast<double>(b), static_cast<double>(c))));
    }
    static constexpr uint16_t NAN_BITS = 0x7fff;
};
template <class H> inline uint16_t half_canonical(uint16_t h) { return H::get(h) != H::get(h) ? H::NAN_BITS : h; }
template <class H> inline uint16_t half_add(uint16_t a, uint16_t b) { return half_canonical<H>(H::put(H::get(a) + H::get(b))); }
template <class H> inline uint16_t half_sub(uint16_t a, uint16_t b) { return half_canonical<H>(H::put(H::get(a) - H::get(b))); }
template <class H> inline uint16_t half_mul(uint16_t a, uint16_t b) { return half_canonical<H>(H::put(H::get(a) * H::get(b))); }
template <class H> inline uint16_t half_fma(uint16_t a, uint16_t b, uint16_t c) {
    return half_canonical<H>(H::put_fma(H::get(a), H::get(b), H::get(c)));
}
template <class H> inline uint16_t half_min(uint16_t a, uint16_t b) { return half_canonical<H>(H::put(fmin_ptx(H::get(a), H::get(b)))); }
template <class H> inline uint16_t half_max(uint16_t a, uint16_t b) { return half_canonical<H>(H::put(fmax_ptx(H::get(a), H::get(b)))); }
template <class H> inline uint16_t half_min_nan(uint16_t a, uint16_t b) { return half_canonical<H>(H::put(fmin_nan(H::get(a), H::get(b)))); }
template <class H> inline uint16_t half_max_nan(uint16_t a, uint16_t b) { return half_canonical<H>(H::put(fmax_nan(H::get(a), H::get(b)))); }
template <class H> inline uint16_t half_neg(uint16_t a) { return a ^ 0x8000; }
template <class H> inline uint16_t half_abs(uint16_t a) { return a & 0x7fff; }
template <class H> inline uint16_t half_ex2(uint16_t a) { return H::put(std::exp2(H::get(a))); }
template <class H> inline uint16_t half_tanh(uint16_t a) { return H::put(std::tanh(H::get(a))); }
template <class H> inline uint16_t half_saturate(uint16_t a) { return H::put(saturate(H::get(a))); }
template <class H> inline uint16_t half_relu(uint16_t a) {
    const float f = H::get(a);
    return f != f ? H::NAN_BITS : f > 0 ? a : 0;
}
template <class F, class... X> inline uint32_t pairwise(F f, X... x) {
    return f(static_cast<uint16_t>(x)...) | static_cast<uint32_t>(f(static_cast<uint16_t>(x >> 16)...)) << 16;
}

// ---- conversions
// A rounded float to an integer, clamped to its range; NaN becomes zero, or for 64 bits the top bit alone.
template <class I, class F> inline I to_integer(F x) {
    if (x != x) return sizeof(I) == 8 ? static_cast<I>(1ull << 63) : I(0);
    if (x <= static_cast<F>(std::numeric_limits<I>::min())) return std::numeric_limits<I>::min();
    if (x >= static_cast<F>(std::numeric_limits<I>::max())) return std::numeric_limits<I>::max();
    return static_cast<I>(x);
}
template <class F> inline F round_even(F x) { return std::nearbyint(x); }

template <unsigned MODE> inline uint16_t to_f16_rounded(double x) {
    // The neighbours of the nearest half, chosen by the sign of the error.
    if (x != x) return 0x7fff;
    uint16_t h = to_f16(narrowed(x));
    const double back = from_f16(h);
    if (back == x) return h;
    const bool down = MODE == RM || (MODE == RZ && x > 0), up = MODE == RP || (MODE == RZ && x < 0);
    if (down && back > x) return back > 0 ? h - 1 : h == 0 || h == 0x8000 ? 0x8001 : h + 1;
    if (up && back < x) return back < 0 ? h - 1 : h == 0 || h == 0x8000 ? 0x0001 : h + 1;
    return h;
}
template <unsigned MODE> inline uint16_t to_bf16_rounded(float x) {
    if (x != x) return 0x7fff;
    const uint32_t u = bits<uint32_t>(x);
    const uint16_t toward_zero = static_cast<uint16_t>(u >> 16);
    const bool away = (MODE == RM && x < 0) || (MODE == RP && x > 0);
    return toward_zero + (away && (u & 0xffff) != 0);
}
inline uint32_t to_tf32(float x) { return x != x ? 0x7fffffff : (bits<uint32_t>(x) + 0x1000) & 0xffffe000; }
}  // namespace emu
