// What the numbers of a ring program may be (docs/program.md).
#pragma once

#include "ring/ring.h"

namespace secfwt {

struct Range {
  i64 least, most;
};

constexpr i64 kMaxElements = i64{1} << 40;  // of a shape, and of every dimension
constexpr Range kScale{-64, 128};
constexpr int kPhaseScale = 64;      // of a phase, in turns: it wraps as the ring does
constexpr Range kPublicBits{1, 16};  // `bits`
constexpr Range kTableNumber{-65535, 65535};
constexpr Range kNumberBytes{1, 8};     // `bytes`
constexpr Range kShift{1, 62};          // of trunc
constexpr Range kFewRounds{2, 2};       // `rounds` of trunc, where it is there
constexpr Range kSeriesShift{0, 62};    // of cos_sin and fourier
constexpr Range kPhaseBits{8, 32};      // `k`
constexpr Range kAmplitudeBits{0, 40};  // `fc`
constexpr Range kPhasorBits{0, 30};     // `fa`
constexpr int kMostFitScale = 60;       // fc + fa: a value of 1 stays below 2^62 with its roundings
constexpr Range kRingBits{8, 64};       // `ring`, and `sum` of cos_sin
constexpr Range kInputRingBits{2, 64};  // `ring` of an input
constexpr Range kHarmonic{1, 65535};    // `m`
// What the sum of three parties' noise of a standard deviation σ stays below, in σ, but for a probability of 2^-102:
// 12·√3 < 21, and the sum is subgaussian like a Gaussian of variance 3σ².
constexpr u64 kNoiseReach = 21;
constexpr Range kNoise{1, i64{1} << 56};  // `noise` of an output
constexpr Range kAnyInteger{INT64_MIN, INT64_MAX};
constexpr Range kCount{0, INT64_MAX};
constexpr Range kOwners{2, 64};  // whose examples a sum is over: each has a bit of a word

}  // namespace secfwt
