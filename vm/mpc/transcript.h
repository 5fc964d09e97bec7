// What two parties both hold, hashed while they compute, so that they can compare it before a result leaves.
#pragma once

#include <array>
#include <vector>

#include "ring/prg.h"

namespace secfwt {

// A hash under a key of the two parties: the third, who may be the cause of a difference, cannot aim at equal hashes.
// GMAC (NIST SP 800-38D) of every 1 MiB, then of the tags: two different sequences of additions collide with a
// probability below 2^-108 (2^16 blocks and 2^20 tags a polynomial, 2^128 keys).
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
  Digest tag(const u8* data, std::size_t bytes) const;

  Key key_;
  std::vector<Digest> tags_;
};

}  // namespace secfwt
