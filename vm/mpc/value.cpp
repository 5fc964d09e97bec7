#include "mpc/value.h"

#include <utility>

namespace secfwt {

Shape Value::full_shape(std::size_t rank) const {
  Shape full{candidates, examples};
  full.resize(2 + rank - shape.size(), 1);
  full.insert(full.end(), shape.begin(), shape.end());
  return full;
}

Value Value::slice(std::size_t c0, std::size_t c1, std::size_t e0, std::size_t e1) const {
  Value out = *this;
  const std::size_t first = (candidates > 1 ? c0 : 0) * examples + (examples > 1 ? e0 : 0);
  if (candidates > 1) out.candidates = c1 - c0;
  if (examples > 1) out.examples = e1 - e0;
  for (int p = 0; p < parts() && !packed; ++p) out.x[p] = view(x[p], first * instance());
  return out;
}

Value make_value(Sharing sharing, std::size_t candidates, std::size_t examples, Shape shape) {
  Value value;
  value.sharing = sharing;
  value.candidates = candidates;
  value.examples = examples;
  value.shape = std::move(shape);
  for (int p = 0; p < value.parts(); ++p) value.x[p] = allocate(value.words());
  return value;
}

}  // namespace secfwt
