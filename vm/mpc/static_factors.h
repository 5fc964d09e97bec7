// Weights, and what the setup stage makes of them, do not change from step to step: those that products alone read are
// kept as these read them.
#pragma once

#include "mpc/interpreter.h"
#include "mpc/program.h"

namespace secfwt {

// Packs, in their own memory, the values of `setup` that later stages read as right-hand factors of products and in no
// other way.
void pack_factors(const Program& program, Environment& setup);

}  // namespace secfwt
