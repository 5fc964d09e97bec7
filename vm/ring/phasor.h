// Unit phasors e^(2πi·θ) in integer arithmetic only, so that two parties on different machines get the same bits: a phasor is multiplied with
// shares, and a difference in its last bit would turn the product into noise.
#pragma once

#include "ring/ring.h"

namespace secfwt {

struct Phasor {
  i32 re, im;
};

// Table of round(2^bits · e^(2πi·j/2^16)), j = 0 … 65535, bits <= 30; error at most 1 unit in the last place. Built once per `bits` and kept.
const Phasor* phasor_table(int bits);

// round(2^bits · e^(2πi·angle/2^32)) for any 32-bit angle, error at most 2 units, bits <= 30: one complex product of two table entries.
Phasor phasor32(u32 angle, int bits);

}  // namespace secfwt
