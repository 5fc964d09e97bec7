#include "mpc/truncate_opened.h"

namespace secfwt {

TruncateOpened::TruncateOpened(const Seat& seat, const u64* z, std::size_t n, int source, int shift, int ring,
                               Target out)
    : seat_(seat),
      n_(n),
      blocks_(n),
      z_(z),
      source_(source),
      shift_(shift),
      ring_(ring),
      kept_(source - shift),
      wide_(ring - kept_),
      out_(out),
      a_(seat.pad(0, n * sizeof(u64))),
      b_(seat.pad(2, n * sizeof(u64))),
      component0_(seat.pad(0, n * sizeof(u64))),
      p0_(seat.pad(0, n * sizeof(u64))) {}

void TruncateOpened::send(int round) {
  if (seat_.role() == HELPER) {
    if (round == 0) deal();
  } else if (seat_.role() == LEFT) {
    // z becomes positive; three roundings down cost one and a half units on average
    const u64 offset = (u64{1} << (source_ - 2)) + (u64{3} << (shift_ - 1));
    round == 0 ? send_masked(RIGHT, a_, offset) : send_entry_left();
  } else {
    round == 0 ? send_masked(LEFT, b_, 0) : send_entry_right();
  }
}

void TruncateOpened::recv(int round) {
  if (round == 1) {
    if (seat_.role() != HELPER) finish(seat_.role() == LEFT ? RIGHT : LEFT);
  } else if (seat_.role() == LEFT) {
    learn_left();
  } else if (seat_.role() == RIGHT) {
    learn_right();
    seat_.with(HELPER).values.add(out_.x1, n_ * sizeof(u64));
  } else {
    seat_.with(RIGHT).values.add(out_.x0, n_ * sizeof(u64));
  }
}

// LEFT and RIGHT: the upper bits of a share, masked.
void TruncateOpened::send_masked(Role peer, const Pad& pad, u64 offset) const {
  u64* masked = opened();
  const std::array<Flow, 1> flows{{{&seat_.to(peer), static_cast<std::size_t>(kept_)}}};
  blocks_.send(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    pad.fill(lo, masked + lo, n);
    for (std::size_t i = lo; i < lo + n; ++i) masked[i] = (masked[i] + upper_bits(z_[i] + offset)) & low_bits(kept_);
    pack_bits(masked + lo, n, kept_, message[0]);
  });
}

// HELPER: components 0 and 2, and RIGHT's part of t_0.
void TruncateOpened::deal() const {
  const std::array<Flow, 2> flows{
      {{&seat_.to(RIGHT), static_cast<std::size_t>(ring_)}, {&seat_.to(RIGHT), static_cast<std::size_t>(wide_)}}};
  blocks_.send(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    u64 a[Blocks::kMost], b[Blocks::kMost], q0[Blocks::kMost];
    u64 *component2 = out_.x0 + lo, *component0 = out_.x1 + lo;
    a_.fill(lo, a, n);
    b_.fill(lo, b, n);
    p0_.fill(lo, q0, n);
    component0_.fill(lo, component0, n);
    for (std::size_t i = 0; i < n; ++i) {
      component0[i] &= low_bits(ring_);
      const u64 rho = (a[i] + b[i] - upper_bits(z_[lo + i])) & low_bits(kept_);
      const u64 t1 = (a[i] >> kept_) + (b[i] >> kept_);
      q0[i] = t1 + (rho >> (kept_ - 1)) - q0[i];
      component2[i] = (0 - rho - (t1 << kept_) - component0[i]) & low_bits(ring_);
    }
    pack_bits(component2, n, ring_, message[0]);
    pack_bits(q0, n, wide_, message[1]);
  });
}

// δ.
void TruncateOpened::learn_left() const {
  u64* delta = opened();
  const std::array<Flow, 1> flows{{{&seat_.to(RIGHT), static_cast<std::size_t>(kept_)}}};
  blocks_.recv(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    u64 in[Blocks::kMost];
    unpack_bits(message[0], n, kept_, in);
    for (std::size_t i = 0; i < n; ++i) delta[lo + i] = (delta[lo + i] + in[i]) & low_bits(kept_);
  });
}

// δ and q0 above it; component 2.
void TruncateOpened::learn_right() const {
  u64* delta = opened();
  const std::array<Flow, 3> flows{{{&seat_.to(LEFT), static_cast<std::size_t>(kept_)},
                                   {&seat_.to(HELPER), static_cast<std::size_t>(ring_)},
                                   {&seat_.to(HELPER), static_cast<std::size_t>(wide_)}}};
  blocks_.recv(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    u64 in[Blocks::kMost], q0[Blocks::kMost];
    unpack_bits(message[0], n, kept_, in);
    unpack_bits(message[1], n, ring_, out_.x1 + lo);
    unpack_bits(message[2], n, wide_, q0);
    for (std::size_t i = 0; i < n; ++i) delta[lo + i] = ((delta[lo + i] + in[i]) & low_bits(kept_)) | q0[i] << kept_;
  });
}

// p_c; component 0, which nobody has to send.
void TruncateOpened::send_entry_left() const {
  u64* word = opened();
  const std::array<Flow, 1> flows{{{&seat_.to(RIGHT), static_cast<std::size_t>(wide_)}}};
  blocks_.send(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    u64 a[Blocks::kMost], entry[Blocks::kMost];
    a_.fill(lo, a, n);
    p0_.fill(lo, entry, n);
    component0_.fill(lo, out_.x0 + lo, n);
    for (std::size_t i = 0; i < n; ++i) {
      out_.x0[lo + i] &= low_bits(ring_);
      entry[i] = chosen(word[lo + i], entry[i], a[i] >> kept_);
      word[lo + i] += entry[i] << kept_;
    }
    pack_bits(entry, n, wide_, message[0]);
  });
}

// q_c.
void TruncateOpened::send_entry_right() const {
  u64* word = opened();
  const std::array<Flow, 1> flows{{{&seat_.to(LEFT), static_cast<std::size_t>(wide_)}}};
  blocks_.send(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    u64 b[Blocks::kMost], entry[Blocks::kMost];
    b_.fill(lo, b, n);
    for (std::size_t i = 0; i < n; ++i) {
      const u64 delta = word[lo + i] & low_bits(kept_);
      entry[i] = chosen(delta, word[lo + i] >> kept_, b[i] >> kept_);
      word[lo + i] = delta + (entry[i] << kept_);
    }
    pack_bits(entry, n, wide_, message[0]);
  });
}

// Component 1, without what LEFT has added.
void TruncateOpened::finish(Role peer) const {
  u64* word = opened();
  const std::array<Flow, 1> flows{{{&seat_.to(peer), static_cast<std::size_t>(wide_)}}};
  blocks_.recv(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    u64 in[Blocks::kMost];
    unpack_bits(message[0], n, wide_, in);
    for (std::size_t i = 0; i < n; ++i)
      word[lo + i] = (word[lo + i] + (in[i] << kept_) - (u64{1} << (kept_ - 2))) & low_bits(ring_);
  });
  seat_.with(peer).values.add(word, n_ * sizeof(u64));
}

}  // namespace secfwt
