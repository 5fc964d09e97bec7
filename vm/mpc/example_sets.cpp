#include "mpc/example_sets.h"

#include <algorithm>

namespace secfwt {

std::size_t SideBySide::count() const {
  std::size_t n = 0;
  for (const ExampleSet* set : sets_) n += set->count;
  return n;
}

Value SideBySide::slice(std::size_t value, std::size_t e0, std::size_t e1) const {
  Value out;
  std::size_t begin = 0;  // of a set, among all examples
  for (const ExampleSet* set : sets_) {
    const Value& all = set->values[value];
    const std::size_t lo = std::max(e0, begin), hi = std::min(e1, begin + set->count);
    if (lo < hi) {
      const std::size_t first = (lo - begin) * all.instance(), words = (hi - lo) * all.instance();
      if (lo == e0 && hi == e1) {
        out = all;
        out.examples = hi - lo;
        for (int p = 0; p < out.parts(); ++p) out.x[p] = view(all.x[p], first);
        return out;
      }
      if (out.empty()) out = make_value(all.sharing, 1, e1 - e0, all.shape);
      for (int p = 0; p < out.parts(); ++p)
        std::copy_n(all.x[p].get() + first, words, out.x[p].get() + (lo - e0) * all.instance());
    }
    begin += set->count;
  }
  return out;
}

}  // namespace secfwt
