// How instances are cut into tiles, and how many tiles are done.
#pragma once

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
  std::size_t begin(std::size_t i) const { return n_ * i / count_; }
  std::size_t end(std::size_t i) const { return begin(i + 1); }

 private:
  std::size_t n_, count_;
};

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
