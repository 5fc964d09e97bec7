#include "mpc/noise.h"

#include <algorithm>
#include <optional>

namespace secfwt {
namespace {

using u128 = unsigned __int128;

constexpr u64 kMostTurns = 128;  // σ·kMostTurns < 2^63, so that its square fits 128 bits

// True with probability e^(−p/q), 0 ≤ p ≤ q (algorithm 1). A coin of p/(q·k) is one of p/q and one of 1/k.
bool exponential_coin(u128 p, u128 q, Coins& coins) {
  u64 k = 1;
  while (coins.below(k) == 0 && coins.below(q) < p) ++k;
  return k % 2 == 1;
}

// The same for any p.
bool exponential_coins(u128 p, u128 q, Coins& coins) {
  for (; p > q; p -= q)
    if (!exponential_coin(1, 1, coins)) return false;
  return exponential_coin(p, q, coins);
}

// y with probability proportional to e^(−|y|/t) (algorithm 2), or none: to be drawn again.
std::optional<i64> discrete_laplace(u64 t, Coins& coins) {
  const u128 rest = coins.below(t);
  if (!exponential_coin(rest, t, coins)) return {};
  u64 turns = 0;
  while (exponential_coin(1, 1, coins))
    if (++turns == kMostTurns) return {};
  const i64 y = static_cast<i64>(rest) + static_cast<i64>(t * turns);
  const bool negative = coins.word() & 1;
  if (negative && y == 0) return {};
  return negative ? -y : y;
}

}  // namespace

u64 Coins::word() {
  if (next_ == words_.size()) {
    stream_.fill(stream_.reserve(sizeof words_), 0, words_.data(), sizeof words_);
    next_ = 0;
  }
  return words_[next_++];
}

unsigned __int128 Coins::below(unsigned __int128 bound) {
  u128 mask = bound - 1;
  for (int shift = 1; shift < 128; shift *= 2) mask |= mask >> shift;
  for (;;) {
    u128 drawn = mask == 0 ? 0 : word();
    if (mask >> 64) drawn |= static_cast<u128>(word()) << 64;
    if ((drawn &= mask) < bound) return drawn;
  }
}

// Algorithm 3 with t = σ: a Laplace sample y is kept with probability e^(−(|y| − σ)²/2σ²).
i64 discrete_gaussian(u64 deviation, Coins& coins) {
  const u128 twice_variance = 2 * static_cast<u128>(deviation) * deviation;
  for (;;) {
    const auto y = discrete_laplace(deviation, coins);
    if (!y) continue;
    const u64 size = static_cast<u64>(*y < 0 ? -*y : *y);
    const u128 off = size > deviation ? size - deviation : deviation - size;
    if (exponential_coins(off * off, twice_variance, coins)) return *y;
  }
}

Words Noise::take(u64 deviation, std::size_t n) {
  Words& drawn = drawn_[deviation];
  if (drawn.size() < n) {
    std::size_t at = drawn.size();
    drawn.resize(std::max(n, kBlock));
    for (; at < drawn.size(); ++at) drawn[at] = static_cast<u64>(discrete_gaussian(deviation, coins_));
  }
  const Words taken(drawn.end() - static_cast<std::ptrdiff_t>(n), drawn.end());
  drawn.resize(drawn.size() - n);
  return taken;
}

}  // namespace secfwt
