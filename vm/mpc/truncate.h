// Truncation of an additive value, never wrong by a wrap (docs/program.md, `trunc`).
#pragma once

#include "mpc/two_party.h"

namespace secfwt {

// z / 2^shift of a value of Z_2^source, as a replicated value of Z_2^ring, ring > source − shift: error in (-1, 1]
// units if |z| < 2^(source-2). 3·ring + shift + 2 bits a value over all parties, 3 rounds. Nothing is opened. (Into a
// ring of at most source − shift bits it is a Reshare.)
//
// 1. z = z_LEFT + z_RIGHT + z_HELPER. HELPER hands its share to RIGHT under a pad ζ that LEFT knows: a = z_LEFT + ζ,
//    b = z_RIGHT + (z_HELPER − ζ), a + b = z mod 2^source.
// 2. and 3. PairShift.
class Truncate : public Task {
 public:
  // `z`: this party's additive share, n words.
  Truncate(const Seat& seat, const u64* z, std::size_t n, int source, int shift, int ring, Target out);

  int rounds() const override { return 3; }
  void send(int round) override;
  void recv(int round) override;

 private:
  Seat seat_;
  Blocks blocks_;
  const u64* z_;
  int source_;
  Pad zeta_;  // of key 0
  PairShift shift_;
};

// The same of a replicated value, in a ring of any size: LEFT has component 0, RIGHT 1 and 2, so that nothing is handed
// over. 2·ring bits a value and 1 round where ring <= source − shift, else what a PairShift sends.
//
// With shift 0 it is a `lift`: exact where |z| < 2^(source−2). Of any other number of Z_2^source it makes one that is
// equal mod 2^source and at most 3·2^(source−2): whoever chose z cannot leave that range.
class TruncateHeld : public Task {
 public:
  // `x0`, `x1`: this party's components, n words each.
  TruncateHeld(const Seat& seat, const u64* x0, const u64* x1, std::size_t n, int source, int shift, int ring,
               Target out);

  int rounds() const override { return shift_.rounds(); }
  void send(int round) override;
  void recv(int round) override { shift_.recv(round); }

 private:
  Seat seat_;
  Blocks blocks_;
  const u64 *x0_, *x1_;
  PairShift shift_;
};

}  // namespace secfwt
