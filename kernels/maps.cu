// Kernel maps as the convolutions read them: per output row a mask of the kernel offsets that have an input row, the rows in
// an order that puts equal and similar masks side by side, and per offset the input rows in that order.
//
// The order is that of the masks' ranks in the Gray code, a stable sort of all maps at once: neighbouring ranks differ in few
// bits, so the rows of a tile share offsets and the offsets that no row of a tile has are skipped (1.3 to 1.9 times the useful
// products on real rooms, against 1.8 to 3.2 in the order of the voxels).
//
// Predicted per row and map of 27 offsets: 8 block words from L2 twice, 16 bytes written and 108 in the table; 200,000 voxels,
// 270,000 rows of such maps: 34 MB, 8 us, and the sort 4 passes over 0.8 million rows: 36 us by its own count.
//
// History (no version has been measured on a device yet):
//   1. one sort for all maps by Gray rank, tables written in sorted order.
#include "neighbours.cuh"

constexpr u32 THREADS = 256;
constexpr u32 MAX_MAPS = 16;
// The centre of a 3x3x3 kernel is always there: the sort leaves its bit out.
constexpr u32 CENTRE = 13;
constexpr u32 RANK_BITS = 26;

enum Kind : u32 { SUBMANIFOLD = 0, STRIDED = 1, TRANSPOSED = 2 };

// Every kernel map of a run. The rows of all maps stand one after the other. Mirrors `Maps` in backend/cuda/maps.rs.
struct Maps {
    u32 kinds[MAX_MAPS];
    u32 levels[MAX_MAPS]; // of the output
    u64 tables[MAX_MAPS]; // where the table of each map begins in `table`
    u32 count;
    u32 reserved;
    u64* keys;            // what the sort orders by
    u32* rows;            // output rows of each map: in order for the sort, then sorted
    u32* masks;           // offsets that have an input row, in the sorted order
    u32* table;           // [offsets][rows] input rows, or NO_ROW, in the sorted order
    u64* pairs;           // [maps] pairs of rows that meet, zero before
};

// Where the rows of map `map` begin.
__device__ __forceinline__ u32 first_of_map(const Maps& maps, const Levels& levels, u32 map) {
    u32 first = 0;
    for (u32 before = 0; before < map; ++before) first += levels.counts[maps.levels[before]];
    return first;
}

// The inputs of output row `row` of a map of `kind` whose output is on `level`.
struct Inputs {
    const Levels& levels;
    u32 kind, level, row;

    // Calls `take(offset, input row)` for every offset that has one.
    template <typename Take>
    __device__ __forceinline__ void for_each(Take take) const {
        if (kind == SUBMANIFOLD) {
            const Neighbourhood near(levels, level, row);
            for (u32 slot = 0; slot < NEIGHBOURS; ++slot) {
                const u32 input = near.at(slot);
                if (input != NO_ROW) take(slot, input);
            }
        } else if (kind == STRIDED) {
            const u32 base = first_row(levels.counts, level), fine = first_row(levels.counts, level - 1);
            const u32 first = levels.children[base + row];
            const u32 end = end_of(levels.children + base, row, levels.counts[level], levels.counts[level - 1]);
            for (u32 child = first; child < end; ++child) take(static_cast<u32>(levels.keys[fine + child]) & 7, child);
        } else {
            const u32 base = first_row(levels.counts, level);
            take(static_cast<u32>(levels.keys[base + row]) & 7, levels.parents[base + row]);
        }
    }
};

// The position of `mask` in the Gray code.
__device__ __forceinline__ u32 gray_rank(u32 mask) {
    for (u32 step = 1; step < 32; step *= 2) mask ^= mask >> step;
    return mask;
}

// Grid: a block per 256 rows of the largest map by maps. What to sort.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_map_keys(const __grid_constant__ Levels levels, const __grid_constant__ Maps maps) {
    const u32 map = blockIdx.y, level = maps.levels[map], row = blockIdx.x * THREADS + threadIdx.x;
    if (row >= levels.counts[level]) return;
    u32 mask = 0;
    Inputs{levels, maps.kinds[map], level, row}.for_each([&](u32 offset, u32) { mask |= 1u << offset; });
    if (maps.kinds[map] == SUBMANIFOLD) mask = (mask & ((1u << CENTRE) - 1)) | mask >> (CENTRE + 1) << CENTRE;
    const u32 index = first_of_map(maps, levels, map) + row;
    maps.keys[index] = static_cast<u64>(map) << RANK_BITS | gray_rank(mask);
    maps.rows[index] = row;
}

// Writes everything of one place of a map; returns the row's mask.
__device__ __forceinline__ u32 write_row(const Levels& levels, const Maps& maps, u32 map, u32 place, const u32* sorted) {
    const u32 level = maps.levels[map], kind = maps.kinds[map], count = levels.counts[level];
    const u32 index = first_of_map(maps, levels, map) + place, row = sorted[index];
    u32* table = maps.table + maps.tables[map] + place;
    const u32 offsets = kind == SUBMANIFOLD ? NEIGHBOURS : 8;
    u32 mask = 0;
    for (u32 offset = 0; offset < offsets; ++offset) table[static_cast<u64>(offset) * count] = NO_ROW;
    Inputs{levels, kind, level, row}.for_each([&](u32 offset, u32 input) {
        mask |= 1u << offset;
        table[static_cast<u64>(offset) * count] = input;
    });
    maps.rows[index] = row;
    maps.masks[index] = mask;
    return mask;
}

// Grid as above: masks and tables in the sorted order. The sorted rows are in the buffer of the sort that `buffer` tells.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_map_tables(const __grid_constant__ Levels levels, const __grid_constant__ Maps maps, const u32* sorted0,
                    const u32* sorted1, const u32* buffer) {
    const u32 map = blockIdx.y, place = blockIdx.x * THREADS + threadIdx.x;
    const bool inside = place < levels.counts[maps.levels[map]];
    u32 pairs = inside ? __popc(write_row(levels, maps, map, place, *buffer ? sorted1 : sorted0)) : 0;
    for (u32 step = WARP / 2; step; step /= 2) pairs += __shfl_xor_sync(ALL_LANES, pairs, step);
    if (lane() == 0 && pairs) atomicAdd(&maps.pairs[map], static_cast<u64>(pairs));
}
