// From the trunk to labels: the folded head's products with a running best label, ranking, and the lift to points.
//
// With one label per point and no softmax the scores never leave the multiprocessor: `ov3d_head_best_*` keeps per row and tile
// of columns the best label, and the sum of the squares of the columns that give a feature's length; `ov3d_head_labels` joins
// the tiles. Everything else (several labels, softmax, logits) goes through FP32 products in memory (a 1x1x1 convolution)
// and `ov3d_head_rank`, a warp per row.
//
// Predicted, 200,000 voxels, 96 channels, 160 prompts: 6.1 GFLOP, 13 us at mma.sync's rate; trunk read once per column tile
// of 96, 2 x 38 MB, 18 us at 4.3 TB/s; labels 1.6 MB.
//
// History (no version has been measured on a device yet):
//   1. products and running best fused, tiles of 96 columns at most.
#include "convolution.cuh"

// What a column of the head stands for: a label, or one of these.
constexpr u32 LENGTH = 0xfffffffe;   // a term of the feature's length
constexpr u32 PADDING = 0xffffffff;

// The best of one row among the columns of one tile.
struct Best {
    float score;
    u32 label;            // PADDING: none
    float squares;        // sum over the columns of LENGTH
    u32 reserved;
};

// Whether a score and its label come before another: larger scores first, then smaller labels.
__device__ __forceinline__ bool better(float score, u32 label, float than, u32 its_label) {
    return score > than || (score == than && label < its_label);
}

template <u32 N>
__device__ __forceinline__ void head_best(const Convolution& c, const u32* labels, Best* best) {
    extern __shared__ uint4 memory[];
    Tile<N> tile{c, *reinterpret_cast<SharedTile<N>*>(memory)};
    if (!tile.prepare()) return;
    tile.accumulate();
    const u32 first_column = blockIdx.y * N;
    tile.for_each_group([&](u32 place, const SumRow<N>* sums) {
        // Two lanes a row, each one half of its columns.
        const u32 row = lane() / 2, begin = lane() % 2 * (N / 2);
        Best own = {__int_as_float(0xff800000), PADDING, 0, 0};
        for (u32 column = begin; column < begin + N / 2; ++column) {
            const u32 at = first_column + column, label = labels[at];
            const float value = fmaf(sums[row][column], c.scale[at], c.shift[at]);
            if (label == LENGTH) {
                own.squares = fmaf(value, value, own.squares);
            } else if (label != PADDING && isfinite(value) && better(value, label, own.score, own.label)) {
                own.score = value;
                own.label = label;
            }
        }
        const float score = __shfl_xor_sync(ALL_LANES, own.score, 1);
        const u32 label = __shfl_xor_sync(ALL_LANES, own.label, 1);
        own.squares += __shfl_xor_sync(ALL_LANES, own.squares, 1);
        if (better(score, label, own.score, own.label)) {
            own.score = score;
            own.label = label;
        }
        if (lane() % 2 == 0 && place + row < tile.rows) best[static_cast<u64>(blockIdx.y) * tile.rows + place + row] = own;
    });
}

// Not 128 columns wide: on sm_100 that spills. Grid: row tiles, column tiles. `labels` has an entry per column, `best` one per column tile and row.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_head_best_32(const __grid_constant__ Convolution c, const u32* labels, Best* best) { head_best<32>(c, labels, best); }
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_head_best_64(const __grid_constant__ Convolution c, const u32* labels, Best* best) { head_best<64>(c, labels, best); }
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_head_best_96(const __grid_constant__ Convolution c, const u32* labels, Best* best) { head_best<96>(c, labels, best); }

// What a score is multiplied by: 1, or one over the feature's length.
__device__ __forceinline__ float factor_of(bool cosine, float squares) {
    const float smallest = 1.17549435e-38f, length = sqrtf(squares);
    return cosine ? 1.0f / (length > smallest ? length : smallest) : 1.0f;
}

// A thread per row: the best over the column tiles. Rows without a finite score get label -1 and score 0.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_head_labels(const Best* best, u32 rows, u32 tiles, u32 cosine, int* labels, float* scores) {
    const u32 row = blockIdx.x * THREADS + threadIdx.x;
    if (row >= rows) return;
    Best all = best[row];
    for (u32 tile = 1; tile < tiles; ++tile) {
        const Best other = best[static_cast<u64>(tile) * rows + row];
        all.squares += other.squares;
        if (better(other.score, other.label, all.score, all.label)) {
            all.score = other.score;
            all.label = other.label;
        }
    }
    const float score = all.score * factor_of(cosine, all.squares);
    const bool found = all.label != PADDING && isfinite(score);
    labels[row] = found ? static_cast<int>(all.label) : -1;
    scores[row] = found ? score : 0;
}

