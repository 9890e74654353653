// A masked implicit GEMM over one tile of output rows: gathered input rows times weights, on tensor cores, FP32 sums.
//
// A block takes 128 output rows and N output channels. Its steps run through the kernel offsets that any of its rows has,
// the sources of each (a concatenation is two) and slabs of 32 input channels. Three slabs are in flight: rows gathered by
// copies of 16 bytes, absent neighbours as zeros without traffic, weights as the tensor cores' fragments lie, so that a
// thread reads its own with one load. Each of the four warps owns 32 rows and all N channels: two groups of 16 rows, and a
// group without the offset is neither copied nor multiplied. A row's sum is one thread's, in one order.
#pragma once
#include "mma.cuh"

constexpr u32 THREADS = 128;
constexpr u32 TILE_ROWS = 128;
constexpr u32 GROUP_ROWS = 16;
constexpr u32 GROUPS = TILE_ROWS / GROUP_ROWS;
constexpr u32 SLAB = 32;          // input channels of a step
constexpr u32 STAGES = 3;
constexpr u32 MAX_OFFSETS = 27;
// The 1x1 shortcut counts as an offset that every row has; it comes first.
constexpr u32 SHORTCUT = 31;
constexpr u32 MAX_SLOTS = MAX_OFFSETS + 1;
constexpr float LARGEST_HALF = 65504.0f;

// Input rows of halves, `stride` apart (a multiple of 16, padded with zeros), in `slabs` slabs.
struct Source {
    const __half* rows;
    u32 stride;
    u32 slabs;
};

// One product of a convolution: its sources side by side, of which the second may have no slabs.
struct Product {
    Source sources[2];
    const uint4* weights;         // [column tiles][offsets][slabs of both sources][N / 8][32 lanes] fragments
    u32 offsets;
    u32 slabs;                    // of both sources
};

// One fused convolution. Mirrors `Descriptor` in backend/cuda/convolution.rs.
struct Convolution {
    Product main;
    Product shortcut;             // of one offset; no slabs: none
    const u32* table;             // [offsets][rows] input rows; null: every row meets itself
    const u32* masks;             // [rows] offsets with an input row; null as above
    const u32* order;             // [rows] output rows; null: in order
    const u32* rows;              // [1] number of output rows
    const float* scale;           // [columns] of the sum
    const float* shift;           // [columns]
    const float* between;         // [columns] what the shortcut's sum is multiplied by before the rest is added
    const __half* residual;       // [rows][stride] or null
    void* output;                 // [rows][stride] halves or floats
    float* partial;               // [splits][rows][columns] sums; null unless the steps are split
    u32 stride;                   // of the output: columns stored, a multiple of 8
    u32 relu;
    u32 output_is_f32;
    u32 reserved;
};

// The pipeline's memory and, after it, the sums on their way out.
template <u32 N>
struct Stage {
    uint4 rows[TILE_ROWS][SLAB / 8];  // 16-byte chunk c of row r at c ^ (r / 2 % 4): ldmatrix meets 8 banks
    uint4 weights[N / 8][WARP];
};

template <u32 N>
struct SharedTile {
    Stage<N> stages[STAGES];
    u32 inputs[MAX_SLOTS][TILE_ROWS];
    u32 outputs[TILE_ROWS];
    u32 offsets[MAX_SLOTS];
    u32 masks[GROUPS];
};

// Where in the steps of a tile a warp is.
struct Cursor {
    u32 slot, slab;

    __device__ __forceinline__ void advance(u32 shortcut_slabs, u32 slabs) {
        const u32 last = shortcut_slabs && slot == 0 ? shortcut_slabs : slabs;
        if (++slab == last) {
            slab = 0;
            ++slot;
        }
    }
};

// Row of sums per group and warp. Four floats beyond the columns keep rows at multiples of 16 bytes and four banks apart,
// which does not end conflicts: two lanes meet in a bank where fragments are written, four where head.cu scans a row.
template <u32 N>
using SumRow = float[N + 4];

template <u32 N>
struct Tile {
    const Convolution& c;
    SharedTile<N>& shared;
    float sums[2][N / 8][4];
    u32 rows, first, warp;

