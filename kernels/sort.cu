// A stable radix sort of 64-bit keys with 32-bit values: the one sort of voxel keys and of the rows of kernel maps.
//
// Least significant digit first, 8 bits at a time, 3 launches a pass: the digits of each tile are counted, the counts of
// each digit are summed over the tiles, and every item goes to its place. `ov3d_sort_plan` leaves out passes whose digit
// all keys share, on the device, so that the host need not wait to learn the bits in use. Keys that are NO_KEY go last in a
// pass of their own. Places come from counts of integers: no result depends on timing.
//
// Predicted per item and pass that runs: 8 + 12 bytes read, 12 written in runs of 8 items (2048 items over 256 digits):
// 32 bytes moved, about 45 in sectors. One million points of a room (27 key bits, 4 passes): 0.18 GB, 45 us at 4 TB/s.
//
// History (no version has been measured on a device yet):
//   1. 8 bits a pass, 3 launches a pass, passes without work left out on the device.
#include "scan.cuh"
#include "sort.cuh"

constexpr u32 THREADS = 256;
constexpr u32 DIGIT_BITS = 8;
constexpr u32 DIGITS = 1 << DIGIT_BITS;
constexpr u32 ROUNDS = 8;
// Items of a block, of which each warp takes a run.
constexpr u32 TILE = THREADS * ROUNDS;
constexpr u32 WARPS = THREADS / WARP;
// Eight digits of 8 bits, then the pass that puts NO_KEY last.
constexpr u32 PASSES = 9;
static_assert(DIGITS == THREADS, "a thread per digit");

// What each pass does, and in which of the two buffers the result lies.
struct SortPlan {
    u32 active[PASSES];
    u32 from[PASSES];     // buffer that the pass reads
    u32 result;
};

// Both buffers. Mirrors `SortBuffers` in backend/cuda/sort.rs.
struct SortBuffers {
    u64* keys[2];
    u32* values[2];
    u32* counts;          // [DIGITS][tiles]
    u32* totals;          // [DIGITS]
    const SortPlan* plan;
    const u32* count;     // number of items
    u32 tiles;
    u32 pass;
};

__device__ __forceinline__ u32 digit_of(u64 key, u32 pass) {
    if (pass == PASSES - 1) return key == NO_KEY;
    return static_cast<u32>(key >> (DIGIT_BITS * pass)) & (DIGITS - 1);
}

// One thread.
extern "C" __global__ void __launch_bounds__(WARP) ov3d_sort_plan(const KeyBits* bits, SortPlan* plan) {
    if (threadIdx.x) return;
    u32 buffer = 0;
    for (u32 pass = 0; pass < PASSES; ++pass) {
        const bool active = pass == PASSES - 1 ? bits->absent != 0 : (bits->differing >> (DIGIT_BITS * pass) & (DIGITS - 1)) != 0;
        plan->active[pass] = active;
        plan->from[pass] = buffer;
        if (active) buffer ^= 1;
    }
    plan->result = buffer;
}

// A block per tile: how many items have each digit.
extern "C" __global__ void __launch_bounds__(THREADS) ov3d_sort_count(const __grid_constant__ SortBuffers sort) {
    if (!sort.plan->active[sort.pass]) return;
    __shared__ u32 counts[DIGITS];
    const u64* keys = sort.keys[sort.plan->from[sort.pass]];
    const u32 count = *sort.count;
    counts[threadIdx.x] = 0;
    __syncthreads();
    for (u32 round = 0; round < ROUNDS; ++round) {
        const u32 index = blockIdx.x * TILE + round * THREADS + threadIdx.x;
        if (index < count) atomicAdd(&counts[digit_of(keys[index], sort.pass)], 1);
    }
    __syncthreads();
    sort.counts[threadIdx.x * sort.tiles + blockIdx.x] = counts[threadIdx.x];
}

// A block per digit: its counts become the number of its items in the tiles before.
extern "C" __global__ void __launch_bounds__(THREADS) ov3d_sort_offsets(const __grid_constant__ SortBuffers sort) {
    if (!sort.plan->active[sort.pass]) return;
    __shared__ u32 sums[WARPS];
    u32* counts = sort.counts + blockIdx.x * sort.tiles;
    u32 before = 0;
    for (u32 first = 0; first < sort.tiles; first += THREADS) {
        const u32 tile = first + threadIdx.x;
        const u32 count = tile < sort.tiles ? counts[tile] : 0;
        u32 total;
        const u32 offset = before + block_exclusive(count, sums, total);
        if (tile < sort.tiles) counts[tile] = offset;
        before += total;
        __syncthreads();
    }
    if (!threadIdx.x) sort.totals[blockIdx.x] = before;
}

// The lanes whose digit is this lane's; lanes without an item have none in common with others.
__device__ __forceinline__ u32 lanes_with(u32 digit, bool present) {
    u32 peers = __ballot_sync(ALL_LANES, present);
    if (!present) peers = ~peers;
    for (u32 bit = 0; bit < DIGIT_BITS; ++bit) {
        const bool set = digit >> bit & 1;
        const u32 lanes = __ballot_sync(ALL_LANES, set);
        peers &= set ? lanes : ~lanes;
    }
    return peers;
}

// A block per tile: every item to its place. A warp's run is read in rounds of 32, so that lanes stand in the order of the
// items, and an item's rank is the number of equal digits in the rounds before and the lanes before.
extern "C" __global__ void __launch_bounds__(THREADS) ov3d_sort_scatter(const __grid_constant__ SortBuffers sort) {
    if (!sort.plan->active[sort.pass]) return;
    __shared__ u32 next[WARPS][DIGITS];
    __shared__ u32 sums[WARPS];
    const u32 from = sort.plan->from[sort.pass];
    const u64* keys = sort.keys[from];
    const u32* values = sort.values[from];
    const u32 count = *sort.count, warp = threadIdx.x / WARP;
    const u32 first = blockIdx.x * TILE + warp * (WARP * ROUNDS) + lane();

    for (u32 other = 0; other < WARPS; ++other) next[other][threadIdx.x] = 0;
    __syncthreads();
    u64 key[ROUNDS];
    u32 rank[ROUNDS];
#pragma unroll
    for (u32 round = 0; round < ROUNDS; ++round) {
        const u32 index = first + round * WARP;
        const bool present = index < count;
        key[round] = present ? keys[index] : 0;
        const u32 digit = digit_of(key[round], sort.pass);
        const u32 peers = lanes_with(digit, present);
        rank[round] = next[warp][digit] + __popc(peers & lanes_before(lane()));
        __syncwarp();
        // The last of the peers has counted them all.
        if (present && peers >> lane() == 1) next[warp][digit] = rank[round] + 1;
        __syncwarp();
    }
    __syncthreads();
    // Thread d: where the items of digit d begin, for each warp.
    u32 all;
    u32 place = block_exclusive(sort.totals[threadIdx.x], sums, all) + sort.counts[threadIdx.x * sort.tiles + blockIdx.x];
    for (u32 other = 0; other < WARPS; ++other) {
        const u32 own = next[other][threadIdx.x];
        next[other][threadIdx.x] = place;
        place += own;
    }
    __syncthreads();
#pragma unroll
    for (u32 round = 0; round < ROUNDS; ++round) {
        const u32 index = first + round * WARP;
        if (index >= count) continue;
        const u32 to = next[warp][digit_of(key[round], sort.pass)] + rank[round];
        sort.keys[from ^ 1][to] = key[round];
        sort.values[from ^ 1][to] = values[index];
    }
}
