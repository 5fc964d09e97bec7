// From two summands, LEFT's and RIGHT's, to a replicated value: how truncation and every non-linearity end.
//
// The summand lives where its result will be: in the word of component 1, which LEFT and RIGHT both hold (LEFT's x1,
// RIGHT's x0).
#pragma once

#include <optional>

#include "mpc/blocks.h"
#include "mpc/task.h"

namespace secfwt {

// Where n words of a replicated result go.
struct Target {
  u64 *x0, *x1;
};

// Component 1 = (LEFT's summand − pad of key 0) + (RIGHT's − pad of key 2), components 0 and 2 are the pads, all mod
// 2^ring. 2·ring bits a value over all parties, 1 round.
class PairReshare {
 public:
  PairReshare(const Seat& seat, std::size_t n, Target out, int ring);

  // To be written by LEFT and RIGHT before send(); nullptr at HELPER.
  u64* summand() const;
  void send() const;
  void recv() const;

 private:
  Seat seat_;
  std::size_t n_;
  Blocks blocks_;
  Target out_;
  int ring_;
  Pad pad0_, pad2_;
};

// (a + b mod 2^source) >> shift as a sum of two numbers mod 2^ring, for ring > source − shift: what the shift of each
// by itself leaves of a wrap around 2^source is taken away. It wants a signed number z with |z| < 2^(source-2). 2 +
// ring − source + shift bits a value over all parties, 1 round:
//
// LEFT adds 2^(source-2), so that a + b wraps around 2^source (w = 1) exactly where one of them has its top bit set:
// not wrapping, 1−w = u·v, is a product of a bit of each party, u = ¬(top bit of a) and v = ¬(top bit of b). They
// exchange d = u⊕r and e = v⊕q under one-time bits that HELPER knows, and HELPER shares r·q. Each computes its share of
// u·v from that (mpc/bits.h) and takes the wrap from its shifted summand.
class PairLift {
 public:
  PairLift(const Seat& seat, std::size_t n, u64* summand, int source, int shift, int ring);

  void send() const;
  void recv() const;

 private:
  void send_bit(Role peer, const Pad& pad, u64 offset) const;
  void deal() const;
  void finish_left() const;
  void finish_right() const;
  // Of r·q: only w mod 2^(ring-source+shift) matters.
  std::size_t share_bits() const { return static_cast<std::size_t>(ring_ - source_ + shift_); }

  Seat seat_;
  Blocks blocks_;
  u64* summand_;  // nullptr at HELPER
  int source_, shift_, ring_;
  Pad r_, q_, rq_left_;  // r under key 0, q under key 2, LEFT's share of r·q under key 0
};

// PairReshare of (a + b mod 2^source) >> shift, into Z_2^ring: a/2^shift with an error in (-1, 1] units, exact for
// shift 0.
//
// Where ring <= source − shift, each shifts its own summand: a wrap around 2^source is a multiple of 2^ring afterwards.
// 2·ring bits a value over all parties, 1 round. Else a PairLift comes before.
class PairShift {
 public:
  PairShift(const Seat& seat, std::size_t n, Target out, int source, int shift, int ring);

  int rounds() const { return lift_ ? 2 : 1; }
  u64* summand() const { return reshare_.summand(); }  // mod 2^source
  void send(int round) const;
  void recv(int round) const;

 private:
  void shift_summand() const;

  Seat seat_;
  Blocks blocks_;
  int shift_;
  PairReshare reshare_;
  std::optional<PairLift> lift_;
};

}  // namespace secfwt
