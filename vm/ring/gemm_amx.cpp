// The tile unit of AMX, and the kernels on it.
#if defined(__x86_64__) && defined(__linux__)

#include "ring/gemm_amx.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace secfwt {
namespace {

struct alignas(64) TileConfig {
  u8 palette = 1, start_row = 0, reserved[14] = {};
  u16 row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  u8 rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
const TileConfig tile_config;

struct TileUnit {
  SECFWT_AMX static void configure() { _tile_loadconfig(&tile_config); }
  SECFWT_AMX static void release() { _tile_release(); }

  // Instructions on tiles whose numbers are template arguments, which GCC's intrinsics do not take.
  template <int Tile>
  SECFWT_AMX static void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(Tile));
  }
  template <int Tile>
  SECFWT_AMX static void load(const u8* from) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(std::size_t{64}), "i"(Tile) : "memory");
  }
  template <int Tile>
  SECFWT_AMX static void store(u32* to) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(std::size_t{64}), "i"(Tile) : "memory");
  }
  // Sum += A·B.
  template <int Sum, int A, int B>
  SECFWT_AMX static void add_products() {
    asm volatile("tdpbuud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(A), "i"(B));
  }
};

bool has_int8_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & 1u << 24) && (d & 1u << 25);  // AMX-TILE, AMX-INT8
}

// Linux hands out the tile registers' state on request only.
bool request_tiles() {
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace

const GemmKernel* amx_kernel(int bytes) {
  static const bool supported =
      avx512_mullo_kernel() && __builtin_cpu_supports("avx512vbmi") && has_int8_tiles() && request_tiles();
  return supported ? amx::kernel<TileUnit>(bytes) : nullptr;
}

}  // namespace secfwt

#endif
