// Reductions, compaction, hashing and histograms: shuffles, votes, match, redux, barriers and atomics.
typedef unsigned long long u64;

extern "C" __global__ void reduce_sum(const float* x, float* sum, unsigned* smallest, int n) {
    __shared__ float parts[32];
    float s = 0.0f;
    unsigned least = 0xffffffffu;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        s += x[i];
        const unsigned bits = __float_as_uint(x[i]);
        least = min(least, bits & 0x80000000u ? ~bits : bits | 0x80000000u);
    }
    for (int step = 16; step > 0; step /= 2) s += __shfl_xor_sync(0xffffffffu, s, step);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = s;
    __syncthreads();
    if (threadIdx.x < 32) {
        s = threadIdx.x < blockDim.x / 32 ? parts[threadIdx.x] : 0.0f;
        for (int step = 16; step > 0; step /= 2) s += __shfl_down_sync(0xffffffffu, s, step);
        if (threadIdx.x == 0) atomicAdd(sum, s);
    }
    atomicMin(smallest, least);
}

// Appends the indices of positive elements, one atomic per warp.
extern "C" __global__ void compact_positive(const float* x, int* out, int* count, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const bool keep = i < n && x[i] > 0.0f;
    const unsigned votes = __ballot_sync(0xffffffffu, keep);
    const int lane = threadIdx.x % 32;
    int base = 0;
    if (lane == 0 && votes != 0) base = atomicAdd(count, __popc(votes));
    base = __shfl_sync(0xffffffffu, base, 0);
    if (keep) out[base + __popc(votes & ((1u << lane) - 1))] = i;
}

// Every collective, one result per lane and row of `out`.
extern "C" __global__ void collectives(const int* x, int* out) {
    const unsigned lane = threadIdx.x, all = 0xffffffffu;
    int row = 0;
    auto put = [&](int v) { out[row++ * 32 + lane] = v; };
    const int v = x[lane];
    put(__shfl_up_sync(all, v, 3));
    put(__shfl_down_sync(all, v, 5));
    put(__shfl_xor_sync(all, v, 6));
    put(__shfl_sync(all, v, 9, 16));
    put(__shfl_up_sync(all, v, 2, 8));
    put(__any_sync(all, v > 90));
    put(__all_sync(all, v >= 0));
    put(__ballot_sync(all, v & 1));
    put(__match_any_sync(all, v % 4));
    int same = 0;
    put(__match_all_sync(all, 7, &same));
    put(same);
    if (lane % 2 == 0) put(__shfl_sync(0x55555555u, v, lane ^ 2));
    else put(__ballot_sync(0xaaaaaaaau, v > 50));
    put(__activemask() >> lane & 1);
#if __CUDA_ARCH__ >= 800
    put(__reduce_add_sync(all, v));
    put(__reduce_min_sync(all, v - 50));
    put(__reduce_max_sync(all, static_cast<unsigned>(v)));
    put(__reduce_xor_sync(all, static_cast<unsigned>(v)));
#endif
}

// Open addressing by 64-bit compare-and-swap: slots[h] = key, values[h] = number of times it was seen.
extern "C" __global__ void hash_count(const u64* keys, u64* slots, unsigned* counts, int n, unsigned mask) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const u64 key = keys[i];
    unsigned h = static_cast<unsigned>((key * 0x9E3779B97F4A7C15ull) >> 40) & mask;
    for (;;) {
        const u64 old = atomicCAS(&slots[h], ~0ull, key);
        if (old == ~0ull || old == key) break;
        h = (h + 1) & mask;
    }
    atomicAdd(&counts[h], 1u);
}

extern "C" __global__ void histogram(const unsigned char* x, unsigned* bins, u64* total, int n) {
    extern __shared__ unsigned local[];
    for (int b = threadIdx.x; b < 256; b += blockDim.x) local[b] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&local[x[i]], 1u);
    __syncthreads();
    for (int b = threadIdx.x; b < 256; b += blockDim.x)
        if (local[b] != 0) {
            atomicAdd(&bins[b], local[b]);
            atomicAdd(total, static_cast<u64>(local[b]));
        }
}

extern "C" __global__ void atomics(int* i, unsigned* u, u64* w, float* f, double* d) {
    __shared__ int s[8];
    if (threadIdx.x < 8) s[threadIdx.x] = 0;
    __syncthreads();
    const int t = static_cast<int>(threadIdx.x);
    atomicAdd(&s[0], t); atomicMax(&s[1], t); atomicMin(&s[2], -t); atomicOr(&s[3], 1 << (t % 31)); atomicXor(&s[4], t);
    atomicSub(&s[5], 2); atomicInc(reinterpret_cast<unsigned*>(&s[6]), 9); atomicExch(&s[7], 77);
    atomicMax(&i[8], t - 1000); atomicMin(&i[9], t - 1000); atomicAnd(&u[0], ~(1u << (t % 32)));
    atomicDec(&u[1], 50); atomicAdd(&w[0], 1ull << 33); atomicMax(&w[1], static_cast<u64>(t) << 34);
    atomicMin(reinterpret_cast<long long*>(&w[2]), -(static_cast<long long>(t) << 34)); atomicExch(&w[3], 5ull);
    atomicAdd(f, 0.5f); atomicAdd(d, 0.25);
    __syncthreads();
    if (t < 8) i[t] = s[t];
}

// Two halves of a block meet at barriers of their own, then all at barrier 0.
extern "C" __global__ void named_barriers(int* out) {
    __shared__ int box[256];
    const int t = threadIdx.x, half = t / 128;
    box[t] = t;
    asm volatile("bar.sync %0, 128;" :: "r"(half + 1) : "memory");
    const int seen = box[half * 128 + (t + 1) % 128];
    asm volatile("bar.sync %0, 128;" :: "r"(half + 1) : "memory");
    box[t] = seen;
    const int positive = __syncthreads_count(seen > 100);
    out[t] = box[255 - t] + 1000 * positive + (__syncthreads_or(t == 77) ? 1000000 : 0);
}

// The last block to come adds up what the others left in global memory.
extern "C" __global__ void last_block(const int* x, int* parts, unsigned* counter, int* out, int n) {
    __shared__ int sum;
    __shared__ bool last;
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    int mine = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) mine += x[i];
    atomicAdd(&sum, mine);
    __syncthreads();
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
        __threadfence();
        last = atomicAdd(counter, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (!last || threadIdx.x != 0) return;
    int total = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) total += *const_cast<volatile int*>(&parts[b]);
    *out = total;
}
