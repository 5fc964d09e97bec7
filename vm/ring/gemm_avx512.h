// What the AVX-512 kernels share.
#pragma once

#if !defined(__clang__)  // GCC 12's own headers trip these: PR 105593
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <algorithm>

#include "ring/gemm_kernel.h"

#define SECFWT_AVX512 "avx512f,avx512dq,avx512bw,avx512vl"

namespace secfwt::avx512 {

constexpr std::size_t kLanes = 8;

// The lanes that `left` elements fill.
__attribute__((target(SECFWT_AVX512))) inline __mmask8 lanes(std::size_t left) {
  return static_cast<__mmask8>(left == 0 ? 0 : 0xff >> (8 - std::min(kLanes, left)));
}

// Eight elements of a row of an n-column block; zeros beyond its end.
__attribute__((target(SECFWT_AVX512))) inline __m512i load(const Block& b, std::size_t row, std::size_t column,
                                                           std::size_t n) {
  const __mmask8 mask = lanes(column < n ? n - column : 0);
  const std::size_t at = row * b.stride + column;
  __m512i x = _mm512_maskz_loadu_epi64(mask, b.words + at);
  if (b.plus) x = _mm512_add_epi64(x, _mm512_maskz_loadu_epi64(mask, b.plus + at));
  return x;
}

// The first `left` elements of `to` = or += x.
__attribute__((target(SECFWT_AVX512))) inline void store(u64* to, std::size_t left, __m512i x, bool accumulate) {
  const __mmask8 mask = lanes(left);
  if (accumulate) x = _mm512_add_epi64(x, _mm512_maskz_loadu_epi64(mask, to));
  _mm512_mask_storeu_epi64(to, mask, x);
}

// Transposes 8×8 words.
__attribute__((target(SECFWT_AVX512))) inline void transpose(__m512i x[8]) {
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

// GCC 12 would copy accumulators from one step to the next.
__attribute__((target(SECFWT_AVX512))) inline void keep(__m512i& x) { asm("" : "+v"(x)); }

// What is computed is not used: the compiler must not find out.
__attribute__((target(SECFWT_AVX512))) inline void discard(__m512i x) { asm volatile("" : : "v"(x)); }

}  // namespace secfwt::avx512
