// One party of three: its number, its two keys, its two channels (docs/security.md: semi-honest, at most one
// corrupted).
#pragma once

#include <memory>
#include <vector>

#include "mpc/channel.h"
#include "ring/prg.h"

namespace secfwt {

// x = x0+x1+x2. Party i holds components i and i+1, and the keys of those components: key j is held by parties j-1 and
// j.
struct Party {
  int id;
  Stream stream0;  // key id
  Stream stream1;  // key id+1
  Channel* prev;   // party id-1, who also holds key id
  Channel* next;   // party id+1, who also holds key id+1
  u64 rounds = 0;

  u64 bytes_sent() const { return prev->bytes_sent() + next->bytes_sent(); }
};

// Draws the key shared with `next` from the operating system, sends it, and receives the one shared with `prev`.
Party connect_party(int id, Channel* prev, Channel* next);

// A party as often as it computes different things at the same time: each lane has keys of its own, and channel
// 1 + lane of both links.
using Lanes = std::vector<Party>;
Lanes connect_lanes(int id, std::size_t count, Link& prev, Link& next);

}  // namespace secfwt