    // Reads masks and input rows of the tile. False if there is nothing to do.
    __device__ __forceinline__ bool prepare() {
        rows = *c.rows;
        first = blockIdx.x * TILE_ROWS;
        warp = threadIdx.x / WARP;
        if (first >= rows) return false;
        const u32 place = first + threadIdx.x;
        const bool inside = place < rows;
        const u32 mask = inside ? c.masks ? c.masks[place] : 1 : 0;
        const u32 own = inside ? c.order ? c.order[place] : place : NO_ROW;
        shared.outputs[threadIdx.x] = own;
        u32 group = mask | (inside && c.shortcut.slabs ? 1u << SHORTCUT : 0);
        for (u32 step = 1; step < GROUP_ROWS; step *= 2) group |= __shfl_xor_sync(ALL_LANES, group, step);
        if (threadIdx.x % GROUP_ROWS == 0) shared.masks[threadIdx.x / GROUP_ROWS] = group;
        __syncthreads();
        u32 slot = 0;
        const auto add = [&](u32 offset, u32 input) {
            shared.inputs[slot][threadIdx.x] = input;
            if (!threadIdx.x) shared.offsets[slot] = offset;
            ++slot;
        };
        if (c.shortcut.slabs) add(SHORTCUT, own);
        for (u32 left = offsets_of_tile(); left; left &= left - 1) {
            const u32 offset = __ffs(left) - 1;
            const bool present = mask >> offset & 1;
            add(offset, !present ? NO_ROW : c.table ? c.table[static_cast<u64>(offset) * rows + place] : own);
        }
        __syncthreads();
        return true;
    }

    __device__ __forceinline__ u32 offsets_of_tile() const {
        u32 all = 0;
        for (u32 group = 0; group < GROUPS; ++group) all |= shared.masks[group];
        return all & ~(1u << SHORTCUT);
    }

    // Starts copying one step's rows and weights.
    __device__ __forceinline__ void load(u32 stage, const Cursor& at) {
        Stage<N>& to = shared.stages[stage];
        const u32 offset = shared.offsets[at.slot];
        const bool shortcut = offset == SHORTCUT;
        const Product& product = shortcut ? c.shortcut : c.main;
        const bool second = at.slab >= product.sources[0].slabs;
        const Source& source = product.sources[second];
        const u32 chunk = threadIdx.x % (SLAB / 8);
        const u32 channel = (at.slab - (second ? product.sources[0].slabs : 0)) * SLAB + chunk * 8;
#pragma unroll
        for (u32 part = 0; part < TILE_ROWS * (SLAB / 8) / THREADS; ++part) {
            const u32 row = threadIdx.x / (SLAB / 8) + part * (THREADS / (SLAB / 8));
            if (!(shared.masks[row / GROUP_ROWS] >> offset & 1)) continue;
            const u32 input = shared.inputs[at.slot][row];
            const bool present = input != NO_ROW && channel < source.stride;
            const __half* from = source.rows + (present ? static_cast<u64>(input) * source.stride + channel : 0);
            copy_16(&to.rows[row][chunk ^ (row / 2 % 4)], from, present);
        }
        const u64 block = (static_cast<u64>(blockIdx.y) * product.offsets + (shortcut ? 0 : offset)) * product.slabs + at.slab;
        const uint4* weights = product.weights + block * (N / 8 * WARP);
#pragma unroll
        for (u32 part = 0; part < N / 8 * WARP; part += THREADS)
            copy_16(&to.weights[0][0] + part + threadIdx.x, weights + part + threadIdx.x, true);
    }

    template <bool FIRST, bool SECOND>
    __device__ __forceinline__ void multiply_groups(const Stage<N>& from) {
        u32 a[2][SLAB / 16][4];
        const u32 row = lane() % 8 + (lane() / 8 % 2) * 8;
#pragma unroll
        for (u32 half = 0; half < SLAB / 16; ++half) {
            const u32 chunk = 2 * half + lane() / 16;
#pragma unroll
            for (u32 group = 0; group < 2; ++group) {
                if (group == 0 ? !FIRST : !SECOND) continue;
                const u32 r = warp * 2 * GROUP_ROWS + group * GROUP_ROWS + row;
                load_matrices(a[group][half], shared_address(&from.rows[r][chunk ^ (r / 2 % 4)]));
            }
        }
#pragma unroll
        for (u32 column = 0; column < N / 8; ++column) {
            const uint4 b = from.weights[column][lane()];
            if (FIRST) {
                multiply(sums[0][column], a[0][0], b.x, b.y);
                multiply(sums[0][column], a[0][1], b.z, b.w);
            }
            if (SECOND) {
                multiply(sums[1][column], a[1][0], b.x, b.y);
                multiply(sums[1][column], a[1][1], b.z, b.w);
            }
        }
    }

    // The shortcut's sums in the unit of the rest's.
    __device__ __forceinline__ void rescale() {
#pragma unroll
        for (u32 column = 0; column < N / 8; ++column) {
            const float2 factor = *reinterpret_cast<const float2*>(c.between + blockIdx.y * N + column * 8 + lane() % 4 * 2);
#pragma unroll
            for (u32 group = 0; group < 2; ++group) {
                sums[group][column][0] *= factor.x;
                sums[group][column][1] *= factor.y;
                sums[group][column][2] *= factor.x;
                sums[group][column][3] *= factor.y;
            }
        }
    }

