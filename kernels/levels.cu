// From sorted point keys to voxels, coarser levels and the links between them, for all levels in one pass over the points.
//
// A key begins a voxel of level l if it differs from the key before it above bit 3 l: the highest differing bit tells on how
// many levels. Rows are the number of beginnings before, so a voxel's row, its parent's row and the first of a parent's
// children or of a block's voxels all follow from one scan of up to eight counts, packed into two 64-bit words.
//
// Predicted per point: 16 bytes of keys and 4 of point numbers read, 4 written by point number (a 32-byte sector each at
// worst); per voxel of any level 20 written. One million points with 200,000 voxels: 66 MB in sectors, 16 us at 4 TB/s.
//
// History (no version has been measured on a device yet):
//   1. all levels from one scan of packed counts.
#include "levels.cuh"
#include "scan.cuh"

constexpr u32 THREADS = 256;
constexpr u32 ITEMS = 4;
constexpr u32 TILE = THREADS * ITEMS;
// Counts of one word: 16 bits each, of at most TILE beginnings.
constexpr u32 PER_WORD = 4;
static_assert(TILE < 1 << 16 && MAX_LEVELS == 2 * PER_WORD, "counts fit their words");

// Beginnings per level.
struct Counts {
    u64 low, high;

    __device__ __forceinline__ Counts& operator+=(const Counts& other) {
        low += other.low;
        high += other.high;
        return *this;
    }
    __device__ __forceinline__ u32 of(u32 level) const {
        return static_cast<u32>((level < PER_WORD ? low : high) >> (16 * (level % PER_WORD))) & 0xffff;
    }
};

// One on each of the first `height` levels.
__device__ __forceinline__ Counts ones(u32 height) {
    const u64 all = 0x0001000100010001ull;
    const u32 low = height < PER_WORD ? height : PER_WORD, high = height - low;
    return {low == PER_WORD ? all : all & ((1ull << 16 * low) - 1), high == PER_WORD ? all : all & ((1ull << 16 * high) - 1)};
}

// On how many levels the key at `index` begins a voxel.
__device__ __forceinline__ u32 height_of(const u64* keys, u32 index, u32 count, u32 levels) {
    if (index >= count || keys[index] == NO_KEY) return 0;
    if (index == 0) return levels;
    const u64 differing = keys[index] ^ keys[index - 1];
    if (!differing) return 0;
    const u32 height = (63 - __clzll(static_cast<i64>(differing))) / 3 + 1;
    return height < levels ? height : levels;
}

// The sorted points: which of the sort's two buffers they lie in is known on the device only.
struct SortedPoints {
    const u64* keys[2];
    const u32* points[2];
    const u32* buffer;
    const u32* count;
    u32* tile_counts;     // [MAX_LEVELS][tiles]
    u32 tiles;
    u32 reserved;
};

// A block per tile: its beginnings per level.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_level_count(const __grid_constant__ SortedPoints sorted, u32 levels) {
    __shared__ u64 sums[THREADS / WARP];
    const u64* keys = sorted.keys[*sorted.buffer];
    const u32 first = blockIdx.x * TILE + threadIdx.x * ITEMS, count = *sorted.count;
    Counts own = {0, 0};
    for (u32 item = 0; item < ITEMS; ++item) own += ones(height_of(keys, first + item, count, levels));
    Counts total;
    block_exclusive(own.low, sums, total.low);
    __syncthreads();
    block_exclusive(own.high, sums, total.high);
    if (threadIdx.x < MAX_LEVELS) sorted.tile_counts[threadIdx.x * sorted.tiles + blockIdx.x] = total.of(threadIdx.x);
}

// A block per level: the counts of the tiles become those of the tiles before; `counts` gets the number of voxels.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_level_offsets(const __grid_constant__ SortedPoints sorted, u32* counts) {
    __shared__ u32 sums[THREADS / WARP];
    u32* tile_counts = sorted.tile_counts + blockIdx.x * sorted.tiles;
    u32 before = 0;
    for (u32 first = 0; first < sorted.tiles; first += THREADS) {
        const u32 tile = first + threadIdx.x;
        u32 total;
        const u32 offset = before + block_exclusive(tile < sorted.tiles ? tile_counts[tile] : 0, sums, total);
        if (tile < sorted.tiles) tile_counts[tile] = offset;
        before += total;
        __syncthreads();
    }
    if (!threadIdx.x) counts[blockIdx.x] = before;
}

// A block per tile: voxels and links of every level, where each voxel's points begin in the sorted points, and the voxel of
// every point (NO_ROW for those without).
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_level_write(const __grid_constant__ SortedPoints sorted, const __grid_constant__ Levels to, u32* starts, u32* voxel_of_point) {
    __shared__ u64 sums[THREADS / WARP];
    const u32 buffer = *sorted.buffer;
    const u64* keys = sorted.keys[buffer];
    const u32* points = sorted.points[buffer];
    const u32 first = blockIdx.x * TILE + threadIdx.x * ITEMS, count = *sorted.count;
    Counts own = {0, 0};
    for (u32 item = 0; item < ITEMS; ++item) own += ones(height_of(keys, first + item, count, to.levels));
    Counts before, total;
    before.low = block_exclusive(own.low, sums, total.low);
    __syncthreads();
    before.high = block_exclusive(own.high, sums, total.high);
    for (u32 item = 0; item < ITEMS; ++item) {
        const u32 index = first + item;
        if (index >= count) return;
        const u32 height = height_of(keys, index, count, to.levels);
        // Number of beginnings up to this item, itself included.
        Counts up_to = before;
        up_to += ones(height);
        const auto row = [&](u32 level) {
            return sorted.tile_counts[level * sorted.tiles + blockIdx.x] + up_to.of(level) - 1;
        };
        const u64 key = keys[index];
        voxel_of_point[points[index]] = key == NO_KEY ? NO_ROW : row(0);
        if (height) starts[row(0)] = index;
        u32 base = 0;
        for (u32 level = 0; level < height; ++level) {
            const u32 own_row = row(level), at = base + own_row;
            to.keys[at] = key >> (3 * level);
            if (level + 1 < to.levels) to.parents[at] = row(level + 1);
            // The first voxel of a parent or of a block begins these on their own levels too.
            if (level >= 1) to.children[at] = row(level - 1);
            if (level >= 2) to.blocks[at] = row(level - 2);
            base += to.counts[level];
        }
        before = up_to;
    }
}
