// Operations that a party does alone: linear ones on each word it holds, products of replicated values into additive
// shares. Broadcasting of batch axes and instance axes is numpy's (docs/program.md).
#pragma once

#include <vector>

#include "mpc/value.h"

namespace secfwt {

// a @ b mod 2^ring, instance axes as numpy.matmul. With an unbatched right side the batch becomes rows of one product.
Value matmul(const Value& a, const Value& b, int party, int ring);
// Packs b, of two instance axes or more, for matmul(a, b) in rings of at most `ring` bits with a replicated a (with
// any, where b is public); leaves it as it is where the kernel's layout does not suit it.
void pack_factor(Value& b, int party, int ring);
// a ∘ b.
Value mul(const Value& a, const Value& b);
// a + b or a − b at party `id` (which decides who adds a public value).
Value add(const Value& a, const Value& b, bool subtract, int id);
// factor · a.
Value scale(const Value& a, u64 factor);

// `axis` counts from the right of the instance shape, 1 is the last.
Value sum(const Value& a, std::size_t axis);
Value concat(const std::vector<Value>& inputs, std::size_t axis, int id);
Value slice(const Value& a, std::size_t axis, std::size_t lo, std::size_t hi);
// Writes rows [n, …] into a state [N, …] from row `at` on, and returns the state: the one operation that changes what
// is there.
Value append(const Value& state, const Value& rows, std::size_t at);
Value permute(const Value& a, const std::vector<std::size_t>& axes);
Value reshape(const Value& a, const Shape& shape);

// total [C, 1, shape] += the sum of a [C, E, shape] over examples.
void accumulate_examples(const Value& a, const Value& total);

}  // namespace secfwt
