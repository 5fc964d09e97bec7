// Unit phasors e^(2πi·θ) in integer arithmetic only, so that two parties on different machines get the same bits: a
// phasor is multiplied with shares, and a difference in its last bit would turn the product into noise.
#pragma once

#include "ring/ring.h"

namespace secfwt {

struct Phasor {
  i32 re, im;
};

// Table of round(2^bits · e^(2πi·j/2^16)), j = 0 … 65535, bits <= 30; error at most 1 unit in the last place. Built
// once per `bits` and kept.
const Phasor* phasor_table(int bits);

// The same with both parts in 16 bits: the real part in the low half. bits <= kShortBits.
constexpr int kShortBits = 14;
const u32* short_phasor_table(int bits);

// round(2^bits · e^(2πi·angle/2^32)) for any 32-bit angle, error at most 2 units, bits <= 30: one complex product of an
// entry of phasor_table(30) and a second-order expansion for the angle's lower half, which is below 10^-4.
inline Phasor turned(const Phasor* coarse, u32 angle, int bits) {
  constexpr u32 kHalfPi = 1686629713;   // π/2 · 2^30
  constexpr u32 kPiSquared = 10349002;  // π² · 2^20
  const u32 j = angle & 0xffff;
  const i64 sine = static_cast<i64>((u64{j} * kHalfPi + (u64{1} << 29)) >> 30);
  const i64 cosine = (i64{1} << 30) - static_cast<i64>((u64{j * j} * kPiSquared + (u64{1} << 52)) >> 53);
  const Phasor p = coarse[angle >> 16];
  const int shift = 60 - bits;
  const i64 half = i64{1} << (shift - 1);
  return {static_cast<i32>((p.re * cosine - p.im * sine + half) >> shift),
          static_cast<i32>((p.re * sine + p.im * cosine + half) >> shift)};
}
Phasor phasor32(u32 angle, int bits);

}  // namespace secfwt
