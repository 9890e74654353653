// The neighbours of the voxels of levels 2 and coarser, in the order of the rows: the blocks through which the neighbours
// on the levels two below are found. No hash table: the two coarsest levels are searched, the others follow from them.
//
// Predicted: a block has 6 to 20 voxels, so levels 2 and up are about a tenth of all; 108 bytes written per voxel, the
// lookups from L2. 200,000 voxels: 2 MB, under 5 us in all: launches, not bytes.
//
// History (no version has been measured on a device yet):
//   1. two levels searched, the others from their blocks, a launch per level.
#include "neighbours.cuh"

constexpr u32 THREADS = 256;

// The number of cells per axis at `level`.
__device__ __forceinline__ u32 cells_at(u32 level) { return 1u << (MORTON_BITS / 3 - level); }

// Moves bit 3 i of a Morton code to bit i.
__device__ __forceinline__ u32 compact(u64 v) {
    u64 x = v & 0x1249249249249249ull;
    x = (x | x >> 2) & 0x10C30C30C30C30C3ull;
    x = (x | x >> 4) & 0x100F00F00F00F00Full;
    x = (x | x >> 8) & 0x001F0000FF0000FFull;
    x = (x | x >> 16) & 0x001F00000000FFFFull;
    return static_cast<u32>((x | x >> 32) & 0x1FFFFF);
}

// A thread per voxel of levels 2 and coarser: the occupancy of its 64 cells.
extern "C" __global__ void __launch_bounds__(THREADS) ov3d_block_occupancy(const __grid_constant__ Levels levels) {
    const u32 level = blockIdx.y + 2, fine = level - 2;
    const u32 block = blockIdx.x * THREADS + threadIdx.x, blocks = levels.counts[level];
    if (block >= blocks) return;
    const u32 base = first_row(levels.counts, level);
    const u64* keys = levels.keys + first_row(levels.counts, fine);
    const u32 first = levels.blocks[base + block];
    const u32 end = end_of(levels.blocks + base, block, blocks, levels.counts[fine]);
    u64 word = 0;
    for (u32 row = first; row < end; ++row) word |= 1ull << (keys[row] & 63);
    levels.occupancy[base + block] = word;
}

// A thread per voxel and kernel offset of `level`, one of the two coarsest: a binary search.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_search_neighbours(const __grid_constant__ Levels levels, u32 level) {
    const u32 index = blockIdx.x * THREADS + threadIdx.x, count = levels.counts[level];
    const u32 row = index / NEIGHBOURS, slot = index % NEIGHBOURS;
    if (row >= count) return;
    const u32 base = first_row(levels.counts, level);
    const u64* keys = levels.keys + base;
    const u32 bits = MORTON_BITS - 3 * level, limit = cells_at(level);
    const u64 key = keys[row], morton = key & ((1ull << bits) - 1);
    u64 target = key >> bits << bits;
    bool inside = true;
    u32 power = 1;
    for (u32 axis = 0; axis < 3; ++axis, power *= 3) {
        const u32 cell = compact(morton >> axis) + slot / power % 3 - 1;
        // Below 0 the cell is a very large number.
        inside = inside && cell < limit;
        for (u32 bit = 0; bit < MORTON_BITS / 3; ++bit) target |= static_cast<u64>(cell >> bit & 1) << (3 * bit + axis);
    }
    u32 found = NO_ROW;
    if (inside) {
        u32 low = 0, high = count;
        while (low < high) {
            const u32 middle = low + (high - low) / 2;
            if (keys[middle] < target) low = middle + 1; else high = middle;
        }
        if (low < count && keys[low] == target) found = low;
    }
    levels.around[static_cast<u64>(base - levels.counts[0] - levels.counts[1]) * NEIGHBOURS + index] = found;
}

// A thread per voxel and kernel offset of `level`, 2 or coarser: through the blocks of level + 2.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_block_neighbours(const __grid_constant__ Levels levels, u32 level) {
    const u32 index = blockIdx.x * THREADS + threadIdx.x;
    const u32 row = index / NEIGHBOURS, slot = index % NEIGHBOURS;
    if (row >= levels.counts[level]) return;
    const u32 base = first_row(levels.counts, level) - levels.counts[0] - levels.counts[1];
    levels.around[static_cast<u64>(base) * NEIGHBOURS + index] = Neighbourhood(levels, level, row).at(slot);
}
