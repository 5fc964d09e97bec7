// Runs the operations of a ring program, one after another or group by group, on whatever batch is in the environment.
#pragma once

#include <functional>
#include <vector>

#include "mpc/party.h"
#include "mpc/program.h"
#include "mpc/value.h"

namespace secfwt {

using Ids = std::vector<std::size_t>;
using Environment = std::vector<Value>;  // by value id; empty where there is none

// Operations that run together, in program order, without inputs but for public values.
struct Section {
  Ids nodes;
  std::vector<bool> keep;  // by value id: what others need afterwards; all else is freed after its last use
};

// `reduce_examples` adds to what its place in the environment holds: the caller sets it to zero before the first tile.
// `at`: the row that the step's windows and what it appends begin with. `made(i)` is called as soon as value i is
// there, if `section.keep` names it: it may put another value in its place that is the same.
void run_section(const Program& program, const Section& section, Environment& values, Party& party, std::size_t at = 0,
                 const std::function<void(std::size_t)>& made = {});

}  // namespace secfwt
