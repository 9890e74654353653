// Points to voxel keys, in float64 and in the order of operations of the CPU (cloud/quantise.rs): the same bits.
//
// A position is read at any stride and alignment of 4 bytes, brought to metres (unit, axes, pose, augmentation), multiplied
// by the cells per metre and floored. `ov3d_cell_bounds` takes the minimum and maximum cell of a cloud, `ov3d_cell_shift`
// what to subtract, `ov3d_point_keys` the key: batch in 10 bits above 54 Morton bits. Positions that are not finite get
// NO_KEY, which sorts behind every voxel.
//
// Predicted per point: 12 bytes read twice, 12 written (8 key, 4 index), about 100 float64 and 60 integer operations:
// bound by memory from sm_80 on, by float64 where that runs at 1/64 (sm_75, 86, 89: about 0.25 ms per million points).
//
// History (no version has been measured on a device yet):
//   1. three launches, bounds by integer atomics.
#include "points.cuh"
#include "sort.cuh"

constexpr u32 THREADS = 256;
// Cells per axis of one cloud: 18 bits.
constexpr i64 MAX_EXTENT = 1 << 18;
// World-anchored clouds are shifted by multiples of the coarsest tensor stride.
constexpr i64 COARSEST_STRIDE = 16;

// Per cloud. Minimum and maximum are float64 in an integer order (see `ordered`), so that integer atomics take them.
struct Bounds {
    u64 low[3];
    u64 high[3];
    i64 shift[3];
    u32 finite;           // points with a cell
    u32 out_of_range;     // bit a: axis a does not fit
};

__device__ __forceinline__ double unordered(u64 bits) {
    return __longlong_as_double(static_cast<i64>(bits >> 63 ? bits & ~(1ull << 63) : ~bits));
}

// a * x + b * y + c * z, each operation rounded: never contracted to fused multiply-adds.
__device__ __forceinline__ double dot(const double* row, const double* v) {
    return __dadd_rn(__dadd_rn(__dmul_rn(row[0], v[0]), __dmul_rn(row[1], v[1])), __dmul_rn(row[2], v[2]));
}

// The float64 cell of point `index`; false if its position is not finite.
__device__ __forceinline__ bool cell_of(const Placement& place, u32 index, double* cell) {
    double position[3];
    read_position(place, index, position);
    double scaled[3];
    for (u32 a = 0; a < 3; ++a) {
        if (!isfinite(position[a])) return false;
        scaled[a] = __dmul_rn(position[a], place.unit);
    }
    double point[3];
    for (u32 a = 0; a < 3; ++a) {
        const u32 from = place.axes[a];
        const double value = from == 0 ? scaled[0] : from == 1 ? scaled[1] : scaled[2];
        point[a] = place.negated >> a & 1 ? -value : value;
    }
    if (place.has_pose) {
        double moved[3];
        for (u32 a = 0; a < 3; ++a) moved[a] = __dadd_rn(dot(place.pose + 4 * a, point), place.pose[4 * a + 3]);
        for (u32 a = 0; a < 3; ++a) point[a] = moved[a];
    }
    if (place.has_rotation) {
        double turned[3];
        for (u32 a = 0; a < 3; ++a) turned[a] = dot(place.rotation + 3 * a, point);
        for (u32 a = 0; a < 3; ++a) point[a] = turned[a];
    }
    for (u32 a = 0; a < 3; ++a) {
        const double value = floor(__dmul_rn(point[a], place.cells_per_metre));
        // A finite position that overflows on the way is out of range, not absent.
        cell[a] = isfinite(value) ? value : 1.7976931348623157e308;
    }
    return true;
}

__device__ __forceinline__ u64 lower(u64 a, u64 b) { return a < b ? a : b; }
__device__ __forceinline__ u64 higher(u64 a, u64 b) { return a > b ? a : b; }

