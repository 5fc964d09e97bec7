// Loops over two operands that broadcast to one result.
#pragma once

#include <vector>

#include "mpc/shape.h"
#include "ring/parallel.h"

namespace secfwt {

// One axis of a loop nest: how far a step along it moves in each operand (0: the operand broadcasts along it).
struct LoopAxis {
  std::size_t length, stride_a, stride_b;
};

// The loop nest for contiguous operands of shapes a and b whose result has shape `out`, outermost axis first:
// neighbours that step alike are merged, axes of length 1 dropped. At least one axis.
std::vector<LoopAxis> loop_nest(const Shape& out, const Shape& a, const Shape& b);

namespace detail {

template <std::size_t A, std::size_t B, class F>
void row(std::size_t o, std::size_t i, std::size_t j, std::size_t n, const F& f) {
  for (std::size_t k = 0; k < n; ++k) f(o + k, i + k * A, j + k * B);
}

}  // namespace detail

// f(o, i, j) for every element: its offsets in the result and in the two operands. Threaded.
template <class F>
void for_each_broadcast(const Shape& out, const Shape& a, const Shape& b, const F& f) {
  const std::vector<LoopAxis> nest = loop_nest(out, a, b);
  const LoopAxis inner = nest.back();
  parallel_for(volume(out), 16384, [&](std::size_t lo, std::size_t hi) {
    while (lo < hi) {
      const std::size_t within = lo % inner.length, n = std::min(hi - lo, inner.length - within);
      std::size_t index = lo / inner.length, i = within * inner.stride_a, j = within * inner.stride_b;
      for (std::size_t d = nest.size() - 1; d-- > 0; index /= nest[d].length) {
        i += index % nest[d].length * nest[d].stride_a;
        j += index % nest[d].length * nest[d].stride_b;
      }
      if (inner.stride_a != 0 && inner.stride_b != 0)
        detail::row<1, 1>(lo, i, j, n, f);
      else if (inner.stride_a != 0)
        detail::row<1, 0>(lo, i, j, n, f);
      else if (inner.stride_b != 0)
        detail::row<0, 1>(lo, i, j, n, f);
      else
        detail::row<0, 0>(lo, i, j, n, f);
      lo += n;
    }
  });
}

}  // namespace secfwt
