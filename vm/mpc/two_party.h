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
  Blocks blocks_;
  Target out_;
  Pad pad0_, pad2_;
};

// The same for (a + b mod 2^ring) >> shift, read as a signed number z with |z| < 2^(ring-2): LEFT adds 2^(ring-2), so
// that the sum of summands wraps exactly where one of them has its top bit set. Not wrapping, 1−w = u·v, is a product
// of a bit of each party: they exchange d = u⊕r and e = v⊕q under one-time bits that HELPER knows, and HELPER shares
// r·q. Only w mod 2^(64-ring+shift) matters. Ring 64, shift s is a truncation: z/2^s with an error in (-1, 1] units.
// Ring 32, shift 0 is a lift to Z_2^64, exact. 16 bytes and 66−ring+shift bits a value over all parties, 2 rounds.
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

  Seat seat_;
  Blocks blocks_;
  int ring_, shift_;
  Pad bit_left_, bit_right_, product_;  // r under key 0, q under key 2, LEFT's share of r·q under key 0
  PairReshare reshare_;
};

}  // namespace secfwt
