// Tensor-core products and the moves of 8x8 matrices between shared memory and fragments.
//
// Lane l holds row l/4 and columns 2(l%4), 2(l%4)+1 of an 8x8 matrix of halves in one register, so the 32 registers of
// a warp, lane after lane, are the matrix in row-major order. Accumulators are held the same way in two registers.
#include "memory.h"

namespace emu {
namespace {

typedef float Row __attribute__((vector_size(32)));

template <Half FORMAT> void widen(const uint32_t* words, float* into) {
    uint16_t halves[64];
    memcpy(halves, words, sizeof halves);
    for (int i = 0; i < 64; ++i) {
        if constexpr (FORMAT == Half::F16) {
            _Float16 h;
            memcpy(&h, &halves[i], 2);
            into[i] = static_cast<float>(h);
        } else {
            const uint32_t u = static_cast<uint32_t>(halves[i]) << 16;
            memcpy(&into[i], &u, 4);
        }
    }
}

// Operands of a batch repeat: each is widened once.
struct Cache {
    uint16_t word[64];
    unsigned count = 0;
    alignas(64) float matrix[64][64];

    template <Half FORMAT> const float* get(const Warp* w, uint16_t at, bool transpose) {
        for (unsigned i = 0; i < count; ++i)
            if (word[i] == at) return matrix[i];
        float* into = matrix[count & 63];
        word[count & 63] = at;
        if (count < 63) ++count;
        if (!transpose) {
            widen<FORMAT>(w->wide[at], into);
        } else {
            alignas(64) float plain[64];
            widen<FORMAT>(w->wide[at], plain);
            for (int k = 0; k < 8; ++k)
                for (int n = 0; n < 8; ++n) into[k * 8 + n] = plain[n * 8 + k];
        }
        return into;
    }
};

// sum[8][8] += a[8][8] * b[8][8], b by its rows.
void accumulate(Row (&sum)[8], const float* a, const float* b) {
    for (int k = 0; k < 8; ++k) {
        Row row;
        memcpy(&row, b + 8 * k, sizeof row);
        for (int i = 0; i < 8; ++i) sum[i] += a[8 * i + k] * row;
    }
}

// `k_blocks` 8-deep steps; the left operand's registers are ordered rows first, then depth.
template <Half FORMAT> void multiply(Warp* w, const Product* products, unsigned count, unsigned k_blocks) {
    Cache left, right;
    for (unsigned p = 0; p < count; ++p) {
        const Product& at = products[p];
        for (unsigned top = 0; top < 2; ++top) {
            uint32_t* c0 = w->wide[at.c + 2 * top];
            uint32_t* c1 = w->wide[at.c + 2 * top + 1];
            float plain[64];
            for (int l = 0; l < 32; ++l) {
                memcpy(&plain[2 * l], &c0[l], 4);
                memcpy(&plain[2 * l + 1], &c1[l], 4);
            }
            Row sum[8];
            memcpy(sum, plain, sizeof sum);
            for (unsigned k = 0; k < k_blocks; ++k)
                accumulate(sum, left.get<FORMAT>(w, static_cast<uint16_t>(at.a + 2 * k + top), false),
                           right.get<FORMAT>(w, static_cast<uint16_t>(at.b + k), true));
            memcpy(plain, sum, sizeof sum);
            for (int l = 0; l < 32; ++l) {
                memcpy(&c0[l], &plain[2 * l], 4);
                memcpy(&c1[l], &plain[2 * l + 1], 4);
            }
        }
    }
}

const uint8_t* row_at(Warp* w, unsigned rows, unsigned lane, uint32_t line, uint32_t kind) {
    return shared_at<16>(&w->threads[lane], w->wide[rows][lane], line, kind);
}

}  // namespace

void multiply_k16(Warp* w, const Product* products, unsigned count, Half format) {
    if (format == Half::F16) multiply<Half::F16>(w, products, count, 2);
    else multiply<Half::BF16>(w, products, count, 2);
}

void multiply_k8(Warp* w, const Product* products, unsigned count, Half format) {
    if (format == Half::F16) multiply<Half::F16>(w, products, count, 1);
    else multiply<Half::BF16>(w, products, count, 1);
}

void load_matrices(Warp* w, unsigned rows, unsigned to, unsigned count, bool transpose, uint32_t line) {
    for (unsigned m = 0; m < count; ++m) {
        uint16_t matrix[8][8];
        for (unsigned r = 0; r < 8; ++r) memcpy(matrix[r], row_at(w, rows, 8 * m + r, line, READ), 16);
        uint16_t halves[64];
        for (unsigned r = 0; r < 8; ++r)
            for (unsigned c = 0; c < 8; ++c) halves[8 * r + c] = transpose ? matrix[c][r] : matrix[r][c];
        memcpy(w->wide[to + m], halves, sizeof halves);
    }
}

void store_matrices(Warp* w, unsigned rows, unsigned from, unsigned count, bool transpose, uint32_t line) {
    for (unsigned m = 0; m < count; ++m) {
        uint16_t matrix[8][8];
        memcpy(matrix, w->wide[from + m], sizeof matrix);
        for (unsigned r = 0; r < 8; ++r) {
            uint16_t row[8];
            for (unsigned c = 0; c < 8; ++c) row[c] = transpose ? matrix[c][r] : matrix[r][c];
            memcpy(const_cast<uint8_t*>(row_at(w, rows, 8 * m + r, line, WRITE)), row, 16);
        }
    }
}
}  // namespace emu
