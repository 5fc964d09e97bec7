// Kernels for AMX on a processor without it: the arithmetic of its tiles, for what surrounds the instructions.
#pragma once

#include <array>
#include <cstring>

#include "ring/gemm_kernel.h"

#if defined(__x86_64__) && defined(__linux__)
#include "ring/gemm_amx.h"
#endif

namespace secfwt {

#if defined(__x86_64__) && defined(__linux__)

// As Intel's manual has TILEZERO, TILELOADD, TILESTORED and TDPBUUD.
struct TileArithmetic {
  static constexpr std::size_t kRows = 16, kColumns = 16, kBytes = 64;
  using Tile = std::array<std::array<u8, kBytes>, kRows>;

  static std::array<Tile, 8>& tiles() {
    thread_local std::array<Tile, 8> all;
    return all;
  }
  static void configure() { tiles() = {}; }
  static void release() {}
  template <int I>
  static void zero() {
    tiles()[I] = {};
  }
  template <int I>
  static void load(const u8* from) {
    std::memcpy(tiles()[I].data(), from, sizeof(Tile));
  }
  template <int I>
  static void store(u32* to) {
    std::memcpy(to, tiles()[I].data(), sizeof(Tile));
  }
  template <int Sum, int A, int B>
  static void add_products() {
    const Tile &a = tiles()[A], &b = tiles()[B];
    for (std::size_t i = 0; i < kRows; ++i) {
      std::array<u32, kColumns> sums;
      std::memcpy(sums.data(), tiles()[Sum][i].data(), kBytes);
      for (std::size_t k = 0; k < kBytes; k += 4)
        for (std::size_t j = 0; j < kColumns; ++j) {
          const u8 *left = a[i].data() + k, *right = b[k / 4].data() + 4 * j;
          sums[j] +=
              u32{left[0]} * right[0] + u32{left[1]} * right[1] + u32{left[2]} * right[2] + u32{left[3]} * right[3];
        }
      std::memcpy(tiles()[Sum][i].data(), sums.data(), kBytes);
    }
  }
};

#endif

// Those that could run but for the tiles.
inline std::vector<const GemmKernel*> kernels_without_tiles() {
#if defined(__x86_64__) && defined(__linux__)
  if (avx512_mullo_kernel() && __builtin_cpu_supports("avx512vbmi")) {
    std::vector<const GemmKernel*> found;
    for (int bytes = 4; bytes <= 8; ++bytes) found.push_back(amx::kernel<TileArithmetic>(bytes));
    return found;
  }
#endif
  return {};
}

}  // namespace secfwt
