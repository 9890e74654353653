// The convolutions of a network: submanifold, strided, transposed and 1x1x1, one kernel per width of the column tile.
//
// Predicted, 96 -> 96 channels on 200,000 voxels of 9 neighbours (H200): 33 GFLOP useful; 1.6 times as many rows in groups of
// 16 with any neighbour are multiplied (1.5 measured for groups of 16, 1.9 if whole tiles were): 53 GFLOP, 107 us at half of
// mma.sync's 62 % of the peak; input rows 346 MB from L2 (7 us per 38 MB that reach memory), weights (200,000 / 128) tiles
// of 17 offsets of 18 KB: 480 MB from L2, 87 us at 5.5 TB/s under the products. Shared memory per block 45 to 64 KB would let
// three blocks onto a multiprocessor of 228 KB; the registers of the tiles of 96 and 128 columns let two (docs/cuda.md).
//
// Small levels have few tiles: their steps are split between up to 8 blocks, whose sums `ov3d_convolution_finish` adds in
// the order of the splits.
//
// History (no version has been measured on a device yet; registers and spills are NVRTC 12.9's):
//   1. tiles of 128 x N, slabs of 32, three stages, offsets left out per group of 16 rows.
//   2. splits as many as fit at one time, not as many as fill the device: 101,000 voxels of a room need 24 sums of splits
//      instead of 33, of 0.2 GB instead of 0.4, and no layer a second wave of a few blocks.
//   Tried: __launch_bounds__(THREADS, 3) for three blocks of the wide tiles: 20 to 40 bytes of spills on sm_90, left out.
#include "convolution.cuh"

template <u32 N>
__device__ __forceinline__ void convolve(const Convolution& c) {
    extern __shared__ uint4 memory[];
    Tile<N> tile{c, *reinterpret_cast<SharedTile<N>*>(memory)};
    if (!tile.prepare()) return;
    tile.accumulate();
    const u32 first_column = blockIdx.y * N, columns = gridDim.y * N;
    tile.for_each_group([&](u32 place, const SumRow<N>* sums) {
        for (u32 item = lane(); item < GROUP_ROWS * (N / 8); item += WARP) {
            const u32 row = item / (N / 8), column = item % (N / 8) * 8;
            if (place + row >= tile.rows) continue;
            if (c.partial) {
                const u64 at = (static_cast<u64>(blockIdx.z) * tile.rows + place + row) * columns + first_column + column;
                float4* to = reinterpret_cast<float4*>(c.partial + at);
                to[0] = *reinterpret_cast<const float4*>(&sums[row][column]);
                to[1] = *reinterpret_cast<const float4*>(&sums[row][column + 4]);
            } else if (first_column + column < c.stride) {
                finish(c, &sums[row][column], tile.shared.outputs[place + row - tile.first], first_column + column);
            }
        }
    });
}

// Grid: row tiles, column tiles, splits.
extern "C" __global__ void __launch_bounds__(THREADS) ov3d_convolution_32(const __grid_constant__ Convolution c) { convolve<32>(c); }
extern "C" __global__ void __launch_bounds__(THREADS) ov3d_convolution_64(const __grid_constant__ Convolution c) { convolve<64>(c); }
extern "C" __global__ void __launch_bounds__(THREADS) ov3d_convolution_96(const __grid_constant__ Convolution c) { convolve<96>(c); }
extern "C" __global__ void __launch_bounds__(THREADS) ov3d_convolution_128(const __grid_constant__ Convolution c) { convolve<128>(c); }

// A thread per output row and 8 columns: the sums of the splits, first to last. `columns` of a row of sums.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_convolution_finish(const __grid_constant__ Convolution c, u32 columns, u32 splits) {
    const u32 index = blockIdx.x * THREADS + threadIdx.x, per_row = c.stride / 8, rows = *c.rows;
    const u32 place = index / per_row, column = index % per_row * 8;
    if (place >= rows) return;
    float sums[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (u32 split = 0; split < splits; ++split) {
        const float4* from = reinterpret_cast<const float4*>(c.partial + (static_cast<u64>(split) * rows + place) * columns + column);
        const float4 low = from[0], high = from[1];
        sums[0] += low.x;
        sums[1] += low.y;
        sums[2] += low.z;
        sums[3] += low.w;
        sums[4] += high.x;
        sums[5] += high.y;
        sums[6] += high.z;
        sums[7] += high.w;
    }
    finish(c, sums, c.order ? c.order[place] : place, column);
}
