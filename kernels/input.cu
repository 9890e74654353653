// The input features of every voxel: those of the point that represents it.
//
// Predicted per voxel: its points' numbers (4 bytes each), for the canonical representative their positions and colours too
// (24 bytes each, gathered), and one row written: under 10 us per million points.
//
// History (no version has been measured on a device yet):
//   1. a thread per voxel.
#include "points.cuh"

constexpr u32 THREADS = 256;

// Mirrors `InputDescriptor` in backend/cuda/stem.rs.
struct Input {
    const u64* keys;        // [voxels] of level 0
    const u32* starts;      // [voxels] where each voxel's points begin
    const u32* points[2];   // sorted points, in the buffer of the sort that `buffer` tells
    const u32* buffer;
    const u32* voxels;      // [1]
    const float* features;  // [points][channels]
    const Placement* places;// one per cloud, for the canonical representative; null: the first point
    float* output;          // [voxels][channels]
    u32 count;              // sorted points that have a voxel
    u32 channels;
};

// Whether point `a` comes before point `b`: by position, then by features, in the total order of the floats.
__device__ __forceinline__ bool precedes(const Input& input, const Placement& place, u32 a, u32 b) {
    double at_a[3], at_b[3];
    read_position(place, a - place.first, at_a);
    read_position(place, b - place.first, at_b);
    for (u32 axis = 0; axis < 3; ++axis) {
        const u64 left = ordered(at_a[axis]), right = ordered(at_b[axis]);
        if (left != right) return left < right;
    }
    for (u32 c = 0; c < input.channels; ++c) {
        const u64 left = ordered(input.features[static_cast<u64>(a) * input.channels + c]);
        const u64 right = ordered(input.features[static_cast<u64>(b) * input.channels + c]);
        if (left != right) return left < right;
    }
    return false;
}

// A thread per voxel.
extern "C" __global__ void __launch_bounds__(THREADS) ov3d_voxel_features(const __grid_constant__ Input input) {
    const u32 voxel = blockIdx.x * THREADS + threadIdx.x, voxels = *input.voxels;
    if (voxel >= voxels) return;
    const u32* points = input.points[*input.buffer];
    const u32 first = input.starts[voxel], end = voxel + 1 < voxels ? input.starts[voxel + 1] : input.count;
    u32 chosen = points[first];
    if (input.places) {
        const Placement& place = input.places[input.keys[voxel] >> MORTON_BITS];
        for (u32 index = first + 1; index < end; ++index)
            if (precedes(input, place, points[index], chosen)) chosen = points[index];
    }
    for (u32 c = 0; c < input.channels; ++c)
        input.output[static_cast<u64>(voxel) * input.channels + c] = input.features[static_cast<u64>(chosen) * input.channels + c];
}
