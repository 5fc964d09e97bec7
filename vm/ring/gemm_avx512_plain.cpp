// AVX-512 with panels that hold the elements as they are, and one of two ways to multiply them.
//
// vpmullq and vpaddq: two micro-operations for eight products and their sums on Zen 4 and 5, four on Intel.
//
// vpmadd52luq, for rings of at most 52 bits: one micro-operation everywhere. It adds the low 52 bits of the product of
// the low 52 bits of two elements, so that what stands above them needs no mask; and an accumulator that overflows
// loses a multiple of 2^64.
#if defined(__x86_64__)

#include "ring/gemm_avx512.h"

#define SECFWT_TARGET __attribute__((target(SECFWT_AVX512)))

namespace secfwt {
namespace {

using avx512::keep;
using avx512::kLanes;

constexpr std::size_t kRows = 8, kColumns = 16;

// sum += x·y. The asm statements also keep GCC 12 from copying accumulators from one step to the next.
struct Mullo {
  SECFWT_TARGET static void add_product(__m512i& sum, __m512i x, __m512i y) {
    sum = _mm512_add_epi64(sum, _mm512_mullo_epi64(x, y));
    keep(sum);
  }
  SECFWT_TARGET static void multiply(__m512i& product, __m512i x) {
    product = _mm512_mullo_epi64(product, x);
    keep(product);
  }
};
struct Madd52 {
  SECFWT_TARGET static void add_product(__m512i& sum, __m512i x, __m512i y) {
    asm("vpmadd52luq %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
  }
  SECFWT_TARGET static void multiply(__m512i& product, __m512i x) { add_product(product, x, x); }
};

// For every inner index its eight rows.
SECFWT_TARGET void pack_a(const Block& a, std::size_t m, std::size_t k, u64* out) {
  static_assert(kRows == kLanes, "eight rows of eight inner indices are transposed at a time");
  for (std::size_t l = 0; l < k; l += kLanes) {
    __m512i x[kRows];
    for (std::size_t i = 0; i < kRows; ++i) x[i] = i < m ? avx512::load(a, i, l, k) : _mm512_setzero_si512();
    avx512::transpose(x);
    for (std::size_t i = 0; i < std::min(kLanes, k - l); ++i, out += kRows) _mm512_storeu_si512(out, x[i]);
  }
}

SECFWT_TARGET void pack_b(const Block& b, std::size_t k, std::size_t n, u64* out) {
  for (std::size_t l = 0; l < k; ++l)
    for (std::size_t j = 0; j < kColumns; j += kLanes, out += kLanes)
      _mm512_storeu_si512(out, avx512::load(b, l, j, n));
}

template <class Product, int R, int V>
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
      for (int v = 0; v < V; ++v) Product::add_product(sum[i][v], x[v], y);
    }
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < R; ++i)
#pragma GCC unroll 2
    for (std::size_t v = 0; v < V; ++v) avx512::store(c + i * ldc + v * kLanes, n - v * kLanes, sum[i][v], accumulate);
}

template <class Product, int V>
SECFWT_TARGET void column(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t m,
                          std::size_t n, bool accumulate) {
  for (; m >= kRows; m -= kRows, a += kRows * k, c += kRows * ldc) tile<Product, 8, V>(a, b, k, c, ldc, n, accumulate);
  if (m & 4) tile<Product, 4, V>(a, b, k, c, ldc, n, accumulate), a += 4, c += 4 * ldc;
  if (m & 2) tile<Product, 2, V>(a, b, k, c, ldc, n, accumulate), a += 2, c += 2 * ldc;
  if (m & 1) tile<Product, 1, V>(a, b, k, c, ldc, n, accumulate);
}

template <class Product>
void multiply(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t m, std::size_t n,
              bool accumulate) {
  for (std::size_t j = 0; j < n; j += kColumns, b += kColumns * k, c += kColumns)
    (n - j > kLanes ? column<Product, 2> : column<Product, 1>)(a, b, k, c, ldc, m, std::min(kColumns, n - j),
                                                               accumulate);
}

template <class Product>
SECFWT_TARGET void products(std::size_t k) {
  __m512i product[kRows * kColumns / kLanes] = {}, x = _mm512_set1_epi64(3);
  keep(x);  // no constant: it would be multiplied by additions
  for (; k > 0; --k) {
#pragma GCC unroll 16
    for (__m512i& p : product) Product::multiply(p, x);
  }
#pragma GCC unroll 16
  for (const __m512i& p : product) avx512::discard(p);
}

}  // namespace

const GemmKernel* avx512_mullo_kernel() {
  static const GemmKernel kernel{"avx512-mullo", Isa::avx512, 64,     kRows,           kColumns,       1, 8, 8, 384,
                                 true,           pack_a,      pack_b, multiply<Mullo>, products<Mullo>};
  const bool supported = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return supported ? &kernel : nullptr;
}

const GemmKernel* avx512_madd52_kernel() {
  static const GemmKernel kernel{
      "avx512-madd52",  Isa::avx512,     52, kRows, kColumns, 1, 8, 8, 384, true, pack_a, pack_b,
      multiply<Madd52>, products<Madd52>};
  return avx512_mullo_kernel() && __builtin_cpu_supports("avx512ifma") ? &kernel : nullptr;
}

}  // namespace secfwt

#endif
