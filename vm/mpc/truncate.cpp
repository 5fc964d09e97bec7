#include "mpc/truncate.h"

namespace secfwt {

Truncate::Truncate(const Seat& seat, const u64* z, std::size_t n, int shift, Target out)
    : seat_(seat), blocks_(n), z_(z), mask_(seat.pad(0, n * sizeof(u64))), shift_(seat, n, out, 64, shift) {}

void Truncate::send(int round) {
  if (round > 0) return shift_.send(round - 1);
  if (seat_.role() == LEFT) {
    u64* a = shift_.summand();
    blocks_.each([&](std::size_t lo, std::size_t n) {
      mask_.fill(lo, a + lo, n);
      for (std::size_t i = lo; i < lo + n; ++i) a[i] += z_[i];
    });
  } else if (seat_.role() == HELPER) {
    const std::array<Lane, 1> lanes{{{&seat_.to(RIGHT), 64}}};
    blocks_.send(lanes, [&](std::size_t lo, std::size_t n, const auto& message) {
      u64* out = reinterpret_cast<u64*>(message[0]);
      mask_.fill(lo, out, n);
      for (std::size_t i = 0; i < n; ++i) out[i] = z_[lo + i] - out[i];
    });
  }
}

void Truncate::recv(int round) {
  if (round > 0) return shift_.recv(round - 1);
  if (seat_.role() != RIGHT) return;
  u64* b = shift_.summand();
  const std::array<Lane, 1> lanes{{{&seat_.to(HELPER), 64}}};
  blocks_.recv(lanes, [&](std::size_t lo, std::size_t n, const auto& message) {
    const u64* in = reinterpret_cast<const u64*>(message[0]);
    for (std::size_t i = 0; i < n; ++i) b[lo + i] = z_[lo + i] + in[i];
  });
}

}  // namespace secfwt
