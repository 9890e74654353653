// One mistake in each kernel; `correct` has none.
extern "C" __global__ void correct(float* out) {
    __shared__ float box[128];
    box[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = box[127 - threadIdx.x];
}

extern "C" __global__ void missing_barrier(float* out) {
    __shared__ float box[128];
    box[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = box[127 - threadIdx.x];
}

extern "C" __global__ void missing_warp_barrier(float* out) {
    __shared__ float box[32];
    box[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = box[31 - threadIdx.x];
}

extern "C" __global__ void out_of_bounds(float* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) out[i] = 1.0f;
}

extern "C" __global__ void shared_out_of_bounds(float* out) {
    extern __shared__ float tail[];
    tail[threadIdx.x + 1] = 2.0f;
    __syncthreads();
    out[threadIdx.x] = tail[threadIdx.x];
}

extern "C" __global__ void wrong_mask(int* out) {
    const int v = __shfl_sync(threadIdx.x < 16 ? 0xffffffffu : 0xffff0000u, static_cast<int>(threadIdx.x), 3);
    __syncthreads();
    out[threadIdx.x] = v;
}

extern "C" __global__ void mask_without_itself(int* out) {
    out[threadIdx.x] = __shfl_sync(0x7fffffffu, static_cast<int>(threadIdx.x), 3);
}

extern "C" __global__ void divergent_shuffle(int* out) {
    int v = threadIdx.x;
    if (threadIdx.x < 8) v = __shfl_xor_sync(0xffffffffu, v, 1);
    __syncthreads();
    out[threadIdx.x] = v;
}

extern "C" __global__ void barrier_for_some(int* out) {
    if (threadIdx.x < 32) asm volatile("bar.sync 1, 64;" ::: "memory");
    __syncthreads();
    out[threadIdx.x] = 1;
}

extern "C" __global__ void misaligned(char* base, float4* out) {
    *out = *reinterpret_cast<const float4*>(base + 8);
}

extern "C" __global__ void trapped() { asm volatile("trap;"); }

extern "C" __global__ void uninitialised(const float* in, float* out) { out[threadIdx.x] = in[threadIdx.x] + 1.0f; }

extern "C" __global__ void shared_uninitialised(float* out) {
    __shared__ float box[128];
    if (threadIdx.x != 5) box[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = box[127 - threadIdx.x];
}

extern "C" __global__ void asserted(int* out) {
    const int v = threadIdx.x;
    assert(v < 20);
    out[v] = v;
}

extern "C" __global__ void endless(int* out) {
    while (*reinterpret_cast<volatile int*>(out) != 5) {}
}

// A lane reads what another one of its warp overwrites after a barrier of the warp: `early` overwrites before it.
template <bool EARLY> __device__ void rotate(float* out) {
    __shared__ float box[64];
    const int t = threadIdx.x, base = t / 32 * 32;
    box[t] = t;
    __syncwarp();
    const float v = box[base + (t + 1) % 32];
    if (!EARLY) __syncwarp();
    box[t] = v + 1.0f;
    __syncthreads();
    out[t] = box[63 - t];
}
extern "C" __global__ void warp_rotation(float* out) { rotate<false>(out); }
extern "C" __global__ void warp_rotation_early(float* out) { rotate<true>(out); }

// Two halves of a block hand a box over by a barrier of their own; the third pair of warps has no part in it.
extern "C" __global__ void named_handover(float* out, int with_barrier) {
    __shared__ float box[128];
    const int t = threadIdx.x;
    if (t < 64) {
        box[t] = t;
        asm volatile("bar.sync 3, 128;" ::: "memory");
    } else if (t < 128) {
        if (with_barrier) asm volatile("bar.sync 3, 128;" ::: "memory");
        out[t] = box[t - 64];
        if (!with_barrier) asm volatile("bar.sync 3, 128;" ::: "memory");
    } else {
        box[t - 64] = t;
        out[t] = box[t - 64];
    }
}

// Neighbouring bytes belong to different threads.
extern "C" __global__ void bytes_side_by_side(unsigned char* out) {
    __shared__ unsigned char box[64];
    box[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = box[threadIdx.x] + 1;
}
