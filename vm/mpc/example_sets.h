// Examples as a party keeps them from step to step, and sets of several owners side by side.
#pragma once

#include <vector>

#include "mpc/interpreter.h"

namespace secfwt {

// What a party keeps of an example's value, both components of a replicated one: the bits of its ring, packed; of a
// state, which steps write into, whole words.
u64 kept_words(const Node& node);

// What later stages read of the examples of one set.
class ExampleSet {
 public:
  // Room for the example values that `keep` names, in one piece: many would be rounded up each. States are zero.
  ExampleSet(const Program& program, const std::vector<bool>& keep, std::size_t count);

  std::size_t count() const { return count_; }
  bool has(std::size_t value) const { return kept_[value].bits > 0; }
  // Keeps examples of a value, from `first` on. Several threads may, each its own examples.
  void put(std::size_t value, const Value& part, std::size_t first);
  // Examples [e0, e1): of a state a view, else a copy.
  Value get(std::size_t value, std::size_t e0, std::size_t e1) const;
  // The same in parts: words for so many examples, uninitialised; and examples to those from `first` on.
  Value room(std::size_t value, std::size_t examples) const;
  void get(std::size_t value, std::size_t e0, std::size_t e1, const Value& out, std::size_t first) const;

 private:
  // Example e of component p begins at x[p] + e · bytes; `bits` 0: not kept.
  struct Kept {
    int bits = 0;
    bool state = false;
    Value form;  // of one example, without words
    std::size_t bytes = 0;
    u8* x[2] = {};
  };

  std::size_t count_;
  Buffer memory_;
  std::vector<Kept> kept_;
};

// Sets one after another, as one: a step's tiles are cut without regard to where one ends.
class SideBySide {
 public:
  explicit SideBySide(std::vector<const ExampleSet*> sets) : sets_(std::move(sets)) {}

  std::size_t count() const;
  // Examples [e0, e1) of a value: of a state, of which there is one set only, a view; else a copy.
  Value slice(std::size_t value, std::size_t e0, std::size_t e1) const;
  std::size_t sets() const { return sets_.size(); }

 private:
  std::vector<const ExampleSet*> sets_;
};

}  // namespace secfwt
