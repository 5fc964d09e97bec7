// Executes a ring program (docs/program.md) at one party.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mpc/comparison.h"
#include "mpc/dealer.h"
#include "mpc/example_sets.h"
#include "mpc/interpreter.h"
#include "mpc/lanes.h"
#include "mpc/noise.h"
#include "mpc/program.h"
#include "mpc/public_weights.h"
#include "mpc/tiles.h"

namespace secfwt {

// One party's half of replicated values: both components, same length. Of weights, which are many, a component may
// still be the seed of its words (AES-CTR from 0), and has none then.
struct Shares {
  Words x0, x1;
  std::optional<Key> seed0 = {}, seed1 = {};
};

class Engine {
 public:
  // `tile_words`: about how many ring elements the largest value may have that depends on both candidates and examples,
  // in all lanes together (more pairs than that are computed tile by tile). Tiles are computed in as many lanes at the
  // same time as there are: while one waits for messages, another computes. The same at all parties.
  // `ahead`: bytes of tuples that may be dealt before they are needed, by this party; they lie in the next one's
  // memory. `background`: by a thread; else at the end of a step and by deal_ahead() (see mpc/dealer.h).
  Engine(Program program, Lanes& lanes, std::size_t tile_words, u64 ahead, PublicWeights constants = {},
         bool background = true);

  const Program& program() const { return program_; }
  int party() const { return main_.id; }
  u64 bytes_sent() const;
  // One after another: of lanes that run at the same time the longest counts.
  u64 rounds() const { return main_.rounds; }

  // All `weight` inputs, concatenated in program order; reads the `constant` ones, runs the setup stage and forgets all
  // examples.
  // This and the following throw std::invalid_argument, before anything is sent, where numbers or lengths do not fit
  // the program.
  void set_weights(Shares weights);
  bool has_weights() const { return loaded_; }

  // Why a step cannot be at that place now; empty: it can.
  std::string refusal(std::size_t output, std::size_t at) const;

  // All `example` inputs in program order, each [count, shape]; runs the example stage, keeps what later stages need.
  // Replaces set `id`.
  void set_examples(u64 id, std::size_t count, Shares examples, const Progress& progress = {});
  std::size_t example_count(u64 id) const;  // throws std::out_of_range
  void forget_examples(u64 id);

  // Upper bounds, in ring elements, of what this party holds: for the weights, while they come; for an example while
  // its set arrives; in all sets but one that is replaced; in one set; for a candidate of a step. What a tile holds
  // comes on top, the same for all.
  u64 setup_words() const;
  // Of these what stays from step to step.
  u64 kept_setup_words() const;
  u64 example_words() const;
  u64 held_words(std::optional<u64> replaced = {}) const;
  u64 held_words_of(u64 id) const;
  u64 candidate_words(std::size_t output, std::size_t examples) const;

  // On the examples of several sets side by side; what is opened of single examples, and what is kept of them, is of
  // one set only. All `candidate` inputs in program order, each [count, shape]; none (0 candidates) for an output of
  // the example stage. `at`: the row that windows begin with, and that rows are appended to states from on; of an
  // output that is kept 1 for the second part of a sum of two. Returns this party's additive share of the output,
  // re-randomised, in the output's ring: [C, shape], [C, E, shape] or [E, shape]. What stands above that ring is zero:
  // the sum of whole words would say more than the output. With `noise` the share has this party's noise, which nobody
  // else learns: not even a part of it leaves alone. Nothing is returned of an output that is kept: the value stays at
  // the parties until it is made again or the weights change.
  // Throws std::invalid_argument when the output's max_candidates is exceeded, Divergence where another party holds
  // other values of what both have.
  Words step(const std::vector<u64>& ids, std::size_t candidates, std::size_t output, Shares inputs,
             const Progress& progress = {}, std::size_t at = 0);
  Words step(u64 id, std::size_t candidates, std::size_t output, Shares inputs, const Progress& progress = {},
             std::size_t at = 0) {
    return step(std::vector<u64>{id}, candidates, output, std::move(inputs), progress, at);
  }

  // Where no thread does: deals all that the next step should find.
  void deal_ahead() { dealer_.deal(); }

 private:
  u64 held_setup_words() const;

  // What one output needs of a step: candidate values, then all pairs tile by tile, then what follows the sums over
  // examples.
  struct Steps {
    Section before, pairs, after;
    Ids kept;                // that any of it reads
    std::size_t pair_words;  // of the largest value of one pair
  };

  Steps steps(const Output& output) const;
  Section section(const std::vector<bool>& needed, const std::function<bool(const Node&)>& belongs) const;
  std::vector<bool> needed(const Ids& roots) const;
  void bind_weights(Shares shares, Environment& values) const;
  void bind_inputs(Kind kind, std::size_t candidates, std::size_t examples, Shares shares, const char* what,
                   Environment& values) const;
  std::size_t tile_items(std::size_t count, std::size_t words) const;
  SideBySide side_by_side(const std::vector<u64>& ids, std::size_t output) const;
  void run_pairs(const Steps& steps, const SideBySide& set, std::size_t candidates, std::size_t output, std::size_t at,
                 const Progress& progress, Environment& values, Words& result);
  u64 state_words() const { return 2 * program_.words(Kind::state); }

  Program program_;
  PublicWeights constants_;
  Lanes& lanes_;
  Party& main_;  // the lane of what is not cut into tiles
  std::size_t tile_words_;
  std::size_t example_tile_words_ = 1;  // of one example, as tile_items() counts
  bool loaded_ = false;
  Section setup_section_, example_section_;
  std::vector<Steps> steps_;  // by output
  Environment setup_;
  std::vector<std::size_t> parts_;  // by kept value, of how many steps it is the sum
  std::map<u64, ExampleSet> examples_;
  Dealer dealer_;
  Noise noise_;
};

}  // namespace secfwt
