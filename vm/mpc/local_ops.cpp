#include "mpc/local_ops.h"

#include <algorithm>
#include <cstring>

#include "mpc/broadcast.h"
#include "ring/parallel.h"

namespace secfwt {
namespace {

constexpr std::size_t kGrain = 16384;  // elements worth a thread's while

Sharing joined(Sharing a, Sharing b) {
  if (a == Sharing::add || b == Sharing::add) return Sharing::add;
  return a == Sharing::rep || b == Sharing::rep ? Sharing::rep : Sharing::pub;
}

// Word `part` of v when it is taken as a value of sharing `target` at party `id`; nullptr stands for zero.
const u64* word(const Value& v, Sharing target, int part, int id) {
  if (v.sharing == target) return v.x[part].get();
  if (v.sharing == Sharing::rep) return v.x[0].get();    // component id is an additive share
  return (id + part) % 3 == 0 ? v.x[0].get() : nullptr;  // public: component 0, or party 0's share
}

// The instance axes around one axis of a value: `outer` counts batches as well.
struct Around {
  std::size_t outer, length, inner;

  Around(const Value& v, std::size_t axis)
      : outer(v.candidates * v.examples), length(v.shape[v.shape.size() - axis]), inner(1) {
    for (std::size_t d = 0; d < v.shape.size(); ++d) {
      if (d < v.shape.size() - axis) outer *= v.shape[d];
      if (d > v.shape.size() - axis) inner *= v.shape[d];
    }
  }
};

std::size_t grain(std::size_t row) { return std::max<std::size_t>(1, kGrain / std::max<std::size_t>(row, 1)); }

}  // namespace

Value add(const Value& a, const Value& b, bool subtract, int id) {
  static const u64 zero = 0;
  const std::size_t rank = std::max(a.shape.size(), b.shape.size());
  const Shape full_a = a.full_shape(rank), full_b = b.full_shape(rank), full = *broadcast(full_a, full_b);
  Value out = make_value(joined(a.sharing, b.sharing), full[0], full[1], Shape(full.begin() + 2, full.end()));
  for (int p = 0; p < out.parts(); ++p) {
    const u64 *x = word(a, out.sharing, p, id), *y = word(b, out.sharing, p, id);
    const Shape shape_x = x ? full_a : Shape{}, shape_y = y ? full_b : Shape{};
    if (!x) x = &zero;
    if (!y) y = &zero;
    u64* z = out.x[p].get();
    if (subtract)
      for_each_broadcast(full, shape_x, shape_y,
                         [=](std::size_t o, std::size_t i, std::size_t j) { z[o] = x[i] - y[j]; });
    else
      for_each_broadcast(full, shape_x, shape_y,
                         [=](std::size_t o, std::size_t i, std::size_t j) { z[o] = x[i] + y[j]; });
  }
  return out;
}

Value scale(const Value& a, u64 factor) {
  Value out = make_value(a.sharing, a.candidates, a.examples, a.shape);
  for (int p = 0; p < out.parts(); ++p) {
    const u64* x = a.x[p].get();
    u64* z = out.x[p].get();
    parallel_for(a.words(), kGrain, [=](std::size_t lo, std::size_t hi) {
      for (std::size_t i = lo; i < hi; ++i) z[i] = x[i] * factor;
    });
  }
  return out;
}

Value sum(const Value& a, std::size_t axis) {
  const Around in(a, axis);
  Shape shape = a.shape;
  shape[shape.size() - axis] = 1;
  Value out = make_value(a.sharing, a.candidates, a.examples, shape);
  for (int p = 0; p < out.parts(); ++p) {
    const u64* x = a.x[p].get();
    u64* z = out.x[p].get();
    parallel_for(in.outer, grain(in.length * in.inner), [&](std::size_t lo, std::size_t hi) {
      for (std::size_t r = lo; r < hi; ++r) {
        const u64* rows = x + r * in.length * in.inner;
        u64* total = z + r * in.inner;
        std::copy(rows, rows + in.inner, total);
        for (std::size_t l = 1; l < in.length; ++l)
          for (std::size_t i = 0; i < in.inner; ++i) total[i] += rows[l * in.inner + i];
      }
    });
  }
  return out;
}

Value concat(const std::vector<Value>& inputs, std::size_t axis, int id) {
  Sharing sharing = inputs[0].sharing;
  std::size_t candidates = 1, examples = 1, length = 0;
  for (const Value& v : inputs) {
    sharing = joined(sharing, v.sharing);
    candidates = std::max(candidates, v.candidates);
    examples = std::max(examples, v.examples);
    length += Around(v, axis).length;
  }
  Shape shape = inputs[0].shape;
  shape[shape.size() - axis] = length;
  Value out = make_value(sharing, candidates, examples, shape);
  const Around to(out, axis);
  const std::size_t rows = to.outer / (candidates * examples);  // of one instance
  std::size_t at = 0;
  for (const Value& v : inputs) {
    const std::size_t width = Around(v, axis).length * to.inner;
    for (int p = 0; p < out.parts(); ++p) {
      const u64* x = word(v, sharing, p, id);
      u64* z = out.x[p].get() + at;
      parallel_for(to.outer, grain(width), [&](std::size_t lo, std::size_t hi) {
        for (std::size_t r = lo; r < hi; ++r) {
          const std::size_t candidate = r / (rows * examples), example = r / rows % examples;
          const std::size_t batch = (v.candidates > 1 ? candidate : 0) * v.examples + (v.examples > 1 ? example : 0);
          u64* target = z + r * to.length * to.inner;
          if (x)
            std::memcpy(target, x + (batch * rows + r % rows) * width, width * sizeof(u64));
          else
            std::memset(target, 0, width * sizeof(u64));
        }
      });
    }
    at += width;
  }
  return out;
}

Value slice(const Value& a, std::size_t axis, std::size_t lo, std::size_t hi) {
  const Around in(a, axis);
  Shape shape = a.shape;
  shape[shape.size() - axis] = hi - lo;
  Value out = make_value(a.sharing, a.candidates, a.examples, shape);
  const std::size_t width = (hi - lo) * in.inner;
  for (int p = 0; p < out.parts(); ++p) {
    const u64* x = a.x[p].get() + lo * in.inner;
    u64* z = out.x[p].get();
    parallel_for(in.outer, grain(width), [&](std::size_t first, std::size_t last) {
      for (std::size_t r = first; r < last; ++r)
        std::memcpy(z + r * width, x + r * in.length * in.inner, width * sizeof(u64));
    });
  }
  return out;
}

Value append(const Value& state, const Value& rows, std::size_t at) {
  const std::size_t row = state.instance() / state.shape[0], written = rows.instance();
  for (int p = 0; p < state.parts(); ++p)
    for (std::size_t e = 0; e < state.examples; ++e)
      std::copy_n(rows.x[p].get() + (rows.examples > 1 ? e : 0) * written, written,
                  state.x[p].get() + e * state.instance() + at * row);
  return state;
}

Value reshape(const Value& a, const Shape& shape) {
  Value out = a;
  out.shape = shape;
  return out;
}

Value permute(const Value& a, const std::vector<std::size_t>& axes) {
  // Strides of the input's axes, in the output's order.
  const std::size_t rank = axes.size();
  std::vector<std::size_t> strides(rank, 1);
  for (std::size_t d = rank; d-- > 1;) strides[d - 1] = strides[d] * a.shape[d];
  Shape shape;
  std::vector<std::size_t> steps;
  for (std::size_t axis : axes) {
    shape.push_back(a.shape[axis]);
    steps.push_back(strides[axis]);
  }
  Value out = make_value(a.sharing, a.candidates, a.examples, shape);
  const std::size_t length = shape.back(), step = steps.back(), instance = a.instance();
  for (int p = 0; p < out.parts(); ++p) {
    const u64* x = a.x[p].get();
    u64* z = out.x[p].get();
    parallel_for(a.words() / length, grain(length), [&](std::size_t lo, std::size_t hi) {
      for (std::size_t r = lo; r < hi; ++r) {
        std::size_t index = r, from = 0;
        for (std::size_t d = rank - 1; d-- > 0; index /= shape[d]) from += index % shape[d] * steps[d];
        from += index * instance;
        for (std::size_t i = 0; i < length; ++i) z[r * length + i] = x[from + i * step];
      }
    });
  }
  return out;
}

void accumulate_examples(const Value& a, const Value& total) {
  const std::size_t instance = a.instance();
  for (int p = 0; p < a.parts(); ++p) {
    const u64* x = a.x[p].get();
    u64* z = total.x[p].get();
    parallel_for(a.candidates, grain(a.examples * instance), [&](std::size_t lo, std::size_t hi) {
      for (std::size_t c = lo; c < hi; ++c)
        for (std::size_t e = 0; e < a.examples; ++e)
          for (std::size_t i = 0; i < instance; ++i) z[c * instance + i] += x[(c * a.examples + e) * instance + i];
    });
  }
}

}  // namespace secfwt
