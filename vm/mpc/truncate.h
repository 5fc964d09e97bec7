// Truncation of an additive value, never wrong by a wrap (docs/program.md, `trunc`).
#pragma once

#include "mpc/two_party.h"

namespace secfwt {

// z / 2^shift, 1 <= shift <= 62, as a replicated value: error in (-1, 1] units if |z| < 2^62. HELPER hands its masked
// share to RIGHT; what LEFT and RIGHT then hold is shifted by PairShift. 24 bytes and shift + 2 bits a value over all
// parties, 3 rounds. Nothing is opened.
class Truncate : public Task {
 public:
  // `z`: this party's additive share, n words.
  Truncate(const Seat& seat, const u64* z, std::size_t n, int shift, Target out);

  int rounds() const override { return 3; }
  void send(int round) override;
  void recv(int round) override;

 private:
  Seat seat_;
  Blocks blocks_;
  const u64* z_;
  Pad mask_;
  PairShift shift_;
};

}  // namespace secfwt
