// The kernel for any processor: 4×4 accumulators in general registers.
#include <algorithm>

#include "ring/gemm_kernel.h"

namespace secfwt {
namespace {

constexpr std::size_t kRows = 4, kColumns = 4;

void pack_a(const Block& a, std::size_t m, std::size_t k, u64* out) {
  for (std::size_t l = 0; l < k; ++l)
    for (std::size_t i = 0; i < kRows; ++i) *out++ = i < m ? a.at(i, l) : 0;
}

void pack_b(const Block& b, std::size_t k, std::size_t n, u64* out) {
  for (std::size_t l = 0; l < k; ++l)
    for (std::size_t j = 0; j < kColumns; ++j) *out++ = j < n ? b.at(l, j) : 0;
}

void tile(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t m, std::size_t n,
          bool accumulate) {
  u64 sum[kRows][kColumns] = {};
  for (std::size_t l = 0; l < k; ++l, a += kRows, b += kColumns)
    for (std::size_t i = 0; i < kRows; ++i)
      for (std::size_t j = 0; j < kColumns; ++j) sum[i][j] += a[i] * b[j];
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < n; ++j) c[i * ldc + j] = sum[i][j] + (accumulate ? c[i * ldc + j] : 0);
}

void multiply(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t m, std::size_t n,
              bool accumulate) {
  for (std::size_t j = 0; j < n; j += kColumns)
    for (std::size_t i = 0; i < m; i += kRows)
      tile(a + i * k, b + j * k, k, c + i * ldc + j, ldc, std::min(kRows, m - i), std::min(kColumns, n - j),
           accumulate);
}

void products(std::size_t k) {
  u64 x = 3, product[kColumns] = {1, 2, 3, 4};
  for (; k > 0; --k)
    for (std::size_t i = 0; i < kRows; ++i)
#pragma GCC unroll 4
      for (u64& p : product) {
        p *= x;
        asm("" : "+r"(p), "+r"(x));
      }
  for (u64 p : product) asm volatile("" : : "r"(p));
}

}  // namespace

const GemmKernel* portable_kernel() {
  static const GemmKernel kernel{"portable", Isa::portable, 64,   kRows,  kColumns, 1,        8,
                                 8,          512,           true, pack_a, pack_b,   multiply, products};
  return &kernel;
}

}  // namespace secfwt
