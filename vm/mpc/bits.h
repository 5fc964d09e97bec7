// Bits of words: packing, and the arithmetic of PairShift (mpc/two_party.h) on a block of values. Bit i of a packed
// sequence is bit i mod 8 of byte i/8.
#pragma once

#include <cstddef>

#include "ring/ring.h"

namespace secfwt {

// The number of Z_2^bits that a word is, 1 <= bits <= 64.
constexpr u64 low_bits(int bits) { return ~u64{0} >> (64 - bits); }

// What n numbers of so many bits take.
constexpr std::size_t packed_bytes(std::size_t n, int bits) {
  const std::size_t width = static_cast<std::size_t>(bits);
  return n / 8 * width + (n % 8 * width + 7) / 8;
}

// `bits` low bits of each of n words, tightly packed, and back. 1 <= bits <= those of a word.
void pack_bits(const u64* words, std::size_t n, int bits, u8* out);
void pack_bits(const u32* words, std::size_t n, int bits, u8* out);
void unpack_bits(const u8* in, std::size_t n, int bits, u64* words);
void unpack_bits(const u8* in, std::size_t n, int bits, u32* words);

// a = a + offset mod 2^ring; out = ¬(top bit of a) ⊕ pad.
void masked_top_bits(u64* a, std::size_t n, int ring, u64 offset, const u8* pad, u8* out);

// (a + b) ≫ shift without what a wrap around 2^ring would add. LEFT holds a and the bit u = ¬(top bit of a), RIGHT b
// and v = ¬(top bit of b); u·v = 1 says that a + b does not wrap. They know d = u⊕r and e = v⊕q, and `rq`, their shares
// of r·q, where LEFT knows r and RIGHT q. With u = d + (1−2d)·r and v = e + (1−2e)·q
//
//   u·v = e·u + d·(v−e) + σ·r·q,   σ = (1−2d)(1−2e):   LEFT's share is e·u + σ·rq, RIGHT's d·(v−e) + σ·rq.
//
// Then a = (a ≫ shift) − (1 − LEFT's share)·2^(ring−shift), and b = (b ≫ shift) + (RIGHT's share)·2^(ring−shift).
void shift_left_summand(u64* a, std::size_t n, int ring, int shift, const u8* r, const u8* e, const u64* rq);
void shift_right_summand(u64* b, std::size_t n, int ring, int shift, const u8* q, const u8* d, const u64* rq);

}  // namespace secfwt