// Mirrors `RankDescriptor` in backend/cuda/head.rs.
struct Rank {
    const float* products;      // [rows][stride] prompt scores, then the columns of the length
    const u32* prompts_of_label;// prompt numbers, label by label
    const u32* first_prompt;    // [labels + 1] where each label's begin
    float* label_scores;        // [rows][labels]
    float* prompt_scores;       // [rows][prompts] or null
    int* top_labels;            // [rows][top_k]
    float* top_scores;          // [rows][top_k]
    u32 rows;
    u32 stride;
    u32 prompts;
    u32 columns;                // prompts and those of the length
    u32 labels;
    u32 top_k;
    u32 cosine;
    float temperature;          // 0: no softmax
};

// The warp's sum, in one order.
__device__ __forceinline__ float warp_sum(float value) {
    for (u32 step = WARP / 2; step; step /= 2) value += __shfl_xor_sync(ALL_LANES, value, step);
    return value;
}

__device__ __forceinline__ float warp_max(float value) {
    for (u32 step = WARP / 2; step; step /= 2) value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, step));
    return value;
}

// Scores of the labels of one row, softmax included; lane l has those of labels l, l + 32, ...
__device__ __forceinline__ void score_labels(const Rank& rank, const float* products, float factor, float* scores) {
    const float lowest = __int_as_float(0xff800000);
    float highest = lowest;
    for (u32 label = lane(); label < rank.labels; label += WARP) {
        float score = lowest;
        for (u32 index = rank.first_prompt[label]; index < rank.first_prompt[label + 1]; ++index)
            score = fmaxf(score, products[rank.prompts_of_label[index]] * factor);
        scores[label] = score;
        highest = fmaxf(highest, score);
    }
    if (rank.temperature == 0) return;
    highest = warp_max(highest);
    const bool finite = isfinite(highest);
    float total = 0;
    for (u32 label = lane(); label < rank.labels; label += WARP) {
        const float score = expf((scores[label] - highest) / rank.temperature);
        scores[label] = score;
        total += score;
    }
    total = warp_sum(total);
    for (u32 label = lane(); label < rank.labels; label += WARP)
        scores[label] = finite ? scores[label] / total : __int_as_float(0x7fc00000);
}

// A warp per row.
extern "C" __global__ void __launch_bounds__(THREADS) ov3d_head_rank(const __grid_constant__ Rank rank) {
    const u32 row = blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    if (row >= rank.rows) return;
    const float* products = rank.products + static_cast<u64>(row) * rank.stride;
    float squares = 0;
    for (u32 column = rank.prompts + lane(); column < rank.columns; column += WARP)
        squares = fmaf(products[column], products[column], squares);
    const float factor = factor_of(rank.cosine, warp_sum(squares));
    if (rank.prompt_scores) {
        float* to = rank.prompt_scores + static_cast<u64>(row) * rank.prompts;
        for (u32 prompt = lane(); prompt < rank.prompts; prompt += WARP) to[prompt] = products[prompt] * factor;
    }
    float* scores = rank.label_scores + static_cast<u64>(row) * rank.labels;
    score_labels(rank, products, factor, scores);
    // Each place goes to the best label that comes after the one before.
    float last = __int_as_float(0x7f800000);
    u32 last_label = 0;
    for (u32 place = 0; place < rank.top_k; ++place) {
        float best = __int_as_float(0xff800000);
        u32 best_label = PADDING;
        for (u32 label = lane(); label < rank.labels; label += WARP) {
            const float score = scores[label];
            const bool left = place == 0 || better(last, last_label, score, label);
            if (left && isfinite(score) && better(score, label, best, best_label)) {
                best = score;
                best_label = label;
            }
        }
        for (u32 step = WARP / 2; step; step /= 2) {
            const float other = __shfl_xor_sync(ALL_LANES, best, step);
            const u32 other_label = __shfl_xor_sync(ALL_LANES, best_label, step);
            if (better(other, other_label, best, best_label)) {
                best = other;
                best_label = other_label;
            }
        }
        const bool found = best_label != PADDING;
        if (lane() == 0) {
            rank.top_labels[static_cast<u64>(row) * rank.top_k + place] = found ? static_cast<int>(best_label) : -1;
            rank.top_scores[static_cast<u64>(row) * rank.top_k + place] = found ? best : 0;
        }
        // Nothing comes after nothing.
        last = found ? best : __int_as_float(0xff800000);
        last_label = best_label;
    }
}

// A thread per point and place: the label and score of its voxel, -1 and 0 without one.
extern "C" __global__ void __launch_bounds__(THREADS)
    ov3d_head_lift(const int* voxel_labels, const float* voxel_scores, const u32* voxel_of_point, u32 points, u32 top_k, int* labels,
                   float* scores) {
    const u64 index = static_cast<u64>(blockIdx.x) * THREADS + threadIdx.x;
    const u64 point = index / top_k;
    if (point >= points) return;
    const u32 voxel = voxel_of_point[point];
    const u64 from = static_cast<u64>(voxel) * top_k + index % top_k;
    labels[index] = voxel == NO_ROW ? -1 : voxel_labels[from];
    scores[index] = voxel == NO_ROW ? 0 : voxel_scores[from];
}
