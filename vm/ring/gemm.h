// Matrix products over Z_2^bits, exact, at the hardware's speed: AMX, AVX-512 (three ways to multiply), AVX2 and
// portable kernels. Which one runs makes no difference to the result: the fastest for the ring, by measurement.
#pragma once

#include <cstddef>

#include "ring/packed_matrix.h"
#include "ring/ring.h"

namespace secfwt {

// C (m×n) = or += A (m×k) · B (k×n) mod 2^64, all contiguous. Threaded. C must not overlap A or B. m, k or n may be 0.
void gemm(const u64* a, const u64* b, u64* c, std::size_t m, std::size_t k, std::size_t n, bool accumulate);

// The additive share of a replicated product: C = x0·y0 + x0·y1 + x1·y0 mod 2^64 with A = (x0, x1), B = (y0, y1), in
// two ring products: (x0+x1)·y0 + x0·y1.
void gemm_shares(const u64* a0, const u64* a1, const u64* b0, const u64* b1, u64* c, std::size_t m, std::size_t k,
                 std::size_t n);

// `count` products of contiguous matrices, m×k by k×n; a stride of 0 elements repeats the same matrix. Threads over the
// batch as well.
struct Batch {
  std::size_t count, m, k, n, stride_a, stride_b, stride_c;
};

// A product that is a part of C: A times columns [first, first + columns) of B. Either may be the sum of two matrices
// (`plus` is null where it is not), which is formed while packing and never stored; or `packed` holds those columns of
// B. In a list of terms the first of some columns sets them and the others add; neighbours with the same A pack it
// once.
struct Term {
  const u64 *a, *a_plus;
  const u64 *b, *b_plus;
  const PackedMatrix* packed;
  std::size_t first, columns;
  bool add;
};

// C = the sum of the terms mod 2^bits: what is above in a word of C means nothing, and what is above in A and B does
// not matter. The terms' columns make up all of C. All of them are packed for the same kernel, or none.
void gemm_terms(const Term* terms, std::size_t count, u64* c, const Batch& batch, int bits);

}  // namespace secfwt
