// Words of a ring, tightly packed: as they are sent, and as matrices that stay are kept. Bit i of a packed sequence is
// bit i mod 8 of byte i/8.
#pragma once

#include <cstddef>

#include "ring/ring.h"

namespace secfwt {

// The number of Z_2^bits that a word is, 1 <= bits <= 64.
constexpr u64 low_bits(int bits) { return ~u64{0} >> (kWord - bits); }

// What n numbers of so many bits take.
constexpr std::size_t packed_bytes(std::size_t n, int bits) {
  const std::size_t width = static_cast<std::size_t>(bits);
  return n / 8 * width + (n % 8 * width + 7) / 8;
}

// `bits` low bits of each of n words, tightly packed, and back. 1 <= bits <= those of a word. Exactly (n·bits + 7)/8
// bytes are written, or read.
void pack_bits(const u64* words, std::size_t n, int bits, u8* out);
void pack_bits(const u32* words, std::size_t n, int bits, u8* out);
void unpack_bits(const u8* in, std::size_t n, int bits, u64* words);
void unpack_bits(const u8* in, std::size_t n, int bits, u32* words);

}  // namespace secfwt
