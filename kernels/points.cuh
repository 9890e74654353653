// Points as the caller holds them, on the device.
#pragma once
#include "types.cuh"

// How the positions of one cloud become cells. Mirrors `Placement` in backend/cuda/placement.rs.
struct Placement {
    u64 positions;        // device address of the first position
    u64 stride;           // bytes between two positions
    u32 count;            // points of the cloud
    u32 first;            // number of the cloud's first point in the call
    u32 batch;            // the cloud's number in the call
    u32 is_f64;           // 0: float32, 1: float64
    u32 axes[3];          // which scaled component each axis takes
    u32 negated;          // bit a: axis a is negated
    u32 has_pose;
    u32 has_rotation;
    u32 world;            // 1: lattice fixed in the frame, 0: from the cloud's minimum
    u32 reserved;
    double unit;          // metres per unit
    double cells_per_metre;
    double pose[12];      // row-major 3x4
    double rotation[9];   // row-major 3x3
};

// The position of point `index`, in the caller's frame.
__device__ __forceinline__ void read_position(const Placement& place, u32 index, double* position) {
    const u64 address = place.positions + static_cast<u64>(index) * place.stride;
    if (place.is_f64) {
        // Two halves: interleaved records are aligned to 4 bytes only.
        const u32* words = reinterpret_cast<const u32*>(address);
        for (u32 a = 0; a < 3; ++a)
            position[a] = __hiloint2double(static_cast<int>(words[2 * a + 1]), static_cast<int>(words[2 * a]));
    } else {
        const float* values = reinterpret_cast<const float*>(address);
        for (u32 a = 0; a < 3; ++a) position[a] = static_cast<double>(values[a]);
    }
}

// An unsigned integer that grows with `value`.
__device__ __forceinline__ u64 ordered(double value) {
    const u64 bits = static_cast<u64>(__double_as_longlong(value));
    return bits >> 63 ? ~bits : bits | 1ull << 63;
}
