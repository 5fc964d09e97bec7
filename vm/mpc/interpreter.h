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

// Where values are that the environment need not hold all the time.
struct Elsewhere {
  // Takes a value that `section.keep` names as soon as it is there.
  std::function<void(std::size_t)> put;
  // Brings one that is read and not there.
  std::function<Value(std::size_t)> get;
};

// `reduce_examples` adds to what its place in the environment holds: the caller sets it to zero before the first tile.
// `at`: the row that the step's windows and what it appends begin with. What is elsewhere is freed after its last use.
void run_section(const Program& program, const Section& section, Environment& values, Party& party, std::size_t at = 0,
                 const Elsewhere& elsewhere = {});

}  // namespace secfwt
