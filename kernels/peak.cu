// What the device can do at most, for a benchmark to compare the other kernels with: products on tensor cores that never
// leave the registers, and copies of memory.
//
// The products are those of the convolutions: `mma.sync` of halves with FP32 sums. On sm_90 that reaches about 62 % of what
// `wgmma` does, so a share of this ceiling says how well the instruction is fed, not whether it is the best one.
//
// Predicted on an H200: 610 TFLOP/s, and 4.3 TB/s read and written together.
//
// History (no version has been measured on a device yet):
//   1. 8 sums a warp, 64 bytes a thread.
#include "mma.cuh"

constexpr u32 THREADS = 256;
// Independent sums of a warp: with 8 warps or more per quarter of a multiprocessor enough to hide a product's latency.
constexpr u32 SUMS = 8;
// 16-byte chunks that a thread copies.
constexpr u32 CHUNKS = 4;

// Halves of random bits between 1 and 2, half of them negative: products of zeros take less power and run faster.
__device__ __forceinline__ u32 two_halves(u32 seed) {
    seed = (seed ^ seed >> 16) * 0x7feb352du;
    seed = (seed ^ seed >> 15) * 0x846ca68bu;
    return ((seed ^ seed >> 16) & 0x83ff83ffu) | 0x3c003c00u;
}

// Every warp multiplies `rounds` times into each of its sums; a thread writes one float, which nobody reads.
extern "C" __global__ void __launch_bounds__(THREADS) ov3d_peak_products(u32 rounds, float* out) {
    float sums[SUMS][4] = {};
    const u32 seed = threadIdx.x * 8;
    const u32 a[4] = {two_halves(seed), two_halves(seed + 1), two_halves(seed + 2), two_halves(seed + 3)};
    const u32 b[2] = {two_halves(seed + 4), two_halves(seed + 5)};
    for (u32 round = 0; round < rounds; ++round)
#pragma unroll
        for (u32 i = 0; i < SUMS; ++i) multiply(sums[i], a, b[0], b[1]);
    float total = 0;
#pragma unroll
    for (u32 i = 0; i < SUMS; ++i) total += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
    out[blockIdx.x * THREADS + threadIdx.x] = total;
}

// `count` chunks, a block taking THREADS * CHUNKS of them.
extern "C" __global__ void __launch_bounds__(THREADS) ov3d_peak_copy(const uint4* from, uint4* to, u64 count) {
    const u64 first = static_cast<u64>(blockIdx.x) * (THREADS * CHUNKS) + threadIdx.x;
    uint4 chunks[CHUNKS];
#pragma unroll
    for (u32 i = 0; i < CHUNKS; ++i)
        if (first + i * THREADS < count) chunks[i] = from[first + i * THREADS];
#pragma unroll
    for (u32 i = 0; i < CHUNKS; ++i)
        if (first + i * THREADS < count) to[first + i * THREADS] = chunks[i];
}
