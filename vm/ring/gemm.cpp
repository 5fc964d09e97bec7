#include "ring/gemm.h"

#include <algorithm>
#include <stdexcept>

#include "ring/parallel.h"

namespace secfwt {

Isa best_isa() { return Isa::portable; }
Isa current_isa() { return Isa::portable; }
void set_isa(Isa isa) {
  if (isa != Isa::portable) throw std::invalid_argument("this processor cannot run the requested kernel");
}
const char* isa_name(Isa isa) { return isa == Isa::portable ? "portable" : isa == Isa::avx2 ? "avx2" : "avx512"; }

void gemm(const u64* a, std::size_t lda, const u64* b, std::size_t ldb, u64* c, std::size_t ldc, std::size_t m,
          std::size_t k, std::size_t n, bool accumulate) {
  parallel_for(m, 8, [&](std::size_t lo, std::size_t hi) {
    for (std::size_t i = lo; i < hi; ++i) {
      u64* row = c + i * ldc;
      if (!accumulate) std::fill(row, row + n, 0);
      for (std::size_t l = 0; l < k; ++l)
        for (std::size_t j = 0; j < n; ++j) row[j] += a[i * lda + l] * b[l * ldb + j];
    }
  });
}

void gemm_batch(const u64* a, std::size_t stride_a, const u64* b, std::size_t stride_b, u64* c, std::size_t stride_c,
                std::size_t batch, std::size_t m, std::size_t k, std::size_t n, bool accumulate) {
  for (std::size_t i = 0; i < batch; ++i)
    gemm(a + i * stride_a, k, b + i * stride_b, n, c + i * stride_c, n, m, k, n, accumulate);
}

void gemm_shares(const u64* a0, const u64* a1, std::size_t stride_a, const u64* b0, const u64* b1, std::size_t stride_b,
                 u64* c, std::size_t stride_c, std::size_t batch, std::size_t m, std::size_t k, std::size_t n) {
  const std::size_t elements = k * n * (stride_b == 0 ? 1 : batch);
  Words sum(elements);
  for (std::size_t i = 0; i < elements; ++i) sum[i] = b0[i] + b1[i];
  gemm_batch(a0, stride_a, sum.data(), stride_b, c, stride_c, batch, m, k, n, false);
  gemm_batch(a1, stride_a, b0, stride_b, c, stride_c, batch, m, k, n, true);
}

}  // namespace secfwt
