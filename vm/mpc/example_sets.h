// Examples as a party keeps them, and sets of several owners side by side.
#pragma once

#include <vector>

#include "mpc/interpreter.h"

namespace secfwt {

// What later stages read of the examples of one set.
struct ExampleSet {
  std::size_t count = 0;
  Environment values;
};

// Sets one after another, as one: a step's tiles are cut without regard to where one ends.
class SideBySide {
 public:
  explicit SideBySide(std::vector<const ExampleSet*> sets) : sets_(std::move(sets)) {}

  std::size_t count() const;
  bool has(std::size_t value) const { return !sets_.empty() && !sets_[0]->values[value].empty(); }
  // Examples [e0, e1) of a value: a view where they are of one set, else a copy.
  Value slice(std::size_t value, std::size_t e0, std::size_t e1) const;
  // Of one set: all of a value.
  const Value& whole(std::size_t value) const { return sets_.at(0)->values[value]; }
  std::size_t sets() const { return sets_.size(); }

 private:
  std::vector<const ExampleSet*> sets_;
};

}  // namespace secfwt
