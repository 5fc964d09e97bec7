// Matrix product over Z_2^64, exact, at the hardware's speed: AMX, AVX-512 (plain, or with IFMA and VNNI), AVX2 and
// portable kernels. Which one runs makes no difference to the result.
#pragma once

#include "ring/isa.h"
#include "ring/ring.h"

namespace secfwt {

// C (m×n, row stride ldc) = or += A (m×k, row stride lda) · B (k×n, row stride ldb) mod 2^64; strides in elements.
// Threaded. C must not overlap A or B. m, k or n may be 0.
void gemm(const u64* a, std::size_t lda, const u64* b, std::size_t ldb, u64* c, std::size_t ldc, std::size_t m,
          std::size_t k, std::size_t n, bool accumulate);

// `batch` products of contiguous matrices; a stride of 0 elements repeats the same matrix. Threads over the batch as
// well.
void gemm_batch(const u64* a, std::size_t stride_a, const u64* b, std::size_t stride_b, u64* c, std::size_t stride_c,
                std::size_t batch, std::size_t m, std::size_t k, std::size_t n, bool accumulate);

// The additive share of a replicated product: C = x0·y0 + x0·y1 + x1·y0 with A = (x0, x1), B = (y0, y1), in one call:
// two ring products, (x0+x1)·y0 + x0·y1, the sum formed while packing. Same conventions as gemm_batch.
void gemm_shares(const u64* a0, const u64* a1, std::size_t stride_a, const u64* b0, const u64* b1, std::size_t stride_b,
                 u64* c, std::size_t stride_c, std::size_t batch, std::size_t m, std::size_t k, std::size_t n);

// A right-hand factor that many products share is packed once, in its own place: into the order in which the kernel of
// large products reads it. Null where that would take more room than the elements: the layout has words of its own, or
// k or n is not a multiple of its panels.
const GemmKernel* packed_layout(std::size_t k, std::size_t n);
void pack_in_place(const GemmKernel& layout, u64* b, std::size_t k, std::size_t n);
// As gemm_batch, with every B packed in this layout.
void gemm_packed(const GemmKernel& layout, const u64* a, std::size_t stride_a, const u64* b, std::size_t stride_b,
                 u64* c, std::size_t stride_c, std::size_t batch, std::size_t m, std::size_t k, std::size_t n,
                 bool accumulate);

}  // namespace secfwt
