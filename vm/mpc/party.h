// One party of three: its number, its two keys, its two channels (docs/security.md: semi-honest, at most one
// corrupted).
#pragma once

#include <memory>
#include <vector>

#include "mpc/channel.h"
#include "mpc/transcript.h"

namespace secfwt {

class TuplePool;

// What a party holds in common with one other: every component that messages made (the others are streams of a key that
// both have), every opened δ, and what they checked of the third's tuples.
struct Common {
  explicit Common(const Stream& shared) : values(shared), tuples(shared) {}
  Transcript values, tuples;
};

// x = x0+x1+x2. Party i holds components i and i+1, and the keys of those components: key j is held by parties j-1 and
// j.
struct Party {
  Party(int id, const Stream& key, const Stream& next_key, Channel* prev, Channel* next)
      : id(id), stream0(key), stream1(next_key), prev(prev), next(next), with_prev(key), with_next(next_key) {}

  int id;
  Stream stream0;  // key id
  Stream stream1;  // key id+1
  Channel* prev;   // party id-1, who also holds key id
  Channel* next;   // party id+1, who also holds key id+1
  u64 rounds = 0;
  Common with_prev, with_next;
  std::vector<std::shared_ptr<TuplePool>> pools;  // by fit

  // Of tuples what has been taken counts, whenever it was sent.
  u64 bytes_sent() const;
};

// Draws the key shared with `next` from the operating system, sends it, and receives the one shared with `prev`.
Party connect_party(int id, Channel* prev, Channel* next);

}  // namespace secfwt
