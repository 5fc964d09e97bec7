// Before results leave, two parties compare what both must hold.
#pragma once

#include <stdexcept>

#include "mpc/lanes.h"

namespace secfwt {

// Two parties hold different values of the same thing: a message, a memory or a processor was wrong, or a party lies.
struct Divergence : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Everything since the last comparison, in all lanes: 32 bytes to each of the two others, 1 round. Throws Divergence,
// which names the parties in question. It says nothing that the receiver lacks: what is hashed, and the key, are its
// own.
void compare_transcripts(Lanes& lanes);

}  // namespace secfwt
