// What ordinary kernels do with numbers: integers, floats, doubles, halves, local arrays, calls and jump tables.
#include <cuda_fp16.h>
#include <cuda_bf16.h>
typedef unsigned long long u64;
typedef long long i64;

extern "C" __global__ void float_functions(const float* x, float* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float v = x[i];
    float* o = out + size_t(i) * 32;
    int k = 0;
    o[k++] = expf(v); o[k++] = logf(fabsf(v) + 1e-3f); o[k++] = sinf(v); o[k++] = cosf(v); o[k++] = tanhf(v);
    o[k++] = powf(fabsf(v) + 0.1f, 1.7f); o[k++] = sqrtf(fabsf(v)); o[k++] = rsqrtf(fabsf(v) + 0.5f); o[k++] = erff(v);
    o[k++] = 1.0f / (v + 100.0f); o[k++] = floorf(v); o[k++] = ceilf(v); o[k++] = rintf(v); o[k++] = truncf(v);
    o[k++] = roundf(v); o[k++] = fmodf(v, 1.5f); o[k++] = atan2f(v, 2.0f); o[k++] = exp2f(v * 0.1f); o[k++] = log2f(v * v + 1.0f);
    o[k++] = cbrtf(v); o[k++] = fminf(v, 0.5f); o[k++] = fmaxf(v, -0.5f); o[k++] = copysignf(3.0f, v); o[k++] = fmaf(v, v, 1.0f);
    o[k++] = __expf(v * 0.1f); o[k++] = __saturatef(v); o[k++] = static_cast<float>(exp(static_cast<double>(v) * 0.1));
    o[k++] = static_cast<float>(sqrt(static_cast<double>(v) * v + 1.0)); o[k++] = __fdividef(v, 3.0f); o[k++] = log1pf(fabsf(v));
    o[k++] = ldexpf(v, 3); o[k++] = sinf(v * 1e5f);
}

extern "C" __global__ void rounding(const float* x, const float* y, float* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float a = x[i], b = y[i];
    float* o = out + size_t(i) * 12;
    o[0] = __fadd_rz(a, b); o[1] = __fadd_ru(a, b); o[2] = __fadd_rd(a, b); o[3] = __fmul_rz(a, b); o[4] = __fdiv_ru(a, b);
    o[5] = __fsqrt_rd(fabsf(a)); o[6] = __fmaf_rz(a, b, a); o[7] = __int2float_rz(static_cast<int>(a * 1e9f));
    o[8] = static_cast<float>(__float2int_ru(a)); o[9] = static_cast<float>(__float2int_rd(a));
    o[10] = static_cast<float>(__float2uint_rn(a)); o[11] = __double2float_ru(static_cast<double>(a) * b);
}

extern "C" __global__ void integers(const int* x, const int* y, i64* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const int a = x[i], b = y[i];
    const unsigned ua = a, ub = b;
    const i64 wa = (static_cast<i64>(a) << 20) ^ b, wb = (static_cast<i64>(b) << 3) | 1;
    i64* o = out + size_t(i) * 40;
    int k = 0;
    o[k++] = __popc(a); o[k++] = __clz(a); o[k++] = __ffs(a); o[k++] = __brev(a); o[k++] = __popcll(wa); o[k++] = __clzll(wa);
    o[k++] = __funnelshift_l(ua, ub, b); o[k++] = __funnelshift_r(ua, ub, b); o[k++] = __funnelshift_rc(ua, ub, 40);
    o[k++] = __byte_perm(a, b, 0x3715); o[k++] = __mulhi(a, b); o[k++] = __umulhi(ua, ub); o[k++] = __mul64hi(wa, wb);
    o[k++] = b ? a / b : 0; o[k++] = b ? a % b : 0; o[k++] = ub ? ua / ub : 0; o[k++] = wa / wb; o[k++] = wa % wb;
    o[k++] = min(a, b); o[k++] = max(ua, ub); o[k++] = abs(a); o[k++] = a >> (b & 31); o[k++] = ua >> (b & 31); o[k++] = a << (b & 31);
    o[k++] = wa >> (b & 63); o[k++] = (a & b) | (~a & 0x0f0f0f0f); o[k++] = (a ^ b) & ~(a | 7); o[k++] = (a >> 5) & 0x3ff;
    o[k++] = static_cast<signed char>(a); o[k++] = static_cast<unsigned char>(a); o[k++] = static_cast<short>(b);
    o[k++] = static_cast<i64>(a) * b + wa; o[k++] = static_cast<u64>(ua) * ub; o[k++] = a / 7; o[k++] = ua % 10u; o[k++] = wa / 1000;
    o[k++] = __dp4a(a, b, 5); o[k++] = __sad(a & 0xffff, b & 0xffff, 3u); o[k++] = __hadd(a >> 1, b >> 1);
    o[k++] = static_cast<i64>(__brevll(static_cast<u64>(wa)));
}

