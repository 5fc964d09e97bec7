#include "mpc/broadcast.h"

namespace secfwt {

std::vector<LoopAxis> loop_nest(const Shape& out, const Shape& a, const Shape& b) {
  std::vector<LoopAxis> nest;  // innermost first
  std::size_t size_a = 1, size_b = 1;
  for (std::size_t r = 1; r <= out.size(); ++r) {
    const std::size_t length = out[out.size() - r];
    const std::size_t dim_a = r <= a.size() ? a[a.size() - r] : 1, dim_b = r <= b.size() ? b[b.size() - r] : 1;
    const LoopAxis axis{length, dim_a == 1 ? 0 : size_a, dim_b == 1 ? 0 : size_b};
    size_a *= dim_a;
    size_b *= dim_b;
    if (length == 1) continue;
    const bool merges = !nest.empty() && axis.stride_a == nest.back().stride_a * nest.back().length &&
                        axis.stride_b == nest.back().stride_b * nest.back().length;
    if (merges)
      nest.back().length *= length;
    else
      nest.push_back(axis);
  }
  if (nest.empty()) nest.push_back({1, 0, 0});
  return {nest.rbegin(), nest.rend()};
}

}  // namespace secfwt
