// Where the voxels of every level lie: level after level in one array of rows.
#pragma once
#include "types.cuh"

// Levels 0 to 7 at most: those of the network and the two above whose voxels are the 4x4x4 blocks of the others.
constexpr u32 MAX_LEVELS = 8;

// The voxels of all levels, level l from row `first_row(l)` on. Mirrors `Levels` in backend/cuda/coordinates.rs.
struct Levels {
    const u32* counts;    // [MAX_LEVELS] voxels per level
    u64* keys;            // ascending within a level, shifted to the level
    u32* parents;         // row on the next coarser level
    u32* children;        // first row among the voxels of the next finer level
    u32* blocks;          // of a level >= 2: first row among the voxels of the level two below
    u64* occupancy;       // of a level >= 2: bit m set if that cell of the level two below, Morton code m, is occupied
    u32* around;          // [27] per voxel of a level >= 2, from level 2 on: rows of its neighbours, or NO_ROW
    u32 levels;           // the two coarsest included
    u32 reserved;
};

// Where the rows of `level` begin.
__device__ __forceinline__ u32 first_row(const u32* counts, u32 level) {
    u32 row = 0;
    for (u32 finer = 0; finer < level; ++finer) row += counts[finer];
    return row;
}

// The rows from `row` of a level on that belong to voxel `owner` of a coarser one, whose first rows stand in `firsts`.
__device__ __forceinline__ u32 end_of(const u32* firsts, u32 owner, u32 owners, u32 rows) {
    return owner + 1 < owners ? firsts[owner + 1] : rows;
}
