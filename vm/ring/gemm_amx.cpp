// AMX: products of bytes, 16·16·64 an instruction. With a = Σ 2^(8i)·a_i and b alike,
//   a·b mod 2^64 = Σ_d 2^(8d)·Σ_{i+j=d} a_i·b_j, d = 0 … 7: 36 byte products, summed by diagonal in 32-bit
//   accumulators.
// Exact: diagonals 4 … 7 are needed mod 2^32 only, and 0 … 3 stay below 4·255²·max_depth < 2^32.
#if defined(__x86_64__) && defined(__linux__)

#if !defined(__clang__)  // GCC 12's own headers trip these: PR 105593
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "ring/gemm_kernel.h"

#define SECFWT_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,amx-tile,amx-int8")))

namespace secfwt {
namespace {

constexpr std::size_t kSide = 16, kDepth = 64, kMaxDepth = 512;
constexpr std::size_t kTileBytes = 1024, kPlanes = 8, kStep = kPlanes * kTileBytes;  // 64 inner indices of a panel
static_assert(4 * 255 * 255 * u64{kMaxDepth} < u64{1} << 32, "a diagonal of byte products fits an accumulator");

struct alignas(64) TileConfig {
  u8 palette = 1, start_row = 0, reserved[14] = {};
  u16 row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  u8 rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
const TileConfig tile_config;

SECFWT_TARGET inline __m512i load(const Block& block, std::size_t row, std::size_t column, std::size_t columns) {
  if (column >= columns) return _mm512_setzero_si512();
  const __mmask8 mask = static_cast<__mmask8>(0xff >> (8 - std::min<std::size_t>(8, columns - column)));
  const std::size_t at = row * block.stride + column;
  __m512i x = _mm512_maskz_loadu_epi64(mask, block.words + at);
  if (block.plus) x = _mm512_add_epi64(x, _mm512_maskz_loadu_epi64(mask, block.plus + at));
  return x;
}

// Transposes 8×8 words.
SECFWT_TARGET inline void transpose(__m512i x[8]) {
  __m512i even[4], odd[4];
  for (int i = 0; i < 4; ++i) {
    even[i] = _mm512_unpacklo_epi64(x[2 * i], x[2 * i + 1]);
    odd[i] = _mm512_unpackhi_epi64(x[2 * i], x[2 * i + 1]);
  }
  for (int parity = 0; parity < 2; ++parity) {
    const __m512i* y = parity == 0 ? even : odd;
    const __m512i p = _mm512_shuffle_i64x2(y[0], y[1], 0x88), q = _mm512_shuffle_i64x2(y[2], y[3], 0x88);
    const __m512i r = _mm512_shuffle_i64x2(y[0], y[1], 0xdd), s = _mm512_shuffle_i64x2(y[2], y[3], 0xdd);
    x[parity] = _mm512_shuffle_i64x2(p, q, 0x88);
    x[parity + 4] = _mm512_shuffle_i64x2(p, q, 0xdd);
    x[parity + 2] = _mm512_shuffle_i64x2(r, s, 0x88);
    x[parity + 6] = _mm512_shuffle_i64x2(r, s, 0xdd);
  }
}

// Byte permutation that reads an 8-, or wider, column matrix by columns: index of byte i is (i mod rows)·columns +
// i/rows.
SECFWT_TARGET inline __m512i by_columns(int rows) {
  alignas(64) u8 index[64];
  for (int i = 0; i < 64; ++i) index[i] = static_cast<u8>(i % rows * (64 / rows) + i / rows);
  return _mm512_load_si512(index);
}

// From 64 words the 8 planes of their bytes: plane i, byte j is byte i of word j.
SECFWT_TARGET inline void split(__m512i x[8], __m512i words_to_planes) {
  for (int i = 0; i < 8; ++i) x[i] = _mm512_permutexvar_epi8(words_to_planes, x[i]);
  transpose(x);
}

// A tile of plane i: 16 rows of 64 inner indices.
SECFWT_TARGET void pack_a(const Block& a, std::size_t m, std::size_t k, u64* out) {
  const __m512i words_to_planes = by_columns(8);
  u8* step = reinterpret_cast<u8*>(out);
  for (std::size_t l = 0; l < k; l += kDepth, step += kStep)
    for (std::size_t i = 0; i < kSide; ++i) {
      __m512i x[8];
      for (std::size_t part = 0; part < 8; ++part)
        x[part] = i < m ? load(a, i, l + 8 * part, k) : _mm512_setzero_si512();
      split(x, words_to_planes);
      for (std::size_t plane = 0; plane < 8; ++plane) _mm512_store_si512(step + plane * kTileBytes + i * 64, x[plane]);
    }
}

// A tile of plane i: 16 rows, each of four inner indices for 16 columns.
SECFWT_TARGET void pack_b(const Block& b, std::size_t k, std::size_t n, u64* out) {
  const __m512i words_to_planes = by_columns(8), quads = by_columns(4);
  u8* step = reinterpret_cast<u8*>(out);
  for (std::size_t l = 0; l < k; l += kDepth, step += kStep)
    for (std::size_t i = 0; i < kSide; ++i) {
      __m512i x[8];
      for (std::size_t part = 0; part < 8; ++part) {
        const std::size_t row = l + 4 * i + part / 2;
        x[part] = row < k ? load(b, row, part % 2 * 8, n) : _mm512_setzero_si512();
      }
      split(x, words_to_planes);
      for (std::size_t plane = 0; plane < 8; ++plane)
        _mm512_store_si512(step + plane * kTileBytes + i * 64, _mm512_permutexvar_epi8(quads, x[plane]));
    }
}

// clang-format off
#define LOAD_A(plane) _tile_loadd(4, a + (plane) * kTileBytes, 64)
#define LOAD_B(tile, plane) _tile_loadd(tile, b + (plane) * kTileBytes, 64)
#define MULTIPLY(diagonal, tile) _tile_dpbuud(diagonal, 4, tile)

// Tiles 0 … 3 accumulate four diagonals; 4 holds a plane of A; 5, 6, 7 the three planes of B needed next, of which the
// highest is replaced by the next lower one once A has met it: two loads for three products.
SECFWT_TARGET inline void low_diagonals(const u8* a, const u8* b, std::size_t steps) {
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  for (; steps > 0; --steps, a += kStep, b += kStep) {
    LOAD_A(0); LOAD_B(5, 3); MULTIPLY(3, 5); LOAD_B(6, 2); MULTIPLY(2, 6); LOAD_B(7, 1); MULTIPLY(1, 7);
               LOAD_B(5, 0); MULTIPLY(0, 5);
    LOAD_A(1); MULTIPLY(3, 6); MULTIPLY(2, 7); MULTIPLY(1, 5);
    LOAD_A(2); MULTIPLY(3, 7); MULTIPLY(2, 5);
    LOAD_A(3); MULTIPLY(3, 5);
  }
}

SECFWT_TARGET inline void high_diagonals(const u8* a, const u8* b, std::size_t steps) {
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  for (; steps > 0; --steps, a += kStep, b += kStep) {
    LOAD_A(0); LOAD_B(5, 7); MULTIPLY(3, 5); LOAD_B(6, 6); MULTIPLY(2, 6); LOAD_B(7, 5); MULTIPLY(1, 7);
               LOAD_B(5, 4); MULTIPLY(0, 5);
    LOAD_A(1); MULTIPLY(3, 6); MULTIPLY(2, 7); MULTIPLY(1, 5); LOAD_B(6, 3); MULTIPLY(0, 6);
    LOAD_A(2); MULTIPLY(3, 7); MULTIPLY(2, 5); MULTIPLY(1, 6); LOAD_B(7, 2); MULTIPLY(0, 7);
    LOAD_A(3); MULTIPLY(3, 5); MULTIPLY(2, 6); MULTIPLY(1, 7); LOAD_B(5, 1); MULTIPLY(0, 5);
    LOAD_A(4); MULTIPLY(3, 6); MULTIPLY(2, 7); MULTIPLY(1, 5); LOAD_B(6, 0); MULTIPLY(0, 6);
    LOAD_A(5); MULTIPLY(3, 7); MULTIPLY(2, 5); MULTIPLY(1, 6);
    LOAD_A(6); MULTIPLY(3, 5); MULTIPLY(2, 6);
    LOAD_A(7); MULTIPLY(3, 6);
  }
}

#undef LOAD_A
#undef LOAD_B
#undef MULTIPLY
// clang-format on

using Diagonals = u32[8][kSide][kSide];

SECFWT_TARGET inline void store(u32 (*diagonals)[kSide][kSide]) {
  _tile_stored(0, diagonals[0], 64);
  _tile_stored(1, diagonals[1], 64);
  _tile_stored(2, diagonals[2], 64);
  _tile_stored(3, diagonals[3], 64);
}

SECFWT_TARGET inline __m512i widened(__m512i x, int half) {
  return _mm512_cvtepu32_epi64(half == 0 ? _mm512_castsi512_si256(x) : _mm512_extracti64x4_epi64(x, 1));
}

// C = or += Σ_d 2^(8d)·diagonal d.
SECFWT_TARGET inline void combine(const Diagonals& diagonals, u64* c, std::size_t ldc, std::size_t m, std::size_t n,
                                  bool accumulate) {
  const u32 columns = 0xffffu >> (16 - n);
  for (std::size_t i = 0; i < m; ++i, c += ldc) {
    __m512i d[8];
    for (int j = 0; j < 8; ++j) d[j] = _mm512_load_si512(diagonals[j][i]);
    const __m512i high = _mm512_add_epi32(_mm512_add_epi32(d[4], _mm512_slli_epi32(d[5], 8)),
                                          _mm512_add_epi32(_mm512_slli_epi32(d[6], 16), _mm512_slli_epi32(d[7], 24)));
    for (int half = 0; half < 2; ++half) {
      const __mmask8 mask = static_cast<__mmask8>(columns >> (8 * half));
      __m512i sum = _mm512_add_epi64(widened(d[0], half), _mm512_slli_epi64(widened(d[1], half), 8));
      sum = _mm512_add_epi64(sum, _mm512_slli_epi64(widened(d[2], half), 16));
      sum = _mm512_add_epi64(sum, _mm512_slli_epi64(widened(d[3], half), 24));
      sum = _mm512_add_epi64(sum, _mm512_slli_epi64(widened(high, half), 32));
      if (accumulate) sum = _mm512_add_epi64(sum, _mm512_maskz_loadu_epi64(mask, c + 8 * half));
      _mm512_mask_storeu_epi64(c + 8 * half, mask, sum);
    }
  }
}

SECFWT_TARGET void multiply(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t m,
                            std::size_t n, bool accumulate) {
  const std::size_t steps = (k + kDepth - 1) / kDepth;
  alignas(64) Diagonals diagonals;
  _tile_loadconfig(&tile_config);
  for (std::size_t j = 0; j < n; j += kSide)
    for (std::size_t i = 0; i < m; i += kSide) {
      const u8* left = reinterpret_cast<const u8*>(a) + i / kSide * steps * kStep;
      const u8* right = reinterpret_cast<const u8*>(b) + j / kSide * steps * kStep;
      high_diagonals(left, right, steps);
      store(diagonals + 4);
      low_diagonals(left, right, steps);
      store(diagonals);
      combine(diagonals, c + i * ldc + j, ldc, std::min(kSide, m - i), std::min(kSide, n - j), accumulate);
    }
  _tile_release();
}

// 36 products of tiles for 64 inner indices.
SECFWT_TARGET void products(std::size_t k) {
  _tile_loadconfig(&tile_config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  for (; k >= kDepth; k -= kDepth)
    for (int i = 0; i < 9; ++i) {
      _tile_dpbuud(0, 4, 5);
      _tile_dpbuud(1, 4, 5);
      _tile_dpbuud(2, 4, 5);
      _tile_dpbuud(3, 4, 5);
    }
  _tile_release();
}

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

const GemmKernel* amx_kernel() {
  static const GemmKernel* const kernel = []() -> const GemmKernel* {
    if (!avx512_mullo_kernel() || !__builtin_cpu_supports("avx512vbmi") || !has_int8_tiles() || !request_tiles())
      return nullptr;
    static const GemmKernel tiles{"amx", Isa::amx,  kSide,  kSide,  kDepth,   2,
                                  2,     kMaxDepth, pack_a, pack_b, multiply, products};
    return &tiles;
  }();
  return kernel;
}

}  // namespace secfwt

#endif
