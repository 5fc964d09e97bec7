// Bits of words: packing, and the arithmetic of PairShift (mpc/two_party.h) on a block of values. Bit i of a packed
// sequence is bit i mod 8 of byte i/8.
#pragma once

#include <cstddef>

#include "ring/ring.h"

namespace secfwt {

// `bits` low bits of each of n words, tightly packed, and back.
void pack_bits(const u64* words, std::size_t n, int bits, u8* out);
void unpack_bits(const u8* in, std::size_t n, int bits, u64* words);

// a = a + offset mod 2^ring; out = ¬(top bit of a) ⊕ pad.
void masked_top_bits(u64* a, std::size_t n, int ring, u64 offset, const u8* pad, u8* out);

// u·v of the bits u = ¬(top bit of a) at LEFT and v = ¬(top bit of b) at RIGHT, who know d = u⊕r and e = v⊕q, and
// `product`, their shares of r·q: with u = d + (1−2d)r, v = e + (1−2e)q it is e·u + σ·rq at LEFT and d·(v−e) + σ·rq at
// RIGHT, σ = (1−2d)(1−2e). a = (a ≫ shift) − (1 − u·v)·2^(ring−shift), b likewise without the 1.
void shift_left_summand(u64* a, std::size_t n, int ring, int shift, const u8* r, const u8* e, const u64* product);
void shift_right_summand(u64* b, std::size_t n, int ring, int shift, const u8* q, const u8* d, const u64* product);

}  // namespace secfwt
