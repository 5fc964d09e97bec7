// Executes a ring program (docs/program.md) at one party.
#pragma once

#include <functional>
#include <istream>
#include <map>
#include <string>
#include <vector>

#include "mpc/party.h"
#include "mpc/program.h"

namespace secfwt {

// One party's half of replicated values: both components, same length.
struct Shares {
  Words x0, x1;
};

class Engine {
 public:
  using Progress = std::function<void(u64 done, u64 total)>;

  Engine(Program program, Party& party, std::size_t tile_words = std::size_t{1} << 22);

  const Program& program() const { return program_; }

  // All `weight` inputs, concatenated in program order; runs the setup stage.
  void set_weights(Shares weights);
  bool has_weights() const;

  // All `example` inputs in program order, each [count, shape]; runs the example stage, keeps what later stages need. Replaces set `id`.
  void set_examples(u64 id, std::size_t count, Shares examples, const Progress& progress = {});
  std::size_t example_count(u64 id) const;  // throws std::out_of_range

  // All `candidate` inputs in program order, each [count, shape]. Returns this party's additive share of the output, re-randomised:
  // [C, shape] or [C, E, shape]. Throws std::invalid_argument when the output's max_candidates is exceeded.
  Words step(u64 id, std::size_t candidates, std::size_t output, Shares inputs, const Progress& progress = {});

 private:
  Program program_;
  Party& party_;
};

}  // namespace secfwt
