#include "mpc/two_party.h"

#include "mpc/bits.h"

namespace secfwt {
namespace {

// Packed bits of a pad, for one block.
struct PadBits {
  PadBits(const Pad& pad, std::size_t lo, std::size_t n) { pad.fill(lo / 8, bytes, (n + 7) / 8); }
  u8 bytes[Blocks::kMost / 8];
};

}  // namespace

PairReshare::PairReshare(const Seat& seat, std::size_t n, Target out, int ring)
    : seat_(seat),
      n_(n),
      blocks_(n),
      out_(out),
      ring_(ring),
      pad0_(seat.pad(0, n * sizeof(u64))),
      pad2_(seat.pad(2, n * sizeof(u64))) {}

u64* PairReshare::summand() const { return seat_.role() == LEFT ? out_.x1 : seat_.role() == RIGHT ? out_.x0 : nullptr; }

void PairReshare::send() const {
  const u64 mask = low_bits(ring_);
  const auto pad_words = [mask](const Pad& pad, std::size_t lo, std::size_t n, u64* out) {
    pad.fill(lo, out + lo, n);
    for (std::size_t i = lo; i < lo + n; ++i) out[i] &= mask;
  };
  if (seat_.role() == HELPER) {
    blocks_.each([&](std::size_t lo, std::size_t n) {
      pad_words(pad2_, lo, n, out_.x0);
      pad_words(pad0_, lo, n, out_.x1);
    });
    return;
  }
  const bool left = seat_.role() == LEFT;
  u64 *shared = summand(), *other = left ? out_.x0 : out_.x1;
  const Pad& pad = left ? pad0_ : pad2_;
  const std::array<Flow, 1> flows{{{&seat_.to(left ? RIGHT : LEFT), static_cast<std::size_t>(ring_)}}};
  blocks_.send(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    pad_words(pad, lo, n, other);
    for (std::size_t i = lo; i < lo + n; ++i) shared[i] -= other[i];
    pack_bits(shared + lo, n, ring_, message[0]);
  });
}

void PairReshare::recv() const {
  if (seat_.role() == HELPER) return;
  const u64 mask = low_bits(ring_);
  u64* shared = summand();
  const Role peer = seat_.role() == LEFT ? RIGHT : LEFT;
  const std::array<Flow, 1> flows{{{&seat_.to(peer), static_cast<std::size_t>(ring_)}}};
  blocks_.recv(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    u64 in[Blocks::kMost];
    unpack_bits(message[0], n, ring_, in);
    for (std::size_t i = 0; i < n; ++i) shared[lo + i] = (shared[lo + i] + in[i]) & mask;
  });
  seat_.with(peer).values.add(shared, n_ * sizeof(u64));
}

PairLift::PairLift(const Seat& seat, std::size_t n, u64* summand, int source, int shift, int ring)
    : seat_(seat),
      blocks_(n),
      summand_(summand),
      source_(source),
      shift_(shift),
      ring_(ring),
      r_(seat.pad(0, (n + 7) / 8)),
      q_(seat.pad(2, (n + 7) / 8)),
      rq_left_(seat.pad(0, n * sizeof(u64))) {}

void PairLift::send() const {
  if (seat_.role() == LEFT) return send_bit(RIGHT, r_, u64{1} << (source_ - 2));
  if (seat_.role() == RIGHT) return send_bit(LEFT, q_, 0);
  deal();
}

void PairLift::recv() const {
  if (seat_.role() == LEFT) return finish_left();
  if (seat_.role() == RIGHT) finish_right();
}

// d = u⊕r from LEFT, e = v⊕q from RIGHT.
void PairLift::send_bit(Role peer, const Pad& pad, u64 offset) const {
  u64* a = summand_;
  const std::array<Flow, 1> flows{{{&seat_.to(peer), 1}}};
  blocks_.send(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    masked_top_bits(a + lo, n, source_, offset, PadBits(pad, lo, n).bytes, message[0]);
  });
}

// HELPER: RIGHT's share of r·q is what LEFT's pad lacks of it.
void PairLift::deal() const {
  const std::array<Flow, 1> flows{{{&seat_.to(RIGHT), share_bits()}}};
  blocks_.send(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    const PadBits r(r_, lo, n), q(q_, lo, n);
    u64 rq[Blocks::kMost];
    rq_left_.fill(lo, rq, n);
    for (std::size_t i = 0; i < n; ++i) rq[i] = ((r.bytes[i / 8] & q.bytes[i / 8]) >> (i % 8) & 1) - rq[i];
    pack_bits(rq, n, static_cast<int>(share_bits()), message[0]);
  });
}

void PairLift::finish_left() const {
  u64* a = summand_;
  const std::array<Flow, 1> flows{{{&seat_.to(RIGHT), 1}}};
  blocks_.recv(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    const u8* e = message[0];
    u64 rq[Blocks::kMost];
    rq_left_.fill(lo, rq, n);
    shift_left_summand(a + lo, n, source_, shift_, PadBits(r_, lo, n).bytes, e, rq);
  });
}

void PairLift::finish_right() const {
  u64* b = summand_;
  // LEFT's 2^(source-2) goes again; two roundings down cost one unit on average.
  const u64 offset = (u64{1} << (source_ - 2 - shift_)) - (shift_ > 0 ? 1 : 0);
  const std::array<Flow, 2> flows{{{&seat_.to(LEFT), 1}, {&seat_.to(HELPER), share_bits()}}};
  blocks_.recv(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    const u8* d = message[0];
    u64 rq[Blocks::kMost];
    unpack_bits(message[1], n, static_cast<int>(share_bits()), rq);
    shift_right_summand(b + lo, n, source_, shift_, PadBits(q_, lo, n).bytes, d, rq);
    for (std::size_t i = lo; i < lo + n; ++i) b[i] -= offset;
  });
}

PairShift::PairShift(const Seat& seat, std::size_t n, Target out, int source, int shift, int ring)
    : seat_(seat), blocks_(n), shift_(shift), reshare_(seat, n, out, ring) {
  if (ring > source - shift) lift_.emplace(seat, n, summand(), source, shift, ring);
}

void PairShift::send(int round) const {
  if (lift_ && round == 0) return lift_->send();
  if (!lift_ && shift_ > 0) shift_summand();
  reshare_.send();
}

void PairShift::recv(int round) const {
  if (lift_ && round == 0) return lift_->recv();
  reshare_.recv();
}

// Without a wrap. Two roundings down cost one unit on average.
void PairShift::shift_summand() const {
  if (seat_.role() == HELPER) return;
  u64* a = summand();
  const u64 unit = seat_.role() == RIGHT ? 1 : 0;
  blocks_.each([&](std::size_t lo, std::size_t n) {
    for (std::size_t i = lo; i < lo + n; ++i) a[i] = (a[i] >> shift_) + unit;
  });
}

}  // namespace secfwt
