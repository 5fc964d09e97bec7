// Fits in a ring program: how exactly a series is computed, and whether it fits its ring.
#pragma once

#include "mpc/program.h"
#include "mpc/program_line.h"

namespace secfwt {

// k, fc, fa.
void parse_precision(Line& line, Fit& fit);

// The keys of a `fit` line, and a bound on its values. Throws ProgramError.
Fit parse_fit(Line& line);

}  // namespace secfwt
