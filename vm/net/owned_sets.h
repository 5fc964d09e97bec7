// Whose the sets of examples are, and with whose they stand side by side.
#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "ring/ring.h"

namespace secfwt {

class OwnedSets {
 public:
  // What the engine knows a set by that its owner calls `set`.
  std::optional<u64> find(std::size_t owner, u64 set) const {
    const auto found = numbers_.find({owner, set});
    return found == numbers_.end() ? std::nullopt : std::optional<u64>(found->second);
  }
  // The same for a set that comes, in place of an earlier one of the same name if there is one.
  u64 number(std::size_t owner, u64 set) {
    const auto [at, is_new] = numbers_.try_emplace({owner, set}, next_);
    if (is_new) ++next_;
    return at->second;
  }
  // What the engine knows all of an owner's sets by.
  std::vector<u64> of(std::size_t owner) const {
    std::vector<u64> all;
    for (auto at = numbers_.lower_bound({owner, 0}); at != numbers_.end() && at->first.first == owner; ++at)
      all.push_back(at->second);
    return all;
  }
  // Its sets are no more. Its union stays.
  void forget(std::size_t owner) {
    numbers_.erase(numbers_.lower_bound({owner, 0}), numbers_.lower_bound({owner + 1, 0}));
  }
  // The owners, bit by bit, that this one's examples stand side by side with, itself among them; 0: nothing was opened
  // of them yet. An owner is in one union for as long as the weights are the same: of two that differ by a few owners
  // the difference would be theirs alone.
  u64 union_of(std::size_t owner) const {
    const auto found = unions_.find(owner);
    return found == unions_.end() ? 0 : found->second;
  }
  void unite(u64 owners) {
    for (std::size_t owner = 0; owner < 64; ++owner)
      if (owners >> owner & 1) unions_[owner] = owners;
  }
  // How many examples an owner had in a set when a sum with it was opened; 0: none was. With another number the
  // difference of two sums would be of few examples alone.
  u64 summed(std::size_t owner, u64 set) const {
    const auto found = counts_.find({owner, set});
    return found == counts_.end() ? 0 : found->second;
  }
  void sum(std::size_t owner, u64 set, u64 count) { counts_[{owner, set}] = count; }
  void clear() {
    numbers_.clear();
    unions_.clear();
    counts_.clear();
  }

 private:
  std::map<std::pair<std::size_t, u64>, u64> numbers_;
  std::map<std::size_t, u64> unions_;
  std::map<std::pair<std::size_t, u64>, u64> counts_;
  u64 next_ = 0;
};

}  // namespace secfwt
