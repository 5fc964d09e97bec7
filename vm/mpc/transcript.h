// What two parties both hold, hashed while they compute, so that they can compare it before a result leaves.
#pragma once

#include <array>
#include <vector>

#include "ring/prg.h"

namespace secfwt {

// A hash under a key of the two parties: the third, who may be the cause of a difference, cannot aim at equal hashes.
//
// 1. Every 1 KiB becomes 16 bytes by NH (Krovetz 2006, "Message authentication on 64-bit architectures"): with words m
//    and key words k, Σ (m_2i + k_2i mod 2^64)(m_2i+1 + k_2i+1 mod 2^64) mod 2^128. It goes at the speed of memory, and
//    two different blocks collide with a probability of 2^-64.
// 2. GMAC (NIST SP 800-38D) of these, 2^16 at a time.
//
// So two different sequences of additions, of the same lengths, have equal digests with a probability below 2^-63.
class Transcript {
 public:
  using Digest = std::array<u8, 16>;

  // `shared`: a stream of the key that both parties hold.
  explicit Transcript(const Stream& shared);

  // Both parties add the same ranges in the same order. Threaded.
  void add(const void* data, std::size_t bytes);
  // Of all that was added since the last digest.
  Digest digest();

 private:
  static constexpr std::size_t kBlock = 1024;  // bytes

  Key key_;
  std::array<u64, kBlock / sizeof(u64)> nh_key_;
  std::vector<Digest> hashes_;  // of blocks
};

}  // namespace secfwt
