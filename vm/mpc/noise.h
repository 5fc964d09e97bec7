// Noise for opened numbers: discrete Gaussians from a party's own random bits, sampled exactly, in integers only
// (Canonne, Kamath, Steinke 2020, arXiv 2004.00010).
#pragma once

#include <array>
#include <map>

#include "ring/memory.h"
#include "ring/prg.h"

namespace secfwt {

// Uniform bits that nobody else has: AES-CTR under a key from the operating system.
class Coins {
 public:
  explicit Coins(const Key& key = random_key()) : stream_(key) {}

  u64 word();
  // Uniform below `bound` > 0, by rejection.
  unsigned __int128 below(unsigned __int128 bound);

 private:
  Stream stream_;
  std::array<u64, 1024> words_;
  std::size_t next_ = words_.size();
};

// x with probability proportional to e^(−x²/2σ²), σ from 1 to 2^56 (kNoise). Every probability is a quotient of
// integers; |x| ≥ 128·σ, which has one below 2^-11000, is never drawn.
i64 discrete_gaussian(u64 deviation, Coins& coins);

// How long a sample takes depends on it. So samples are drawn in blocks, when a step begins, and a step's time says at
// most how long a block took: docs/security.md#noise-on-losses.
class Noise {
 public:
  explicit Noise(const Key& key = random_key()) : coins_(key) {}

  // n samples as words of the ring, each given out once.
  Words take(u64 deviation, std::size_t n);

 private:
  static constexpr std::size_t kBlock = 1024;
  Coins coins_;
  std::map<u64, Words> drawn_;  // by standard deviation
};

}  // namespace secfwt
