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

PairReshare::PairReshare(const Seat& seat, std::size_t n, Target out)
    : seat_(seat), blocks_(n), out_(out), pad0_(seat.pad(0, n * sizeof(u64))), pad2_(seat.pad(2, n * sizeof(u64))) {}

u64* PairReshare::summand() const { return seat_.role() == LEFT ? out_.x1 : seat_.role() == RIGHT ? out_.x0 : nullptr; }

void PairReshare::send() const {
  if (seat_.role() == HELPER) {
    blocks_.each([&](std::size_t lo, std::size_t n) {
      pad2_.fill(lo, out_.x0 + lo, n);
      pad0_.fill(lo, out_.x1 + lo, n);
    });
    return;
  }
  const bool left = seat_.role() == LEFT;
  u64 *shared = summand(), *other = left ? out_.x0 : out_.x1;
  const Pad& pad = left ? pad0_ : pad2_;
  const std::array<Lane, 1> lanes{{{&seat_.to(left ? RIGHT : LEFT), 64}}};
  blocks_.send(lanes, [&](std::size_t lo, std::size_t n, const auto& message) {
    pad.fill(lo, other + lo, n);
    for (std::size_t i = lo; i < lo + n; ++i) shared[i] -= other[i];
    std::memcpy(message[0], shared + lo, n * sizeof(u64));
  });
}

void PairReshare::recv() const {
  if (seat_.role() == HELPER) return;
  u64* shared = summand();
  const std::array<Lane, 1> lanes{{{&seat_.to(seat_.role() == LEFT ? RIGHT : LEFT), 64}}};
  blocks_.recv(lanes, [&](std::size_t lo, std::size_t n, const auto& message) {
    const u64* in = reinterpret_cast<const u64*>(message[0]);
    for (std::size_t i = 0; i < n; ++i) shared[lo + i] += in[i];
  });
}

PairShift::PairShift(const Seat& seat, std::size_t n, Target out, int ring, int shift)
    : seat_(seat),
      blocks_(n),
      ring_(ring),
      shift_(shift),
      bit_left_(seat.pad(0, (n + 7) / 8)),
      bit_right_(seat.pad(2, (n + 7) / 8)),
      product_(seat.pad(0, n * sizeof(u64))),
      reshare_(seat, n, out) {}

void PairShift::send(int round) const {
  if (round == 1) return reshare_.send();
  if (seat_.role() == LEFT) return send_bit(RIGHT, bit_left_, u64{1} << (ring_ - 2));
  if (seat_.role() == RIGHT) return send_bit(LEFT, bit_right_, 0);
  deal();
}

void PairShift::recv(int round) const {
  if (round == 1) return reshare_.recv();
  if (seat_.role() == LEFT) return finish_left();
  if (seat_.role() == RIGHT) finish_right();
}

void PairShift::send_bit(Role peer, const Pad& pad, u64 offset) const {
  u64* a = summand();
  const std::array<Lane, 1> lanes{{{&seat_.to(peer), 1}}};
  blocks_.send(lanes, [&](std::size_t lo, std::size_t n, const auto& message) {
    masked_top_bits(a + lo, n, ring_, offset, PadBits(pad, lo, n).bytes, message[0]);
  });
}

void PairShift::deal() const {
  const int width = 64 - ring_ + shift_;
  const std::array<Lane, 1> lanes{{{&seat_.to(RIGHT), static_cast<std::size_t>(width)}}};
  blocks_.send(lanes, [&](std::size_t lo, std::size_t n, const auto& message) {
    const PadBits r(bit_left_, lo, n), q(bit_right_, lo, n);
    u64 correction[Blocks::kMost];
    product_.fill(lo, correction, n);
    for (std::size_t i = 0; i < n; ++i)
      correction[i] = ((r.bytes[i / 8] & q.bytes[i / 8]) >> (i % 8) & 1) - correction[i];
    pack_bits(correction, n, width, message[0]);
  });
}

void PairShift::finish_left() const {
  u64* a = summand();
  const std::array<Lane, 1> lanes{{{&seat_.to(RIGHT), 1}}};
  blocks_.recv(lanes, [&](std::size_t lo, std::size_t n, const auto& message) {
    u64 product[Blocks::kMost];
    product_.fill(lo, product, n);
    shift_left_summand(a + lo, n, ring_, shift_, PadBits(bit_left_, lo, n).bytes, message[0], product);
  });
}

void PairShift::finish_right() const {
  u64* b = summand();
  const int width = 64 - ring_ + shift_;
  // The offset of 2^(ring-2) goes again; two roundings down cost one unit on average.
  const u64 offset = (u64{1} << (ring_ - 2 - shift_)) - (shift_ > 0 ? 1 : 0);
  const std::array<Lane, 2> lanes{{{&seat_.to(LEFT), 1}, {&seat_.to(HELPER), static_cast<std::size_t>(width)}}};
  blocks_.recv(lanes, [&](std::size_t lo, std::size_t n, const auto& message) {
    u64 product[Blocks::kMost];
    unpack_bits(message[1], n, width, product);
    shift_right_summand(b + lo, n, ring_, shift_, PadBits(bit_right_, lo, n).bytes, message[0], product);
    for (std::size_t i = lo; i < lo + n; ++i) b[i] -= offset;
  });
}

}  // namespace secfwt