extern "C" __global__ void conversions(const float* x, double* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float v = x[i];
    double* o = out + size_t(i) * 16;
    int k = 0;
    o[k++] = static_cast<int>(v); o[k++] = static_cast<unsigned>(v); o[k++] = static_cast<i64>(v); o[k++] = static_cast<u64>(v);
    o[k++] = static_cast<short>(static_cast<int>(v)); o[k++] = __float2int_rn(v); o[k++] = __half2float(__float2half(v));
    o[k++] = __bfloat162float(__float2bfloat16(v)); o[k++] = static_cast<float>(static_cast<int>(v) * 3);
    o[k++] = __half2float(__float2half_rz(v)); o[k++] = __half2int_rn(__float2half(v)); o[k++] = __half2float(__int2half_rn(static_cast<int>(v)));
    o[k++] = static_cast<float>(static_cast<double>(v) * 1.1); o[k++] = static_cast<float>(static_cast<u64>(fabsf(v)) * 12345678ull);
    o[k++] = static_cast<unsigned char>(fminf(fmaxf(v, 0.0f), 255.0f)); o[k++] = __uint2float_rn(__float_as_uint(v));
}

extern "C" __global__ void halves(const __half* x, const __half* y, float* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const __half a = x[i], b = y[i];
    const __half2 p = __halves2half2(a, b), q = __halves2half2(b, a);
    float* o = out + size_t(i) * 32;
    int k = 0;
    auto put = [&](__half h) { o[k++] = __half2float(h); };
    auto put2 = [&](__half2 h) { put(__low2half(h)); put(__high2half(h)); };
    put(__hadd(a, b)); put(__hsub(a, b)); put(__hmul(a, b)); put(__hfma(a, b, a)); put(__hneg(a)); put(__habs(a));
    put(__hmax(a, b)); put(__hmin(a, b)); put(__hdiv(a, b)); put(hexp(a)); put(hsqrt(__habs(a)));
    put2(__hadd2(p, q)); put2(__hmul2(p, q)); put2(__hfma2(p, q, p)); put2(__hmax2(p, q));
    put(__hgt(a, b) ? __float2half(1.0f) : __float2half(0.0f)); put2(__hgt2(p, q)); put2(__floats2half2_rn(__half2float(a), 0.5f));
    put(__hfma_relu(a, b, a)); put2(__hadd2_sat(p, q)); put(__hadd_sat(a, b));
#if __CUDA_ARCH__ >= 800
    const __nv_bfloat16 c = __float2bfloat16(__half2float(a)), d = __float2bfloat16(__half2float(b));
    o[k++] = __bfloat162float(__hadd(c, d)); o[k++] = __bfloat162float(__hfma(c, d, c)); o[k++] = __bfloat162float(__hmax(c, d));
    o[k++] = __bfloat162float(__low2bfloat16(__hmul2(__halves2bfloat162(c, d), __halves2bfloat162(d, c))));
#endif
}

__device__ __noinline__ float horner(const float* c, int n, float x) {
    float s = 0.0f;
    for (int i = n - 1; i >= 0; --i) s = s * x + c[i];
    return s;
}

struct Shape { int sizes[6]; float scale; };
__constant__ float WEIGHTS[8] = {1, 2, 4, 8, 16, 32, 64, 128};
__device__ int calls_counted = 3;

// Local arrays under runtime indices, a call, a jump table, a structure by value, constants and a global variable.
extern "C" __global__ void control(const int* x, float* out, Shape shape, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float local[16];
    for (int j = 0; j < 16; ++j) local[(j * 5 + x[i]) & 15] = static_cast<float>(j) * shape.scale;
    float v = horner(local, 4 + (x[i] & 3), 0.5f) + horner(WEIGHTS, 8, 0.25f);
    switch (x[i] % 9) {
        case 0: v += 1.5f; break;
        case 1: v *= v; break;
        case 2: v = sqrtf(fabsf(v)); break;
        case 3: v -= 7.0f; break;
        case 4: v = 1.0f / (v + 50.0f); break;
        case 5: v = v * 3.0f - static_cast<float>(x[i]); break;
        case 6: v = -v; break;
        case 7: v = fminf(v, 2.0f); break;
        default: v = local[x[i] & 15]; break;
    }
    out[i] = v + static_cast<float>(shape.sizes[x[i] % 6]) + WEIGHTS[x[i] & 7];
    atomicAdd(&calls_counted, 1);
}

extern "C" __global__ void vectors(const float4* x, double2* out, uchar4* bytes, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float4 v = __ldg(&x[i]);
    out[i] = make_double2(double(v.x) + v.y, double(v.z) * v.w);
    bytes[i] = make_uchar4(1, i & 255, 3, (i >> 8) & 255);
}
