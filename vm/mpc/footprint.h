// How many ring elements a section of a program holds, so that memory is bounded before it is taken.
#pragma once

#include "mpc/interpreter.h"

namespace secfwt {

// Of one instance, at this party: both components of a replicated value, one of any other.
u64 instance_words(const Node& node);

// The most that run_section holds at one time of what it makes, for each instance. Views count like copies: an upper
// bound.
u64 peak_words(const Program& program, const Section& section);

// What it leaves, for each instance.
u64 kept_words(const Program& program, const Section& section);

}  // namespace secfwt
