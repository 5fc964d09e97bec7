// AVX-512 with IFMA and VNNI. Where vpmullq is three micro-operations (Intel), this takes 2.5 for a product and its sum
// instead of four:
//   a·b mod 2^64 = lo52(a'·b') + 2^52·(hi52(a'·b') + a'·b″ + a″·b' mod 2^12),   a = a' + 2^52·a″, b = b' + 2^52·b″.
// vpmadd52 gives the first two and ignores the bits above 52. The cross products are needed mod 2^12 only, so that
// 12-bit factors do: vpdpwssd forms those of two inner indices at once. Every accumulator may overflow: what is lost is
// a multiple of 2^64.
#if defined(__x86_64__)

#include "ring/gemm_avx512.h"

#define SECFWT_TARGET __attribute__((target(SECFWT_AVX512 ",avx512ifma,avx512vnni")))

namespace secfwt {
namespace {

using avx512::keep;
using avx512::kLanes;
using avx512::load;

constexpr std::size_t kRows = 4, kColumns = 16;

constexpr u64 low12(u64 x) { return x & 0xfff; }

// Low and high 12 bits of two elements; in the other order for the other operand.
u64 cross_a(u64 x, u64 y) { return low12(x) | x >> 52 << 16 | low12(y) << 32 | y >> 52 << 48; }

SECFWT_TARGET inline __m512i cross_b(__m512i x, __m512i y) {
  const __m512i low = _mm512_set1_epi64(0xfff);
  const __m512i high_x = _mm512_srli_epi64(x, 52), low_x = _mm512_slli_epi64(_mm512_and_si512(x, low), 16);
  const __m512i high_y = _mm512_slli_epi64(_mm512_srli_epi64(y, 52), 32);
  const __m512i low_y = _mm512_slli_epi64(_mm512_and_si512(y, low), 48);
  return _mm512_or_si512(_mm512_or_si512(high_x, low_x), _mm512_or_si512(high_y, low_y));
}

// A pair of inner indices l, l+1: for every row a(l), a(l+1), cross.
void pack_a(const Block& a, std::size_t m, std::size_t k, u64* out) {
  for (std::size_t i = 0; i < kRows; ++i) {
    u64* word = out + 3 * i;
    for (std::size_t l = 0; l < k; l += 2, word += 3 * kRows) {
      const u64 x = i < m ? a.at(i, l) : 0, y = i < m && l + 1 < k ? a.at(i, l + 1) : 0;
      word[0] = x;
      word[1] = y;
      word[2] = cross_a(x, y);
    }
  }
}

// A pair of inner indices: 16 columns of b(l), of b(l+1), of the cross words.
SECFWT_TARGET void pack_b(const Block& b, std::size_t k, std::size_t n, u64* out) {
  for (std::size_t l = 0; l < k; l += 2, out += 3 * kColumns)
    for (std::size_t j = 0; j < kColumns; j += kLanes) {
      const __m512i x = load(b, l, j, n), y = l + 1 < k ? load(b, l + 1, j, n) : _mm512_setzero_si512();
      _mm512_storeu_si512(out + j, x);
      _mm512_storeu_si512(out + kColumns + j, y);
      _mm512_storeu_si512(out + 2 * kColumns + j, cross_b(x, y));
    }
}

template <int R, int V>
SECFWT_TARGET inline void tile(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t n,
                               bool accumulate) {
  __m512i low[R][V], high[R][V], cross[R][V];
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) low[i][v] = high[i][v] = cross[i][v] = _mm512_setzero_si512();
  for (std::size_t l = 0; l < k; l += 2, a += 3 * kRows, b += 3 * kColumns) {
    __m512i x[V];
#pragma GCC unroll 4
    for (int step = 0; step < 2; ++step) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) x[v] = _mm512_loadu_si512(b + step * kColumns + v * kLanes);
#pragma GCC unroll 4
      for (int i = 0; i < R; ++i) {
        const __m512i y = _mm512_set1_epi64(static_cast<i64>(a[3 * i + step]));
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          low[i][v] = _mm512_madd52lo_epu64(low[i][v], x[v], y);
          high[i][v] = _mm512_madd52hi_epu64(high[i][v], x[v], y);
          keep(low[i][v]);
          keep(high[i][v]);
        }
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) x[v] = _mm512_loadu_si512(b + 2 * kColumns + v * kLanes);
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
      const __m512i y = _mm512_set1_epi64(static_cast<i64>(a[3 * i + 2]));
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        cross[i][v] = _mm512_dpwssd_epi32(cross[i][v], x[v], y);
        keep(cross[i][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const __m512i both = _mm512_add_epi64(cross[i][v], _mm512_srli_epi64(cross[i][v], 32));
      const __m512i sum = _mm512_add_epi64(low[i][v], _mm512_slli_epi64(_mm512_add_epi64(high[i][v], both), 52));
      const std::size_t row = static_cast<std::size_t>(i), first = static_cast<std::size_t>(v) * kLanes;
      avx512::store(c + row * ldc + first, n - first, sum, accumulate);
    }
}

template <int V>
SECFWT_TARGET void column(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t m,
                          std::size_t n, bool accumulate) {
  const std::size_t panel = kRows * k / 2 * 3;
  for (; m >= kRows; m -= kRows, a += panel, c += kRows * ldc) tile<4, V>(a, b, k, c, ldc, n, accumulate);
  if (m == 3) tile<3, V>(a, b, k, c, ldc, n, accumulate);
  if (m == 2) tile<2, V>(a, b, k, c, ldc, n, accumulate);
  if (m == 1) tile<1, V>(a, b, k, c, ldc, n, accumulate);
}

void multiply(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t m, std::size_t n,
              bool accumulate) {
  k += k & 1;
  for (std::size_t j = 0; j < n; j += kColumns, b += kColumns * k / 2 * 3, c += kColumns)
    (n - j > kLanes ? column<2> : column<1>)(a, b, k, c, ldc, m, std::min(kColumns, n - j), accumulate);
}

SECFWT_TARGET void products(std::size_t k) {
  constexpr std::size_t kVectors = kRows * kColumns / kLanes;
  __m512i low[kVectors] = {}, high[kVectors] = {}, cross[kVectors] = {}, x = _mm512_set1_epi64(3);
  for (; k > 1; k -= 2) {
#pragma GCC unroll 2
    for (int step = 0; step < 2; ++step)
#pragma GCC unroll 8
      for (std::size_t i = 0; i < kVectors; ++i) {
        low[i] = _mm512_madd52lo_epu64(low[i], x, x);
        high[i] = _mm512_madd52hi_epu64(high[i], x, x);
        keep(low[i]);
        keep(high[i]);
      }
#pragma GCC unroll 8
    for (__m512i& sum : cross) {
      sum = _mm512_dpwssd_epi32(sum, x, x);
      keep(sum);
    }
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < kVectors; ++i) {
    avx512::discard(low[i]);
    avx512::discard(high[i]);
    avx512::discard(cross[i]);
  }
}

}  // namespace

const GemmKernel* avx512_ifma_kernel() {
  static const GemmKernel kernel{"avx512-ifma", Isa::avx512, 64,     kRows,  kColumns, 2,       12, 12,
                                 384,           false,       pack_a, pack_b, multiply, products};
  const bool supported =
      avx512_mullo_kernel() && __builtin_cpu_supports("avx512ifma") && __builtin_cpu_supports("avx512vnni");
  return supported ? &kernel : nullptr;
}

}  // namespace secfwt

#endif
