// What a matrix kernel offers to the driver in gemm.cpp. A product is cut into blocks; both operands of a block are
// packed into panels in the order (and the limbs) in which the kernel reads them, zero-padded to whole panels.
#pragma once

#include <array>
#include <vector>

#include "ring/isa.h"
#include "ring/ring.h"

namespace secfwt {

// A matrix, or the sum of two (`plus` may be null) that is formed while packing and never stored.
struct Block {
  const u64* words;
  const u64* plus;
  std::size_t stride;

  u64 at(std::size_t row, std::size_t column) const {
    const std::size_t i = row * stride + column;
    return plus ? words[i] + plus[i] : words[i];
  }
  // The part that begins there.
  Block from(std::size_t row, std::size_t column) const {
    const std::size_t i = row * stride + column;
    return {words + i, plus ? plus + i : nullptr, stride};
  }
};

struct GemmKernel {
  const char* name;
  Isa isa;
  int bits;                      // exact mod 2^bits: what is above them in C means nothing
  std::size_t rows, columns;     // of the tile of C that stays in registers: widths of the panels
  std::size_t depth;             // the inner dimension of a panel is padded to a multiple of this
  std::size_t a_bytes, b_bytes;  // of a packed element
  std::size_t max_depth;         // longest panel, a multiple of depth: keeps panels in cache and accumulators exact
  bool plain;                    // panels of B hold the elements as they are

  // Packs m <= rows rows of A, or n <= columns columns of B, of length k.
  void (*pack_a)(const Block& a, std::size_t m, std::size_t k, u64* out);
  void (*pack_b)(const Block& b, std::size_t k, std::size_t n, u64* out);
  // C (m×n) = or += packed A · packed B for any number of panels.
  void (*multiply)(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t m, std::size_t n,
                   bool accumulate);
  // The multiplications of a whole tile for an inner length k, on registers and without anything else: the bound of
  // `multiply`.
  void (*products)(std::size_t k);

  std::size_t padded(std::size_t k) const { return (k + depth - 1) / depth * depth; }
  // Words of a panel of inner length k.
  std::size_t a_panel(std::size_t k) const { return rows * padded(k) * a_bytes / 8; }
  std::size_t b_panel(std::size_t k) const { return columns * padded(k) * b_bytes / 8; }
};

// Null where the processor or the operating system lacks the instructions.
const GemmKernel* portable_kernel();
const GemmKernel* avx2_kernel();
const GemmKernel* avx512_mullo_kernel();
const GemmKernel* avx512_madd52_kernel();
const GemmKernel* avx512_ifma_kernel();
// By the bytes of the ring, 4 to 8.
const GemmKernel* amx_kernel(int bytes);

// Those this processor runs.
const std::vector<const GemmKernel*>& kernels();
struct Measured {
  const GemmKernel* kernel;
  double rate;
};
// By a ring's bits: the fastest of those that serve it.
using KernelChoices = std::array<Measured, kWord + 1>;
KernelChoices choose_kernels(const std::vector<Measured>& rates);
// The fastest of an instruction set's for a ring, and its rate: those that could do are measured at first use, which
// takes about a millisecond.
const Measured& fastest_kernel(Isa isa, int bits);
// What large products in a ring run on.
const GemmKernel& current_kernel(int bits);

// 10^9 multiply-accumulates per second of one core.
struct KernelRate {
  double multiply;  // blocks that are packed and in the cache
  double peak;      // its multiplications alone
};
KernelRate measure(const GemmKernel& kernel);

}  // namespace secfwt
