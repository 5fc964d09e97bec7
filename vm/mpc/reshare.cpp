#include "mpc/reshare.h"

#include "ring/packing.h"

namespace secfwt {
namespace {

Pad reserve(Stream& stream, std::size_t n) { return Pad(&stream, stream.reserve(n * sizeof(u64))); }

// out = x + α on one block, α = pad − next_pad.
void add_pads(const u64* x, const Pad& pad, const Pad& next_pad, std::size_t lo, std::size_t n, u64* out) {
  u64 mask[Blocks::kMost], next_mask[Blocks::kMost];
  pad.fill(lo, mask, n);
  next_pad.fill(lo, next_mask, n);
  for (std::size_t i = 0; i < n; ++i) out[lo + i] = x[lo + i] + mask[i] - next_mask[i];
}

}  // namespace

Reshare::Reshare(Party& party, const u64* x, std::size_t n, int shift, int ring, Target out)
    : party_(party),
      n_(n),
      x_(x),
      shift_(shift),
      ring_(ring),
      out_(out),
      pad_(reserve(party.stream0, n)),
      next_pad_(reserve(party.stream1, n)) {}

void Reshare::send(int) {
  const u64 mask = low_bits(ring_);
  // three roundings down cost one and a half units on average
  const bool first = party_.id == 0 && shift_ > 0;
  const u64 half = first ? u64{1} << (shift_ - 1) : 0, unit = first ? 1 : 0;
  const std::array<Flow, 1> flows{{{party_.prev, static_cast<std::size_t>(ring_)}}};
  Blocks(n_).send(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    add_pads(x_, pad_, next_pad_, lo, n, out_.x0);
    for (std::size_t i = lo; i < lo + n; ++i) out_.x0[i] = (((out_.x0[i] + half) >> shift_) + unit) & mask;
    pack_bits(out_.x0 + lo, n, ring_, message[0]);
  });
}

void Reshare::recv(int) {
  const std::array<Flow, 1> flows{{{party_.next, static_cast<std::size_t>(ring_)}}};
  Blocks(n_).recv(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    unpack_bits(message[0], n, ring_, out_.x1 + lo);
  });
  party_.with_prev.values.add(out_.x0, n_ * sizeof(u64));
  party_.with_next.values.add(out_.x1, n_ * sizeof(u64));
}

void add_zero_share(Party& party, u64* x, std::size_t n) {
  const Pad pad = reserve(party.stream0, n), next_pad = reserve(party.stream1, n);
  Blocks(n).each([&](std::size_t lo, std::size_t length) { add_pads(x, pad, next_pad, lo, length, x); });
}

}  // namespace secfwt
