// Pseudo-random streams: AES-128 in counter mode (OpenSSL), addressable by position, so that both holders of a key can
// expand any part of it in any order and in parallel.
#pragma once

#include <array>

#include "ring/ring.h"

namespace secfwt {

using Key = std::array<u8, 16>;

// A fresh key from the operating system's generator. Throws std::runtime_error if it has none.
Key random_key();

// Byte j of AES-128-CTR(key): block b is AES(key, b as a 128-bit big-endian counter). Streams of other numbers begin at
// block number·2^64. Thread-safe.
void expand(const Key& key, u64 first_block, void* out, std::size_t bytes, u64 number = 0);

// n words of the stream of a key, from word `first` on.
void expand_words(const Key& key, u64 first, std::size_t n, u64* out);

// A stream with a position. Both holders reserve the same lengths in the same order; a reserved range is used for one
// purpose, once.
class Stream {
 public:
  explicit Stream(const Key& key, u64 number = 0) : key_(key), number_(number) {}
  // Another stream of the same key, from its beginning.
  Stream numbered(u64 number) const { return Stream(key_, number); }
  // Reserves `bytes` (rounded up to a whole block) and returns the first block's number.
  u64 reserve(std::size_t bytes);
  // Blocks reserved so far.
  u64 used() const { return next_; }
  // Expands `bytes` bytes that start `offset` bytes (a multiple of 16) into the range that begins at `block`.
  void fill(u64 block, std::size_t offset, void* out, std::size_t bytes) const {
    expand(key_, block + offset / 16, out, bytes, number_);
  }

 private:
  Key key_;
  u64 number_, next_ = 0;
};

}  // namespace secfwt
