// A small thread pool: parallel loops over index ranges.
#pragma once

#include <cstddef>
#include <functional>

namespace secfwt {

// Number of threads that parallel_for uses, the caller's included. Set once, before the first loop.
void set_threads(unsigned n);
unsigned threads();

// Calls body(lo, hi) on disjoint ranges that cover [0, n), none shorter than `grain` but the last. Returns when all are
// done. Exceptions thrown by body are rethrown here. Safe to call from several threads: loops share the pool. A loop
// within a loop runs inline.
void parallel_for(std::size_t n, std::size_t grain, const std::function<void(std::size_t, std::size_t)>& body);

}  // namespace secfwt