    // Sums this split's share of the steps.
    __device__ __forceinline__ void accumulate() {
#pragma unroll
        for (u32 group = 0; group < 2; ++group)
#pragma unroll
            for (u32 column = 0; column < N / 8; ++column)
#pragma unroll
                for (u32 value = 0; value < 4; ++value) sums[group][column][value] = 0;
        const u32 slabs = c.main.slabs, before = c.shortcut.slabs;
        const u32 total = before + __popc(offsets_of_tile()) * slabs;
        const u32 from = total * blockIdx.z / gridDim.z, to = total * (blockIdx.z + 1) / gridDim.z;
        Cursor at;
        if (from < before) {
            at = {0, from};
        } else {
            at = {(before != 0) + (from - before) / slabs, (from - before) % slabs};
        }
        Cursor ahead = at;
#pragma unroll
        for (u32 stage = 0; stage < STAGES - 1; ++stage) {
            if (from + stage < to) {
                load(stage, ahead);
                ahead.advance(before, slabs);
            }
            end_copies();
        }
        u32 stage = 0, target = STAGES - 1;
        for (u32 step = from; step < to; ++step) {
            // This step's copies of this thread have landed, and with the barrier those of all; every warp is done with
            // the stage before, which is filled next.
            wait_for_copies<STAGES - 2>();
            __syncthreads();
            if (step + STAGES - 1 < to) {
                load(target, ahead);
                ahead.advance(before, slabs);
            }
            end_copies();
            if (before && at.slot == 1 && at.slab == 0) rescale();
            const u32 bit = shared.offsets[at.slot];
            const bool has_first = shared.masks[2 * warp] >> bit & 1, has_second = shared.masks[2 * warp + 1] >> bit & 1;
            const Stage<N>& filled = shared.stages[stage];
            if (has_first && has_second) {
                multiply_groups<true, true>(filled);
            } else if (has_first) {
                multiply_groups<true, false>(filled);
            } else if (has_second) {
                multiply_groups<false, true>(filled);
            }
            at.advance(before, slabs);
            stage = stage + 1 == STAGES ? 0 : stage + 1;
            target = target + 1 == STAGES ? 0 : target + 1;
        }
        // This share may have ended before the rest began.
        if (before && (at.slot == 0 || (at.slot == 1 && at.slab == 0))) rescale();
        wait_for_copies<0>();
        __syncthreads();
    }

    // Calls `take(place of the group's first row, its 16 rows of sums)` for both groups of every warp; the rows lie in
    // shared memory that the warp alone uses.
    template <typename Take>
    __device__ __forceinline__ void for_each_group(Take take) {
        auto* out = reinterpret_cast<SumRow<N>*>(&shared.stages) + warp * GROUP_ROWS;
        static_assert(sizeof(SumRow<N>) * TILE_ROWS / 2 <= sizeof(shared.stages), "the sums fit where the stages were");
#pragma unroll
        for (u32 group = 0; group < 2; ++group) {
#pragma unroll
            for (u32 column = 0; column < N / 8; ++column) {
                const float* values = sums[group][column];
                const u32 row = lane() / 4, at = column * 8 + lane() % 4 * 2;
                *reinterpret_cast<float2*>(&out[row][at]) = make_float2(values[0], values[1]);
                *reinterpret_cast<float2*>(&out[row + 8][at]) = make_float2(values[2], values[3]);
            }
            __syncwarp();
            take(first + (2 * warp + group) * GROUP_ROWS, out);
            __syncwarp();
        }
    }
};

// Eight sums to eight outputs of row `row` from column `column` on: scale, shift, residual, ReLU, rounding.
__device__ __forceinline__ void finish(const Convolution& c, const float* sums, u32 row, u32 column) {
    const u64 at = static_cast<u64>(row) * c.stride + column;
    uint4 kept = make_uint4(0, 0, 0, 0);
    if (c.residual) kept = *reinterpret_cast<const uint4*>(c.residual + at);
    const __half* residual = reinterpret_cast<const __half*>(&kept);
    float values[8];
#pragma unroll
    for (u32 i = 0; i < 8; ++i) {
        float value = fmaf(sums[i], c.scale[column + i], c.shift[column + i]) + __half2float(residual[i]);
        // NaN stays, so that a fault upstream shows.
        if (c.relu && value < 0) value = 0;
        values[i] = value;
    }
    if (c.output_is_f32) {
        float4* to = reinterpret_cast<float4*>(static_cast<float*>(c.output) + at);
        to[0] = make_float4(values[0], values[1], values[2], values[3]);
        to[1] = make_float4(values[4], values[5], values[6], values[7]);
        return;
    }
    uint4 packed;
    __half* halves = reinterpret_cast<__half*>(&packed);
#pragma unroll
    for (u32 i = 0; i < 8; ++i) {
        // The largest finite value instead of infinity; NaN compares false and stays.
        float value = values[i];
        if (value > LARGEST_HALF) value = LARGEST_HALF;
        if (value < -LARGEST_HALF) value = -LARGEST_HALF;
        halves[i] = __float2half_rn(value);
    }
    *reinterpret_cast<uint4*>(static_cast<__half*>(c.output) + at) = packed;
}
