// From two summands, LEFT's and RIGHT's, to a replicated value: how truncation and every non-linearity end.
//
// The summand lives where its result will be: in the word of component 1, which LEFT and RIGHT both hold (LEFT's x1,
// RIGHT's x0).
#pragma once

#include "mpc/blocks.h"
#include "mpc/task.h"

namespace secfwt {

// Where n words of a replicated result go.
struct Target {
  u64 *x0, *x1;
};

// Component 1 = (LEFT's summand − pad of key 0) + (RIGHT's − pad of key 2), components 0 and 2 are the pads.
// 16 bytes a value over all parties, 1 round.
class PairReshare {
 public:
  PairReshare(const Seat& seat, std::size_t n, Target out);

  // To be written by LEFT and RIGHT before send(); nullptr at HELPER.
  u64* summand() const;
  void send() const;
  void recv() const;

 private:
  Seat seat_;
  std::size_t n_;
  Blocks blocks_;
  Target out_;
  Pad pad0_, pad2_;
};

// The same for (a + b mod 2^ring) >> shift, read as a signed number z with |z| < 2^(ring-2). Ring 64, shift s is a
// truncation: z/2^s with an error in (-1, 1] units. Ring 32, shift 0 is a lift to Z_2^64, exact. 16 bytes and
// 66−ring+shift bits a value over all parties, 2 rounds:
//
// 1. LEFT adds 2^(ring-2), so that a + b wraps around 2^ring (w = 1) exactly where one of them has its top bit set: not
//    wrapping, 1−w = u·v, is a product of a bit of each party, u = ¬(top bit of a) and v = ¬(top bit of b). They
//    exchange d = u⊕r and e = v⊕q under one-time bits that HELPER knows, and HELPER shares r·q. Each computes its share
//    of u·v from that (mpc/bits.h) and takes the wrap from its shifted summand.
// 2. PairReshare of the two shifted summands.
class PairShift {
 public:
  PairShift(const Seat& seat, std::size_t n, Target out, int ring, int shift);

  u64* summand() const { return reshare_.summand(); }  // numbers below 2^ring
  void send(int round) const;
  void recv(int round) const;

 private:
  void send_bit(Role peer, const Pad& pad, u64 offset) const;
  void deal() const;
  void finish_left() const;
  void finish_right() const;
  // Of r·q: only w mod 2^(64-ring+shift) matters.
  std::size_t share_bits() const { return static_cast<std::size_t>(64 - ring_ + shift_); }

  Seat seat_;
  Blocks blocks_;
  int ring_, shift_;
  Pad r_, q_, rq_left_;  // r under key 0, q under key 2, LEFT's share of r·q under key 0
  PairReshare reshare_;
};

}  // namespace secfwt
