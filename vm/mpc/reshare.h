// Additive to replicated, and fresh randomness for an additive value.
#pragma once

#include "mpc/two_party.h"

namespace secfwt {

// y_i = (x_i + α_i) >> shift mod 2^ring with the zero sharing α_i = F(k_i) − F(k_(i+1)), F(k) the next pad of key k:
// Σ α_i = 0. Party i sends y_i to party i-1, who then holds components i-1 and i. 3·ring bits a value over all parties,
// 1 round.
//
// With a shift it is a truncation of a value of Z_2^source, ring <= source − shift: shares wrap around multiples of
// 2^source, which are 0 mod 2^ring after the shift. The error is in (-1.5, 1.5] units whatever the value.
class Reshare : public Task {
 public:
  // `x`: this party's additive share, n words.
  Reshare(Party& party, const u64* x, std::size_t n, int shift, int ring, Target out);

  int rounds() const override { return 1; }
  void send(int round) override;
  void recv(int round) override;

 private:
  Party& party_;
  std::size_t n_;
  const u64* x_;
  int shift_, ring_;
  Target out_;
  Pad pad_, next_pad_;  // under keys id and id+1
};

// x += a fresh share of zero: what is opened then says nothing about the summands.
void add_zero_share(Party& party, u64* x, std::size_t n);

}  // namespace secfwt
