// C[m][n] = A[m][k] * B[n][k]^T in half precision with float sums: ldmatrix, mma.sync, and from sm_80 on cp.async in two
// stages. A block of 128 threads owns 64x64 of C and steps 32 deep; M, N, K need no particular multiple but K % 8 == 0.
#include <cuda_fp16.h>
#include <cuda_bf16.h>

namespace {
constexpr int TILE = 64, DEPTH = 32, ROW = DEPTH + 8;

__device__ unsigned shared_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

__device__ void ldmatrix_x4(unsigned (&r)[4], const __half* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)));
}

__device__ void ldmatrix_x2(unsigned (&r)[2], const __half* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)));
}

__device__ void mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    for (int half = 0; half < 2; ++half)
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
#endif
}

// 16 bytes, or zeros where `inside` is false.
__device__ void copy16(__half* to, const __half* from, bool inside) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(shared_address(to)), "l"(from), "r"(inside ? 16 : 0));
#else
    *reinterpret_cast<uint4*>(to) = inside ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
#endif
}

template <int KEEP> __device__ void copies_landed() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" :: "n"(KEEP));
#endif
}

__device__ void commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;");
#endif
}

// BUG 1: the wait leaves the newest stage in flight. BUG 2: no barrier before a stage is refilled.
template <int BUG> __device__ void gemm(const __half* a, const __half* b, float* c, int m, int n, int k) {
    __shared__ __align__(16) __half sa[2][TILE][ROW];
    __shared__ __align__(16) __half sb[2][TILE][ROW];
    const int row0 = blockIdx.y * TILE, col0 = blockIdx.x * TILE;
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const int warp_row = warp / 2 * 32, warp_col = warp % 2 * 32;
    float sum[2][4][4] = {};

    auto load = [&](int stage, int k0) {
        for (int i = thread; i < TILE * DEPTH / 8; i += 128) {
            const int r = i / (DEPTH / 8), q = i % (DEPTH / 8) * 8;
            const bool a_in = row0 + r < m && k0 + q < k, b_in = col0 + r < n && k0 + q < k;
            copy16(&sa[stage][r][q], a_in ? a + size_t(row0 + r) * k + k0 + q : a, a_in);
            copy16(&sb[stage][r][q], b_in ? b + size_t(col0 + r) * k + k0 + q : b, b_in);
        }
        commit();
    };

    const int steps = (k + DEPTH - 1) / DEPTH;
    load(0, 0);
    for (int step = 0; step < steps; ++step) {
        const int stage = step % 2;
        if (step + 1 < steps) {
            load(1 - stage, (step + 1) * DEPTH);
            copies_landed<BUG == 1 ? 2 : 1>();
        } else {
            copies_landed<0>();
        }
        __syncthreads();
        for (int kk = 0; kk < DEPTH; kk += 16) {
            unsigned fa[2][4], fb[4][2];
            for (int i = 0; i < 2; ++i)
                ldmatrix_x4(fa[i], &sa[stage][warp_row + i * 16 + lane % 16][kk + lane / 16 * 8]);
            for (int j = 0; j < 4; ++j)
                ldmatrix_x2(fb[j], &sb[stage][warp_col + j * 8 + lane % 8][kk + lane / 8 % 2 * 8]);
            for (int i = 0; i < 2; ++i)
                for (int j = 0; j < 4; ++j) mma(sum[i][j], fa[i], fb[j]);
        }
        if (BUG != 2) __syncthreads();
    }
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 4; ++j)
            for (int e = 0; e < 4; ++e) {
                const int r = row0 + warp_row + i * 16 + lane / 4 + e / 2 * 8;
                const int q = col0 + warp_col + j * 8 + lane % 4 * 2 + e % 2;
                if (r < m && q < n) c[size_t(r) * n + q] = sum[i][j][e];
            }
}
}  // namespace

#define GEMM(name, bug)                                                                                      \
    extern "C" __global__ void __launch_bounds__(128)                                                        \
        name(const __half* a, const __half* b, float* c, int m, int n, int k) { gemm<bug>(a, b, c, m, n, k); }
GEMM(gemm_f16, 0)
GEMM(gemm_weak_wait, 1)
GEMM(gemm_no_refill_barrier, 2)

// One warp, one 16x8x16 product of bf16, its operands by transposing and plain ldmatrix.
#if __CUDA_ARCH__ >= 800
extern "C" __global__ void mma_bf16(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
    __shared__ __align__(16) __nv_bfloat16 sa[16][16], sb[16][8];
    const int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) sa[i / 16][i % 16] = a[i];
    for (int i = lane; i < 128; i += 32) sb[i / 8][i % 8] = b[i];
    __syncwarp();
    unsigned fa[4], fb[2];
    ldmatrix_x4(fa, reinterpret_cast<const __half*>(&sa[lane % 16][lane / 16 * 8]));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(fb[0]), "=r"(fb[1]) : "r"(shared_address(&sb[lane % 16][0])));
    float d[4];
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]), "f"(1.0f));
    for (int e = 0; e < 4; ++e) c[(lane / 4 + e / 2 * 8) * 8 + lane % 4 * 2 + e % 2] = d[e];
}
#endif
