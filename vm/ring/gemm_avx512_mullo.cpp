// AVX-512 alone: vpmullq and vpaddq. Two micro-operations for eight products and their sums on Zen 4 and 5, four on
// Intel. Panels hold the elements as they are.
#if defined(__x86_64__)

#include "ring/gemm_avx512.h"

#define SECFWT_TARGET __attribute__((target(SECFWT_AVX512)))

namespace secfwt {
namespace {

using avx512::keep;
using avx512::kLanes;

constexpr std::size_t kRows = 8, kColumns = 16;

void pack_a(const Block& a, std::size_t m, std::size_t k, u64* out) {
  for (std::size_t i = 0; i < kRows; ++i)
    for (std::size_t l = 0; l < k; ++l) out[l * kRows + i] = i < m ? a.at(i, l) : 0;
}

SECFWT_TARGET void pack_b(const Block& b, std::size_t k, std::size_t n, u64* out) {
  for (std::size_t l = 0; l < k; ++l)
    for (std::size_t j = 0; j < kColumns; j += kLanes, out += kLanes)
      _mm512_storeu_si512(out, avx512::load(b, l, j, n));
}

template <int R, int V>
SECFWT_TARGET inline void tile(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t n,
                               bool accumulate) {
  __m512i sum[R][V];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum[i][v] = _mm512_setzero_si512();
  for (std::size_t l = 0; l < k; ++l, a += kRows, b += kColumns) {
    __m512i x[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) x[v] = _mm512_loadu_si512(b + v * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      const __m512i y = _mm512_set1_epi64(static_cast<i64>(a[i]));
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        sum[i][v] = _mm512_add_epi64(sum[i][v], _mm512_mullo_epi64(x[v], y));
        keep(sum[i][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (std::size_t v = 0; v < V; ++v) avx512::store(c + i * ldc + v * kLanes, n - v * kLanes, sum[i][v], accumulate);
}

template <int V>
SECFWT_TARGET void column(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t m,
                          std::size_t n, bool accumulate) {
  for (; m >= kRows; m -= kRows, a += kRows * k, c += kRows * ldc) tile<8, V>(a, b, k, c, ldc, n, accumulate);
  if (m & 4) tile<4, V>(a, b, k, c, ldc, n, accumulate), a += 4, c += 4 * ldc;
  if (m & 2) tile<2, V>(a, b, k, c, ldc, n, accumulate), a += 2, c += 2 * ldc;
  if (m & 1) tile<1, V>(a, b, k, c, ldc, n, accumulate);
}

void multiply(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t m, std::size_t n,
              bool accumulate) {
  for (std::size_t j = 0; j < n; j += kColumns, b += kColumns * k, c += kColumns)
    (n - j > kLanes ? column<2> : column<1>)(a, b, k, c, ldc, m, std::min(kColumns, n - j), accumulate);
}

SECFWT_TARGET void products(std::size_t k) {
  __m512i product[kRows * kColumns / kLanes] = {}, x = _mm512_set1_epi64(3);
  keep(x);  // no constant: it would be multiplied by additions
  for (; k > 0; --k) {
#pragma GCC unroll 16
    for (__m512i& p : product) {
      p = _mm512_mullo_epi64(p, x);
      keep(p);
    }
  }
#pragma GCC unroll 16
  for (const __m512i& p : product) avx512::discard(p);
}

}  // namespace

const GemmKernel* avx512_mullo_kernel() {
  static const GemmKernel kernel{"avx512-mullo", Isa::avx512, kRows,    kColumns, 1, 2, 2, 384,
                                 pack_a,         pack_b,      multiply, products};
  const bool supported = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return supported ? &kernel : nullptr;
}

}  // namespace secfwt

#endif
