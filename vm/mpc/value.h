// A value in memory: a batch of tensors, as one party holds it.
#pragma once

#include <cstddef>
#include <memory>

#include "mpc/program.h"
#include "mpc/replicated_product.h"
#include "mpc/shape.h"
#include "ring/memory.h"
#include "ring/ring.h"

namespace secfwt {

// Ring elements that several values may share: written once by whoever allocates them, then only read. Views keep the
// whole alive.
using Buffer = std::shared_ptr<u64[]>;

// Not initialised.
inline Buffer allocate(std::size_t words) {
  const std::size_t bytes = words * sizeof(u64);
  return Buffer(static_cast<u64*>(acquire(bytes)), [bytes](u64* p) { release(p, bytes); });
}
inline Buffer view(const Buffer& buffer, std::size_t offset) { return Buffer(buffer, buffer.get() + offset); }

// Shape [candidates, examples, *shape], 1 where it does not depend on them. `x[0]` is this party's component id (or its
// additive share, or the public value), `x[1]` component id+1 of a replicated value.
struct Value {
  Sharing sharing = Sharing::rep;
  std::size_t candidates = 1, examples = 1;
  Shape shape;
  Buffer x[2];
  // In place of `x`, for a right-hand factor that products alone read (`pack_factor`): each of its matrices as they
  // read it.
  std::shared_ptr<const std::vector<PackedParts>> packed;

  bool empty() const { return !x[0] && !packed; }
  int parts() const { return sharing == Sharing::rep ? 2 : 1; }
  std::size_t instance() const { return volume(shape); }
  std::size_t words() const { return candidates * examples * instance(); }
  // Batch axes and all, for broadcasting: [candidates, examples, 1 …, *shape] with `rank` instance axes.
  Shape full_shape(std::size_t rank) const;
  // Candidates [c0, c1) and examples [e0, e1), without a copy; an axis of length 1 stays as it is (it broadcasts). One
  // of the two axes must have length 1.
  Value slice(std::size_t c0, std::size_t c1, std::size_t e0, std::size_t e1) const;
};

// Uninitialised.
Value make_value(Sharing sharing, std::size_t candidates, std::size_t examples, Shape shape);

}  // namespace secfwt
