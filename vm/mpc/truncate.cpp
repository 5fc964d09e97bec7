#include "mpc/truncate.h"

#include "ring/packing.h"

namespace secfwt {

Truncate::Truncate(const Seat& seat, const u64* z, std::size_t n, int source, int shift, int ring, Target out)
    : seat_(seat),
      blocks_(n),
      z_(z),
      source_(source),
      zeta_(seat.pad(0, n * sizeof(u64))),
      shift_(seat, n, out, source, shift, ring) {}

void Truncate::send(int round) {
  if (round > 0) return shift_.send(round - 1);
  if (seat_.role() == LEFT) {
    u64* a = shift_.summand();
    blocks_.each([&](std::size_t lo, std::size_t n) {
      zeta_.fill(lo, a + lo, n);
      for (std::size_t i = lo; i < lo + n; ++i) a[i] += z_[i];
    });
  } else if (seat_.role() == HELPER) {
    const std::array<Flow, 1> flows{{{&seat_.to(RIGHT), static_cast<std::size_t>(source_)}}};
    blocks_.send(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
      u64 masked[Blocks::kMost];
      zeta_.fill(lo, masked, n);
      for (std::size_t i = 0; i < n; ++i) masked[i] = z_[lo + i] - masked[i];
      pack_bits(masked, n, source_, message[0]);
    });
  }
}

void Truncate::recv(int round) {
  if (round > 0) return shift_.recv(round - 1);
  if (seat_.role() != RIGHT) return;
  u64* b = shift_.summand();
  const std::array<Flow, 1> flows{{{&seat_.to(HELPER), static_cast<std::size_t>(source_)}}};
  blocks_.recv(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
    u64 masked[Blocks::kMost];
    unpack_bits(message[0], n, source_, masked);
    for (std::size_t i = 0; i < n; ++i) b[lo + i] = z_[lo + i] + masked[i];
  });
}

TruncateHeld::TruncateHeld(const Seat& seat, const u64* x0, const u64* x1, std::size_t n, int source, int shift,
                           int ring, Target out)
    : seat_(seat), blocks_(n), x0_(x0), x1_(x1), shift_(seat, n, out, source, shift, ring) {}

void TruncateHeld::send(int round) {
  if (round == 0 && seat_.role() != HELPER) {
    u64* summand = shift_.summand();
    const bool right = seat_.role() == RIGHT;
    blocks_.each([&](std::size_t lo, std::size_t n) {
      for (std::size_t i = lo; i < lo + n; ++i) summand[i] = x0_[i] + (right ? x1_[i] : 0);
    });
  }
  shift_.send(round);
}

}  // namespace secfwt
