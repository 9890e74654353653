// Sums over the threads of a warp and of a block, in one fixed order.
#pragma once
#include "types.cuh"

// The sum of `value` over this lane and those before it.
template <typename T>
__device__ __forceinline__ T warp_inclusive(T value) {
    for (u32 step = 1; step < WARP; step *= 2) {
        const T before = __shfl_up_sync(ALL_LANES, value, step);
        if (lane() >= step) value += before;
    }
    return value;
}

// The sum of `value` over the threads before this one; `total` becomes the sum over all. Every thread of the block calls
// it; `sums` has room for one T per warp and may be used again after the next barrier.
template <typename T>
__device__ __forceinline__ T block_exclusive(T value, T* sums, T& total) {
    const u32 warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    const T inclusive = warp_inclusive(value);
    if (lane() == WARP - 1) sums[warp] = inclusive;
    __syncthreads();
    T before = 0;
    total = 0;
    for (u32 other = 0; other < warps; ++other) {
        if (other == warp) before = total;
        total += sums[other];
    }
    return before + inclusive - value;
}