// Grid: a block per 256 points of the largest cloud by clouds. `bounds` starts as low = ~0, high = 0, finite = 0.
extern "C" __global__ void __launch_bounds__(THREADS) ov3d_cell_bounds(const Placement* places, Bounds* bounds) {
    const Placement& place = places[blockIdx.y];
    u64 low[3] = {~0ull, ~0ull, ~0ull};
    u64 high[3] = {0, 0, 0};
    const u32 index = blockIdx.x * THREADS + threadIdx.x;
    double cell[3];
    const bool finite = index < place.count && cell_of(place, index, cell);
    if (finite) {
        // Adding zero turns -0 into 0.
        for (u32 a = 0; a < 3; ++a) low[a] = high[a] = ordered(__dadd_rn(cell[a], 0.0));
    }
    for (u32 step = WARP / 2; step; step /= 2) {
        for (u32 a = 0; a < 3; ++a) {
            low[a] = lower(low[a], __shfl_xor_sync(ALL_LANES, low[a], step));
            high[a] = higher(high[a], __shfl_xor_sync(ALL_LANES, high[a], step));
        }
    }
    const u32 points = __popc(__ballot_sync(ALL_LANES, finite));
    if (lane() || !points) return;
    // Minimum, maximum and sum of integers: the same in any order.
    Bounds& total = bounds[blockIdx.y];
    for (u32 a = 0; a < 3; ++a) {
        atomicMin(&total.low[a], low[a]);
        atomicMax(&total.high[a], high[a]);
    }
    atomicAdd(&total.finite, points);
}

// One thread per cloud. `bits`, zero before, gets what the sort must know of the keys.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_cell_shift(const Placement* places, Bounds* bounds, KeyBits* bits, u32 clouds) {
    const u32 cloud = blockIdx.x * THREADS + threadIdx.x;
    if (cloud >= clouds) return;
    Bounds& own = bounds[cloud];
    if (own.finite < places[cloud].count) atomicOr(&bits->absent, 1);
    const bool world = places[cloud].world;
    // Beyond 2^31 cells coordinates would not fit the int32 of the world lattice, beyond 2^53 not float64.
    const double limit = world ? 2147483647.0 : 9007199254740992.0;
    u32 out_of_range = 0;
    u64 reach = 0;
    for (u32 a = 0; a < 3; ++a) {
        own.shift[a] = 0;
        if (!own.finite) continue;
        const double low = unordered(own.low[a]), high = unordered(own.high[a]);
        if (low < -limit || high > limit) {
            out_of_range |= 1u << a;
            continue;
        }
        i64 shift = static_cast<i64>(low);
        // The remainder by a power of two, of negative numbers too, is in the low bits.
        if (world) shift -= shift & (COARSEST_STRIDE - 1);
        own.shift[a] = shift;
        const i64 last = static_cast<i64>(high) - shift;
        if (last >= MAX_EXTENT) out_of_range |= 1u << a;
        reach |= static_cast<u64>(last);
    }
    own.out_of_range = out_of_range;
    if (out_of_range) {
        // None of its points gets a key.
        atomicOr(&bits->absent, 1);
    } else if (own.finite) {
        const u32 axis_bits = 64 - __clzll(static_cast<i64>(reach));
        atomicOr(&bits->differing, static_cast<u64>(places[cloud].batch) << MORTON_BITS | ((1ull << 3 * axis_bits) - 1));
    }
}

// Moves bit i of an 18-bit number to bit 3 i.
__device__ __forceinline__ u64 spread(u32 v) {
    u64 x = v;
    x = (x | x << 32) & 0x001F00000000FFFFull;
    x = (x | x << 16) & 0x001F0000FF0000FFull;
    x = (x | x << 8) & 0x100F00F00F00F00Full;
    x = (x | x << 4) & 0x10C30C30C30C30C3ull;
    return (x | x << 2) & 0x1249249249249249ull;
}

// Grid as for ov3d_cell_bounds. Writes key and number of every point, in the order of the points.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_point_keys(const Placement* places, const Bounds* bounds, u64* keys, u32* points) {
    const Placement& place = places[blockIdx.y];
    const Bounds& own = bounds[blockIdx.y];
    const u32 index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= place.count) return;
    u64 key = NO_KEY;
    double cell[3];
    if (!own.out_of_range && cell_of(place, index, cell)) {
        key = static_cast<u64>(place.batch) << MORTON_BITS;
        for (u32 a = 0; a < 3; ++a) key |= spread(static_cast<u32>(static_cast<i64>(cell[a]) - own.shift[a])) << a;
    }
    keys[place.first + index] = key;
    points[place.first + index] = place.first + index;
}
