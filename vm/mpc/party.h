// One party of three: its number, its two keys, its two channels (docs/security.md: semi-honest, at most one
// corrupted).
#pragma once

#include <memory>
#include <vector>

#include "mpc/channel.h"
#include "ring/prg.h"

namespace secfwt {

class TuplePool;

// x = x0+x1+x2. Party i holds components i and i+1, and the keys of those components: key j is held by parties j-1 and
// j.
struct Party {
  int id;
  Stream stream0;  // key id
  Stream stream1;  // key id+1
  Channel* prev;   // party id-1, who also holds key id
  Channel* next;   // party id+1, who also holds key id+1
  u64 rounds = 0;
  std::vector<std::shared_ptr<TuplePool>> pools{};  // by fit

  // Of tuples what has been taken counts, whenever it was sent.
  u64 bytes_sent() const;
};

// Draws the key shared with `next` from the operating system, sends it, and receives the one shared with `prev`.
Party connect_party(int id, Channel* prev, Channel* next);

}  // namespace secfwt
