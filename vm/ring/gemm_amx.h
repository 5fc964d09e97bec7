// AMX: products of bytes, 16·16·64 an instruction. With a = Σ 2^(8i)·a_i and b alike,
//   a·b mod 2^(8n) = Σ_d 2^(8d)·Σ_{i+j=d} a_i·b_j, d = 0 … n−1: n(n+1)/2 byte products, summed by diagonal in 32-bit
//   accumulators. A ring takes as many bytes as it has: 36 products for 64 bits, 15 for 40.
// Exact: diagonals 4 … 7 are needed mod 2^32 only, and 0 … 3 stay below 4·255²·max_depth < 2^32.
// `Tiles` has the instructions on eight tiles of 16 × 64 bytes (gemm_amx.cpp); tests put arithmetic in their place.
#pragma once

#include "ring/gemm_avx512.h"

#define SECFWT_AMX __attribute__((target(SECFWT_AVX512 ",avx512vbmi,amx-tile,amx-int8")))

namespace secfwt::amx {

constexpr std::size_t kSide = 16, kDepth = 64, kMaxDepth = 512;
constexpr std::size_t kTileBytes = 1024;
// Of 64 inner indices of a panel: a tile for each byte.
constexpr std::size_t step_bytes(int bytes) { return static_cast<std::size_t>(bytes) * kTileBytes; }
static_assert(4 * 255 * 255 * u64{kMaxDepth} < u64{1} << 32, "a diagonal of byte products fits an accumulator");

// Byte permutation that reads an 8-, or wider, column matrix by columns: index of byte i is (i mod rows)·columns +
// i/rows.
SECFWT_AMX inline __m512i by_columns(int rows) {
  alignas(64) u8 index[64];
  for (int i = 0; i < 64; ++i) index[i] = static_cast<u8>(i % rows * (64 / rows) + i / rows);
  return _mm512_load_si512(index);
}

// From 64 words the 8 planes of their bytes: plane i, byte j is byte i of word j.
SECFWT_AMX inline void split(__m512i x[8], __m512i words_to_planes) {
  for (int i = 0; i < 8; ++i) x[i] = _mm512_permutexvar_epi8(words_to_planes, x[i]);
  avx512::transpose(x);
}

// A tile of plane i: 16 rows of 64 inner indices.
template <int Bytes>
SECFWT_AMX void pack_a(const Block& a, std::size_t m, std::size_t k, u64* out) {
  const __m512i words_to_planes = by_columns(8);
  u8* step = reinterpret_cast<u8*>(out);
  for (std::size_t l = 0; l < k; l += kDepth, step += step_bytes(Bytes))
    for (std::size_t i = 0; i < kSide; ++i) {
      __m512i x[8];
      for (std::size_t part = 0; part < 8; ++part)
        x[part] = i < m ? avx512::load(a, i, l + 8 * part, k) : _mm512_setzero_si512();
      split(x, words_to_planes);
      for (std::size_t plane = 0; plane < Bytes; ++plane)
        _mm512_storeu_si512(step + plane * kTileBytes + i * 64, x[plane]);
    }
}

// A tile of plane i: 16 rows, each of four inner indices for 16 columns.
template <int Bytes>
SECFWT_AMX void pack_b(const Block& b, std::size_t k, std::size_t n, u64* out) {
  const __m512i words_to_planes = by_columns(8), quads = by_columns(4);
  u8* step = reinterpret_cast<u8*>(out);
  for (std::size_t l = 0; l < k; l += kDepth, step += step_bytes(Bytes))
    for (std::size_t i = 0; i < kSide; ++i) {
      __m512i x[8];
      for (std::size_t part = 0; part < 8; ++part) {
        const std::size_t row = l + 4 * i + part / 2;
        x[part] = row < k ? avx512::load(b, row, part % 2 * 8, n) : _mm512_setzero_si512();
      }
      split(x, words_to_planes);
      for (std::size_t plane = 0; plane < Bytes; ++plane)
        _mm512_storeu_si512(step + plane * kTileBytes + i * 64, _mm512_permutexvar_epi8(quads, x[plane]));
    }
}

// Tiles 0 … 3 accumulate the `Count` <= 4 diagonals from `First` on; 4 holds a plane of A; 5, 6, 7 the three planes of
// B needed next, of which the highest is replaced by the next lower one once A has met it: two loads for three
// products.

// Plane `Plane` of A with that of B that belongs to `Diagonal`, and with those of the diagonals below.
template <class Tiles, int First, int Count, int Plane, int Diagonal>
SECFWT_AMX inline void meet(const u8* b) {
  constexpr int other = Diagonal - Plane;
  if constexpr (Diagonal >= First && other >= 0) {
    constexpr int tile = 5 + (First + Count - 1 - other) % 3;
    if constexpr (Plane == 0 || Diagonal == First) Tiles::template load<tile>(b + step_bytes(other));
    Tiles::template add_products<Diagonal - First, 4, tile>();
    meet<Tiles, First, Count, Plane, Diagonal - 1>(b);
  }
}

template <class Tiles, int First, int Count, int Plane = 0>
SECFWT_AMX inline void planes(const u8* a, const u8* b) {
  if constexpr (Plane < First + Count) {
    Tiles::template load<4>(a + step_bytes(Plane));
    meet<Tiles, First, Count, Plane, First + Count - 1>(b);
    planes<Tiles, First, Count, Plane + 1>(a, b);
  }
}

using Diagonals = u32[8][kSide][kSide];

template <class Tiles, int First, int Count>
SECFWT_AMX inline void sum_diagonals(const u8* a, const u8* b, std::size_t steps, std::size_t step,
                                     Diagonals& diagonals) {
  Tiles::template zero<0>(), Tiles::template zero<1>(), Tiles::template zero<2>(), Tiles::template zero<3>();
  for (; steps > 0; --steps, a += step, b += step) planes<Tiles, First, Count>(a, b);
  Tiles::template store<0>(diagonals[First][0]);
  if constexpr (Count > 1) Tiles::template store<1>(diagonals[First + 1][0]);
  if constexpr (Count > 2) Tiles::template store<2>(diagonals[First + 2][0]);
  if constexpr (Count > 3) Tiles::template store<3>(diagonals[First + 3][0]);
}

SECFWT_AMX inline __m512i widened(__m512i x, int half) {
  return _mm512_cvtepu32_epi64(half == 0 ? _mm512_castsi512_si256(x) : _mm512_extracti64x4_epi64(x, 1));
}

// C = or += Σ_d 2^(8d)·diagonal d.
template <int Bytes>
SECFWT_AMX inline void combine(const Diagonals& diagonals, u64* c, std::size_t ldc, std::size_t m, std::size_t n,
                               bool accumulate) {
  const u32 columns = 0xffffu >> (16 - n);
  for (std::size_t i = 0; i < m; ++i, c += ldc) {
    __m512i d[8];
    for (int j = 0; j < 8; ++j) d[j] = j < Bytes ? _mm512_load_si512(diagonals[j][i]) : _mm512_setzero_si512();
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

template <class Tiles, int Bytes>
SECFWT_AMX void multiply(const u64* a, const u64* b, std::size_t k, u64* c, std::size_t ldc, std::size_t m,
                         std::size_t n, bool accumulate) {
  constexpr std::size_t step = step_bytes(Bytes);
  constexpr int low = Bytes - 4;  // diagonals that wait for a second turn
  const std::size_t steps = (k + kDepth - 1) / kDepth;
  alignas(64) Diagonals diagonals;
  Tiles::configure();
  for (std::size_t j = 0; j < n; j += kSide)
    for (std::size_t i = 0; i < m; i += kSide) {
      const u8* left = reinterpret_cast<const u8*>(a) + i / kSide * steps * step;
      const u8* right = reinterpret_cast<const u8*>(b) + j / kSide * steps * step;
      sum_diagonals<Tiles, low, 4>(left, right, steps, step, diagonals);
      if constexpr (low > 0) sum_diagonals<Tiles, 0, low>(left, right, steps, step, diagonals);
      combine<Bytes>(diagonals, c + i * ldc + j, ldc, std::min(kSide, m - i), std::min(kSide, n - j), accumulate);
    }
  Tiles::release();
}

// The products of tiles for 64 inner indices, and so on.
template <class Tiles, int Bytes>
SECFWT_AMX void products(std::size_t k) {
  Tiles::configure();
  Tiles::template zero<0>(), Tiles::template zero<1>(), Tiles::template zero<2>(), Tiles::template zero<3>(),
      Tiles::template zero<4>(), Tiles::template zero<5>();
  for (std::size_t left = k / kDepth * (Bytes * (Bytes + 1) / 2); left >= 4; left -= 4)
    Tiles::template add_products<0, 4, 5>(), Tiles::template add_products<1, 4, 5>(),
        Tiles::template add_products<2, 4, 5>(), Tiles::template add_products<3, 4, 5>();
  Tiles::release();
}

template <class Tiles, int Bytes>
const GemmKernel* kernel_of(const char* name) {
  static const GemmKernel kernel{name,
                                 Isa::amx,
                                 8 * Bytes,
                                 kSide,
                                 kSide,
                                 kDepth,
                                 Bytes,
                                 Bytes,
                                 kMaxDepth,
                                 false,
                                 pack_a<Bytes>,
                                 pack_b<Bytes>,
                                 multiply<Tiles, Bytes>,
                                 products<Tiles, Bytes>};
  return &kernel;
}

// By the bytes of the ring, 4 to 8.
template <class Tiles>
const GemmKernel* kernel(int bytes) {
  switch (bytes) {
    case 4:
      return kernel_of<Tiles, 4>("amx-32");
    case 5:
      return kernel_of<Tiles, 5>("amx-40");
    case 6:
      return kernel_of<Tiles, 6>("amx-48");
    case 7:
      return kernel_of<Tiles, 7>("amx-56");
    default:
      return kernel_of<Tiles, 8>("amx-64");
  }
}

}  // namespace secfwt::amx
