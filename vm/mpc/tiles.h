// How instances are cut into tiles, and how many tiles are done.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <mutex>

#include "ring/ring.h"

namespace secfwt {

using Progress = std::function<void(u64 done, u64 total)>;

// Ranges that cover [0, n), none longer than `most`, as equal as can be.
class Ranges {
 public:
  Ranges(std::size_t n, std::size_t most) : n_(n), count_((n + most - 1) / most) {}
  std::size_t count() const { return count_; }
  std::size_t largest() const { return (n_ + count_ - 1) / count_; }
  std::size_t begin(std::size_t i) const { return n_ * i / count_; }
  std::size_t end(std::size_t i) const { return begin(i + 1); }

 private:
  std::size_t n_, count_;
};

// Candidates × examples cut into tiles of at most `most` pairs.
struct Cut {
  Ranges candidates, examples;
  std::size_t count() const { return candidates.count() * examples.count(); }
};

// So that the lane with most tiles has as few as can be, and then the largest tile as few pairs as can be: nine
// candidates are 9 × 8 pairs twice where 3 × 16 are three tiles, of which one lane has two. Then with few examples in a
// tile: each tile unpacks what is kept of its examples.
inline Cut cut(std::size_t candidates, std::size_t examples, std::size_t most, std::size_t lanes) {
  std::array<std::size_t, 4> best{};
  for (std::size_t n = Ranges(candidates, most).count(); n <= candidates; ++n) {
    const std::size_t rows = (candidates + n - 1) / n, columns = most / rows;
    const Cut tiles{Ranges(candidates, rows), Ranges(examples, columns)};
    const std::size_t pairs = tiles.candidates.largest() * tiles.examples.largest();
    const std::array<std::size_t, 4> each{(tiles.count() + lanes - 1) / lanes, pairs, columns, rows};
    if (best[0] == 0 || each < best) best = each;
  }
  return {Ranges(candidates, best[3]), Ranges(examples, best[2])};
}

// Tells how many tiles of all are done, whichever lane they were computed in.
class Counted {
 public:
  Counted(const Progress& progress, std::size_t total) : progress_(progress), total_(total) {}
  void one_done() {
    std::lock_guard<std::mutex> lock(mutex_);
    ++done_;
    if (progress_) progress_(done_, total_);
  }

 private:
  const Progress& progress_;
  std::size_t total_, done_ = 0;
  std::mutex mutex_;
};

}  // namespace secfwt
