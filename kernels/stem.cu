// The first convolution, in FP32: on constant ones a lookup by occupancy, on features a sum over the neighbours.
//
// On ones a 5x5x5 kernel is 25 lines along x of five occupancy bits, each with a table of the 32 possible sums (batch norm's
// scale folded in): 25 additions of a row of channels per voxel, in the order of the CPU (backend/cpu/stem.rs). A warp takes
// one voxel after the other: its lanes first look up a line each, then hold a channel each.
//
// Predicted per voxel of 32 channels: 25 x 128 bytes of table from L1 (102 KB in all), two block words per line, 64 bytes
// written: 200,000 voxels 640 MB from L1, 23 us on 132 multiprocessors at 128 bytes a clock. With 3 features per voxel: 12
// bytes and 96 FMA per neighbour, 384 bytes of weights from L1 each: 20 to 40 neighbours, 2.3 GB, 80 us.
//
// History (no version has been measured on a device yet):
//   1. a warp per 8 voxels, tables from L1.
#include "neighbours.cuh"

#include <cuda_fp16.h>

constexpr u32 THREADS = 256;
constexpr u32 WARPS = THREADS / WARP;
// Voxels a warp takes.
constexpr u32 VOXELS = 8;
constexpr float LARGEST_HALF = 65504.0f;

// Mirrors `StemDescriptor` in backend/cuda/stem.rs.
struct Stem {
    const float* weights;  // ones: [size^2][2^size][stride] sums, else [size^3][channels][stride]; scale folded in
    const float* shift;    // [stride]
    const float* features; // [voxels][channels] or null for ones
    __half* output;        // [voxels][stride]
    u64* pairs;            // [1] neighbours met, zero before
    u32 size;              // 3 or 5
    u32 channels;          // of the features
    u32 stride;            // output channels, padded
    u32 reserved;
};

__device__ __forceinline__ void store(const Stem& stem, u32 row, u32 channel, float value) {
    if (channel >= stem.stride) return;
    if (value < 0) value = 0;
    if (value > LARGEST_HALF) value = LARGEST_HALF;
    stem.output[static_cast<u64>(row) * stem.stride + channel] = __float2half_rn(value);
}

// Adds up the neighbours that the lanes met; the groups of channels meet the same ones.
__device__ __forceinline__ void count_pairs(const Stem& stem, u32 pairs) {
    for (u32 step = WARP / 2; step; step /= 2) pairs += __shfl_xor_sync(ALL_LANES, pairs, step);
    if (lane() == 0 && blockIdx.y == 0 && pairs) atomicAdd(stem.pairs, static_cast<u64>(pairs));
}

// Grid: a block per 64 voxels by groups of 32 channels.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_stem_ones(const __grid_constant__ Levels levels, const __grid_constant__ Stem stem) {
    const u32 first = (blockIdx.x * WARPS + threadIdx.x / WARP) * VOXELS, count = levels.counts[0];
    const u32 channel = blockIdx.y * WARP + lane(), lines = stem.size * stem.size, patterns = 1u << stem.size;
    const int reach = static_cast<int>(stem.size / 2);
    const bool stored = channel < stem.stride;
    const float shift = stored ? stem.shift[channel] : 0;
    u32 pairs = 0;
    for (u32 row = first; row < first + VOXELS && row < count; ++row) {
        const Neighbourhood near(levels, 0, row);
        u32 pattern = 0;
        if (lane() < lines) {
            const int dy = static_cast<int>(lane() % stem.size) - reach, dz = static_cast<int>(lane() / stem.size) - reach;
            for (int dx = -reach; dx <= reach; ++dx) pattern |= static_cast<u32>(near.occupied(dx, dy, dz)) << (dx + reach);
        }
        pairs += __popc(pattern);
        float sum = shift;
        for (u32 line = 0; line < lines; ++line) {
            const u32 entry = line * patterns + __shfl_sync(ALL_LANES, pattern, line);
            if (stored) sum += stem.weights[entry * stem.stride + channel];
        }
        store(stem, row, channel, sum);
    }
    count_pairs(stem, pairs);
}

// Grid as above.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_stem_features(const __grid_constant__ Levels levels, const __grid_constant__ Stem stem) {
    const u32 first = (blockIdx.x * WARPS + threadIdx.x / WARP) * VOXELS, count = levels.counts[0];
    const u32 channel = blockIdx.y * WARP + lane(), volume = stem.size * stem.size * stem.size;
    const int reach = static_cast<int>(stem.size / 2);
    const bool stored = channel < stem.stride;
    const float shift = stored ? stem.shift[channel] : 0;
    u32 pairs = 0;
    for (u32 row = first; row < first + VOXELS && row < count; ++row) {
        const Neighbourhood near(levels, 0, row);
        float sum = shift;
        for (u32 begin = 0; begin < volume; begin += WARP) {
            // A neighbour per lane, then those that are there one after the other.
            const u32 offset = begin + lane();
            const int dx = static_cast<int>(offset % stem.size) - reach, dy = static_cast<int>(offset / stem.size % stem.size) - reach;
            const int dz = static_cast<int>(offset / (stem.size * stem.size)) - reach;
            const u32 found = offset < volume ? near.row(dx, dy, dz) : NO_ROW;
            pairs += found != NO_ROW;
            for (u32 left = __ballot_sync(ALL_LANES, found != NO_ROW); left; left &= left - 1) {
                const u32 from = __ffs(left) - 1;
                const float* input = stem.features + static_cast<u64>(__shfl_sync(ALL_LANES, found, from)) * stem.channels;
                const float* weights = stem.weights + static_cast<u64>((begin + from) * stem.channels) * stem.stride + channel;
                if (!stored) continue;
                for (u32 c = 0; c < stem.channels; ++c) sum = fmaf(input[c], weights[static_cast<u64>(c) * stem.stride], sum);
            }
        }
        store(stem, row, channel, sum);
    }
    count_pairs(stem, pairs);
}
