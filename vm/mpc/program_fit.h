// Fits in a ring program: how exactly a series is computed, and whether it fits its ring.
#pragma once

#include "mpc/program.h"
#include "mpc/program_line.h"

namespace secfwt {

// k, fc, fa.
void parse_precision(Line& line, Fit& fit);

// The keys of a `fit` line. Throws ProgramError: also for a series whose values, at scale fc+fa, reach 2^30 (ring=32)
// or 2^62 (ring=64), where lift and truncation would return another number in silence.
Fit parse_fit(Line& line);

}  // namespace secfwt
