// Weights, and what the setup stage makes of them, do not change from step to step: those that products alone read are
// kept as these read them.
#pragma once

#include <vector>

#include "mpc/program.h"

namespace secfwt {

// By value: the widest ring of the products of later stages that read it as their right-hand factor; 0 where anything
// else reads it as well, or nothing.
std::vector<int> packed_rings(const Program& program);
// Words that one party needs for a value that stays, packed for products in `ring` unless that is 0.
u64 static_words(const Node& node, int ring, int party);

}  // namespace secfwt
