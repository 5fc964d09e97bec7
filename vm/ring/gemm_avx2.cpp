// AVX2 has no 64-bit product. With 32-bit halves a = a' + 2^32·a″:
//   a·b mod 2^64 = a'·b' + 2^32·(a'·b″ + a″·b' mod 2^32).
// vpmuludq gives the first; vpmulld of b with the halves of a exchanged gives both cross products in one instruction.
#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>

#include "ring/gemm_kernel.h"

#define SECFWT_TARGET __attribute__((target("avx2")))

namespace secfwt {
namespace {

constexpr std::size_t kRows = 3, kColumns = 8, kLanes = 4;

// For every inner index and row: a and a with its halves exchanged.
void pack_a(const Block& a, std::size_t m, std::size_t k, u64* out) {
  for (std::size_t l = 0; l < k; ++l)
    for (std::size_t i = 0; i < kRows; ++i) {
      const u64 x = i < m ? a.at(i, l) : 0;
      *out++ = x;
      *out++ = x >> 32 | x << 32;
    }
}

void pack_b(const Block& b, std::size_t k, std::size_t n, u64* out) {
  for (std::size_t l = 0; l < k; ++l)
    for (std::size_t j = 0; j < kColumns; ++j) *out++ = j < n ? b.at(l, j) : 0;
}

SECFWT_TARGET inline __m256i load(const u64* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

// GCC 12 would copy or spill accumulators from one step to the next.
SECFWT_TARGET inline void keep(__m256i& x) { asm("" : "+x"(x)); }

SECFWT_TARGET void tile(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t m,
                        std::size_t n, bool accumulate) {
  constexpr int R = kRows, V = kColumns / kLanes;
  __m256i low[R][V], cross[R][V];
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) low[i][v] = cross[i][v] = _mm256_setzero_si256();
  for (std::size_t l = 0; l < k; ++l, a += 2 * kRows, b += kColumns) {
    const __m256i x[V] = {load(b), load(b + kLanes)};
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
      const __m256i y = _mm256_set1_epi64x(static_cast<i64>(a[2 * i]));
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        low[i][v] = _mm256_add_epi64(low[i][v], _mm256_mul_epu32(x[v], y));
        keep(low[i][v]);
      }
      const __m256i z = _mm256_set1_epi64x(static_cast<i64>(a[2 * i + 1]));
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        cross[i][v] = _mm256_add_epi32(cross[i][v], _mm256_mullo_epi32(x[v], z));
        keep(cross[i][v]);
      }
    }
  }
  u64 sums[R][kColumns];
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const __m256i both = _mm256_add_epi32(cross[i][v], _mm256_srli_epi64(cross[i][v], 32));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(&sums[i][v * 4]),
                          _mm256_add_epi64(low[i][v], _mm256_slli_epi64(both, 32)));
    }
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < n; ++j) c[i * ldc + j] = sums[i][j] + (accumulate ? c[i * ldc + j] : 0);
}

void multiply(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t m, std::size_t n,
              bool accumulate) {
  for (std::size_t j = 0; j < n; j += kColumns)
    for (std::size_t i = 0; i < m; i += kRows)
      tile(a + 2 * i * k, b + j * k, k, c + i * ldc + j, ldc, std::min(kRows, m - i), std::min(kColumns, n - j),
           accumulate);
}

SECFWT_TARGET void products(std::size_t k) {
  constexpr std::size_t kVectors = kRows * kColumns / kLanes;
  __m256i low[kVectors] = {}, cross[kVectors] = {}, x = _mm256_set1_epi64x(3);
  keep(x);  // no constant: it would be multiplied by additions
  for (; k > 0; --k) {
#pragma GCC unroll 6
    for (std::size_t i = 0; i < kVectors; ++i) {
      low[i] = _mm256_mul_epu32(low[i], x);
      cross[i] = _mm256_mullo_epi32(cross[i], x);
      keep(low[i]);
      keep(cross[i]);
    }
  }
#pragma GCC unroll 6
  for (std::size_t i = 0; i < kVectors; ++i) asm volatile("" : : "x"(low[i]), "x"(cross[i]));
}

}  // namespace

const GemmKernel* avx2_kernel() {
  static const GemmKernel kernel{"avx2", Isa::avx2, 64,   kRows,  kColumns, 1,        16,
                                 8,      512,       true, pack_a, pack_b,   multiply, products};
  return __builtin_cpu_supports("avx2") ? &kernel : nullptr;
}

}  // namespace secfwt

#endif
