// Rows of neighbouring voxels, found through 4x4x4 blocks: a bit test and a count of bits each.
#pragma once
#include "levels.cuh"

constexpr u32 NEIGHBOURS = 27;

// Gathers every third bit of the Morton code of a cell within its block: 0 to 3.
__device__ __forceinline__ u32 axis_of(u32 morton, u32 axis) {
    return (morton >> axis & 1) | (morton >> (axis + 2) & 2);
}

// The Morton code of a cell of a block.
__device__ __forceinline__ u32 morton_of(u32 x, u32 y, u32 z) {
    return (x & 1) | (x & 2) << 2 | (y & 1) << 1 | (y & 2) << 3 | (z & 1) << 2 | (z & 2) << 4;
}

// The blocks around the block of one voxel, and the voxel's own cell.
struct Neighbourhood {
    const u32* around;    // [27] rows of the blocks
    const u32* blocks;
    const u64* occupancy;
    u32 x, y, z;

    // Of row `row` of `level`, which is not among the two coarsest.
    __device__ __forceinline__ Neighbourhood(const Levels& levels, u32 level, u32 row) {
        const u32 fine = first_row(levels.counts, level);
        const u32 middle = fine + levels.counts[level], coarse = middle + levels.counts[level + 1];
        const u32 block = levels.parents[middle + levels.parents[fine + row]];
        const u32 morton = static_cast<u32>(levels.keys[fine + row]) & 63;
        const u32 two = levels.counts[0] + levels.counts[1];
        around = levels.around + static_cast<u64>(coarse - two + block) * NEIGHBOURS;
        blocks = levels.blocks + coarse;
        occupancy = levels.occupancy + coarse;
        x = axis_of(morton, 0);
        y = axis_of(morton, 1);
        z = axis_of(morton, 2);
    }

    // The row of the voxel `dx, dy, dz` away, each -2 to 2, or NO_ROW.
    __device__ __forceinline__ u32 row(int dx, int dy, int dz) const {
        // From 2 to 9: the quotient by 4 is the block on that axis.
        const u32 tx = x + 4 + dx, ty = y + 4 + dy, tz = z + 4 + dz;
        const u32 block = around[tx / 4 + 3 * (ty / 4) + 9 * (tz / 4)];
        if (block == NO_ROW) return NO_ROW;
        const u64 word = occupancy[block];
        const u32 bit = morton_of(tx % 4, ty % 4, tz % 4);
        if (!(word >> bit & 1)) return NO_ROW;
        return blocks[block] + __popcll(word & ((1ull << bit) - 1));
    }

    // Whether there is a voxel `dx, dy, dz` away, each -2 to 2.
    __device__ __forceinline__ bool occupied(int dx, int dy, int dz) const {
        const u32 tx = x + 4 + dx, ty = y + 4 + dy, tz = z + 4 + dz;
        const u32 block = around[tx / 4 + 3 * (ty / 4) + 9 * (tz / 4)];
        return block != NO_ROW && occupancy[block] >> morton_of(tx % 4, ty % 4, tz % 4) & 1;
    }

    // The row at kernel offset `slot` of a 3x3x3 kernel, x fastest.
    __device__ __forceinline__ u32 at(u32 slot) const {
        return row(static_cast<int>(slot % 3) - 1, static_cast<int>(slot / 3 % 3) - 1, static_cast<int>(slot / 9) - 1);
    }
};
