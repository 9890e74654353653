// Tensor-core products and the moves of 8x8 matrices between shared memory and fragments.
//
// Lane l holds row l/4 and columns 2(l%4), 2(l%4)+1 of an 8x8 matrix of halves in one register, so the 32 registers of
// a warp, lane after lane, are the matrix in row-major order. Accumulators are held the same way in two registers.
#include <immintrin.h>
#include "memory.h"

namespace emu {
namespace {

typedef float Row __attribute__((vector_size(32)));

template <Half FORMAT> void widen(const uint32_t* words, float* into) {
    for (int i = 0; i < 64; i += 8) {
        __m128i halves;
        memcpy(&halves, words + i / 2, sizeof halves);
        const __m256 row = FORMAT == Half::F16 ? _mm256_cvtph_ps(halves)
                                               : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
        _mm256_store_ps(into + i, row);
    }
}

// Operands of a batch repeat: each is widened once.
struct Cache {
    static constexpr unsigned ROOM = 64;
    uint8_t known[WIDE];
    unsigned count = 0;
    alignas(64) float matrix[ROOM][64];

    Cache() { memset(known, 0xff, sizeof known); }

    template <Half FORMAT> const float* get(const Warp* w, uint16_t at, bool transpose) {
        if (known[at] != 0xff) return matrix[known[at]];
        if (count == ROOM) {
            memset(known, 0xff, sizeof known);
            count = 0;
        }
        known[at] = static_cast<uint8_t>(count);
        float* into = matrix[count++];
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
inline void accumulate(Row (&sum)[8], const float* a, const float* b) {
    for (int k = 0; k < 8; ++k) {
        Row row;
        memcpy(&row, b + 8 * k, sizeof row);
        for (int i = 0; i < 8; ++i) sum[i] += a[8 * i + k] * row;
    }
}

// Two registers of accumulators, each one column of a pair of columns, to rows and back.
inline void load_sums(Row (&sum)[8], const uint32_t* even, const uint32_t* odd) {
    alignas(64) uint32_t plain[64];
    for (int l = 0; l < 32; ++l) plain[2 * l] = even[l], plain[2 * l + 1] = odd[l];
    memcpy(sum, plain, sizeof sum);
}
inline void store_sums(const Row (&sum)[8], uint32_t* even, uint32_t* odd) {
    alignas(64) uint32_t plain[64];
    memcpy(plain, sum, sizeof sum);
    for (int l = 0; l < 32; ++l) even[l] = plain[2 * l], odd[l] = plain[2 * l + 1];
}

// `steps` times 8 deep; the left operand's registers are ordered rows first, then depth.
template <Half FORMAT> void multiply(Warp* w, const Product* products, unsigned count, unsigned steps) {
    Cache left, right;
    for (unsigned p = 0; p < count; ++p) {
        const Product& at = products[p];
        for (unsigned top = 0; top < 2; ++top) {
            Row sum[8];
            load_sums(sum, w->wide[at.c[2 * top]], w->wide[at.c[2 * top + 1]]);
            for (unsigned k = 0; k < steps; ++k)
                accumulate(sum, left.get<FORMAT>(w, at.a[2 * k + top], false), right.get<FORMAT>(w, at.b[k], true));
            store_sums(sum, w->wide[at.d[2 * top]], w->wide[at.d[2 * top + 1]]);
        }
    }
}

uint8_t* row_at(Warp* w, unsigned rows, unsigned lane, uint32_t line, uint32_t kind) {
    return shared_at<16>(&w->threads[lane], w->wide[rows][lane], line, kind);
}

typedef uint16_t Matrix[8][8];

void put_matrix(uint32_t* word, const Matrix& matrix, bool transpose) {
    if (!transpose) {
        memcpy(word, matrix, sizeof matrix);
        return;
    }
    Matrix turned;
    for (unsigned r = 0; r < 8; ++r)
        for (unsigned c = 0; c < 8; ++c) turned[r][c] = matrix[c][r];
    memcpy(word, turned, sizeof turned);
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
        Matrix matrix;
        for (unsigned r = 0; r < 8; ++r) memcpy(matrix[r], row_at(w, rows, 8 * m + r, line, READ), 16);
        put_matrix(w->wide[to + m], matrix, transpose);
    }
}

void store_matrix(Warp* w, unsigned rows, unsigned from, unsigned number, bool transpose, uint32_t line) {
    uint32_t word[WARP];
    Matrix matrix;
    memcpy(matrix, w->wide[from], sizeof matrix);
    put_matrix(word, matrix, transpose);
    for (unsigned r = 0; r < 8; ++r) memcpy(row_at(w, rows, 8 * number + r, line, WRITE), word + 4 * r, 16);
}

void transpose_matrix(Warp* w, unsigned from, unsigned to) {
    Matrix matrix;
    memcpy(matrix, w->wide[from], sizeof matrix);
    put_matrix(w->wide[to], matrix, true);
}
}  // namespace emu
