// Short names for the types of the kernels, and the warp's helpers. NVRTC has no <stdint.h>.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

// The key of a point without a voxel: behind every voxel's.
constexpr u64 NO_KEY = ~0ull;
// Bits of a voxel key below the batch index: 18 per axis.
constexpr u32 MORTON_BITS = 54;
// "No such row" in tables of rows.
constexpr u32 NO_ROW = 0xffffffffu;

constexpr u32 WARP = 32;
constexpr u32 ALL_LANES = 0xffffffffu;

// Lane of this thread in its warp; blocks are one-dimensional and whole warps.
__device__ __forceinline__ u32 lane() { return threadIdx.x % WARP; }

// Bits of the lanes before `lane`.
__device__ __forceinline__ u32 lanes_before(u32 lane) { return (1u << lane) - 1; }
