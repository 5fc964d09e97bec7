// Truncation of an additive value in two rounds, by an opening under a mask (docs/program.md, `trunc` with `rounds=2`).
#pragma once

#include "mpc/two_party.h"
#include "ring/packing.h"

namespace secfwt {

// z / 2^shift of a value of Z_2^source, as a replicated value of Z_2^ring, ring > kept = source − shift: error in
// (-1.5, 1.5] units if |z| < 2^(source-2) − 1.5·2^shift. 4·ring − kept bits a value over all parties, 2 rounds
// (Truncate takes 3, and 3·ring + shift + 2 bits). docs/protocols.md has the argument.
//
// x is the sum of the shares' `kept` upper bits, LEFT's with 2^(source-2) added: 0 <= x < 2^(kept-1). A and B are pads
// of key 0 and key 2, of `ring` bits: the lower `kept` mask, the upper `wide` = ring − kept are p1 and q1.
//
// 1. LEFT sends x_LEFT + A, RIGHT x_RIGHT + B, mod 2^kept: both know δ = x + ρ, with ρ = A + B − x_HELPER. HELPER alone
//    knows ρ. So x = δ − ρ + w·2^kept, and the wrap w is msb(ρ) where msb(δ) is 0, else 0.
//    HELPER makes component 2 = −(ρ + (p1 + q1)·2^kept) − component 0, which is a pad of key 0, and hands it to RIGHT.
//    What is left for component 1 is δ + 2^kept·t_c, with c = msb(δ), t_1 = p1 + q1 and t_0 = t_1 + msb(ρ). HELPER
//    shares t_0 as p0, a pad of key 0, and q0 = t_0 − p0, which RIGHT gets too.
// 2. LEFT sends p_c, RIGHT q_c, and component 1 follows. The other entry, which would tell msb(ρ), stays shared.
class TruncateOpened : public Task {
 public:
  // `z`: this party's additive share, n words.
  TruncateOpened(const Seat& seat, const u64* z, std::size_t n, int source, int shift, int ring, Target out);

  int rounds() const override { return 2; }
  void send(int round) override;
  void recv(int round) override;

 private:
  // The word of component 1, which LEFT and RIGHT build up: first what it opens, then δ and above it q0 at RIGHT, then
  // δ and its part of t_c.
  u64* opened() const { return seat_.role() == LEFT ? out_.x1 : out_.x0; }
  u64 upper_bits(u64 share) const { return (share & low_bits(source_)) >> shift_; }
  u64 chosen(u64 delta, u64 entry0, u64 entry1) const { return (delta >> (kept_ - 1) & 1) == 0 ? entry0 : entry1; }
  void send_masked(Role peer, const Pad& pad, u64 offset) const;
  void deal() const;
  void learn_left() const;
  void learn_right() const;
  void send_entry_left() const;
  void send_entry_right() const;
  void finish(Role peer) const;

  Seat seat_;
  std::size_t n_;
  Blocks blocks_;
  const u64* z_;
  int source_, shift_, ring_, kept_, wide_;
  Target out_;
  Pad a_, b_, component0_, p0_;  // of key 0, but b_ of key 2
};

}  // namespace secfwt
