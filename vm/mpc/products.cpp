// Products: matrix products are cut into as few calls of the kernel as broadcasting allows.
#include <utility>

#include "mpc/broadcast.h"
#include "mpc/local_ops.h"
#include "ring/gemm.h"

namespace secfwt {
namespace {

// `count` products of [m,k] and [k,n] matrices at the given offsets.
struct Products {
  const Value& a;
  const Value& b;
  const Value& out;
  int party, ring;

  void run(std::size_t at_a, std::size_t at_b, std::size_t at_out, Batch batch) const {
    if (b.packed && batch.stride_b != 0) {  // matrices that were packed each by itself
      const std::size_t matrices = std::exchange(batch.count, 1), step = std::exchange(batch.stride_b, 0);
      for (std::size_t i = 0; i < matrices; ++i)
        run(at_a + i * batch.stride_a, at_b + i * step, at_out + i * batch.stride_c, batch);
      return;
    }
    const PackedParts* const packed = b.packed ? &(*b.packed)[at_b / (batch.k * batch.n)] : nullptr;
    const auto right = [&](int p) { return packed ? nullptr : b.x[b.parts() == 2 ? p : 0].get() + at_b; };
    if (a.parts() == 2 && b.parts() == 2)
      return replicated_product(a.x[0].get() + at_a, a.x[1].get() + at_a, right(0), right(1), packed,
                                out.x[0].get() + at_out, batch, party, ring);
    for (int p = 0; p < out.parts(); ++p) {  // one side is public: linear in the other
      const u64* const left = a.x[a.parts() == 2 ? p : 0].get() + at_a;
      const Term term{left, nullptr, right(p), nullptr, packed ? packed->front().get() : nullptr, 0, batch.n, false};
      gemm_terms(&term, 1, out.x[p].get() + at_out, batch, ring);
    }
  }
};

Sharing product_sharing(const Value& a, const Value& b) {
  if (a.sharing == Sharing::pub) return b.sharing;
  return b.sharing == Sharing::pub ? a.sharing : Sharing::add;
}

}  // namespace

void pack_factor(Value& b, int party, int ring) {
  const std::size_t k = b.shape[b.shape.size() - 2], n = b.shape.back();
  auto matrices = std::make_shared<std::vector<PackedParts>>();
  for (std::size_t at = 0; at < b.words(); at += k * n) {
    const u64* const second = b.parts() == 2 ? b.x[1].get() + at : nullptr;
    matrices->push_back(pack_parts(b.x[0].get() + at, second, k, n, party, ring));
    if (matrices->back().empty()) return;
  }
  b.x[0] = b.x[1] = nullptr;
  b.packed = std::move(matrices);
}

Value matmul(const Value& a, const Value& b, int party, int ring) {
  // Vectors become matrices for the time being.
  Shape sa = a.shape, sb = b.shape;
  const bool row = sa.size() == 1, column = sb.size() == 1;
  if (row) sa.insert(sa.begin(), 1);
  if (column) sb.push_back(1);
  std::size_t m = sa[sa.size() - 2];
  const std::size_t k = sa.back(), n = sb.back();

  const std::size_t rank = std::max(sa.size(), sb.size()) - 2;  // of the batch axes within an instance
  const auto batch = [rank](const Value& v, const Shape& shape) {
    Shape full{v.candidates, v.examples};
    full.resize(2 + rank - (shape.size() - 2), 1);
    full.insert(full.end(), shape.begin(), shape.end() - 2);
    return full;
  };
  const Shape batch_a = batch(a, sa), batch_b = batch(b, sb), batches = *broadcast(batch_a, batch_b);
  Shape shape(batches.begin() + 2, batches.end());
  if (!row) shape.push_back(m);
  if (!column) shape.push_back(n);
  if (shape.empty()) shape.push_back(1);
  Value out = make_value(product_sharing(a, b), batches[0], batches[1], shape);

  std::vector<LoopAxis> nest = loop_nest(batches, batch_a, batch_b);
  for (LoopAxis& axis : nest) {  // from matrices to elements
    axis.stride_a *= m * k;
    axis.stride_b *= k * n;
  }
  if (nest.back().stride_b == 0) {  // the same right side for all: their rows make one tall matrix
    m *= nest.back().length;
    nest.pop_back();
  }
  const LoopAxis inner = nest.empty() ? LoopAxis{1, 0, 0} : nest.back();
  if (!nest.empty()) nest.pop_back();
  std::size_t outer = 1;
  for (const LoopAxis& axis : nest) outer *= axis.length;

  const Products products{a, b, out, party, ring};
  for (std::size_t o = 0; o < outer; ++o) {
    std::size_t index = o, at_a = 0, at_b = 0;
    for (std::size_t d = nest.size(); d-- > 0; index /= nest[d].length) {
      at_a += index % nest[d].length * nest[d].stride_a;
      at_b += index % nest[d].length * nest[d].stride_b;
    }
    products.run(at_a, at_b, o * inner.length * m * n, {inner.length, m, k, n, inner.stride_a, inner.stride_b, m * n});
  }
  return out;
}

Value mul(const Value& a, const Value& b) {
  const std::size_t rank = std::max(a.shape.size(), b.shape.size());
  const Shape full_a = a.full_shape(rank), full_b = b.full_shape(rank), full = *broadcast(full_a, full_b);
  Value out = make_value(product_sharing(a, b), full[0], full[1], Shape(full.begin() + 2, full.end()));
  if (a.parts() == 2 && b.parts() == 2) {
    const u64 *x0 = a.x[0].get(), *x1 = a.x[1].get(), *y0 = b.x[0].get(), *y1 = b.x[1].get();
    u64* z = out.x[0].get();
    for_each_broadcast(full, full_a, full_b, [=](std::size_t o, std::size_t i, std::size_t j) {
      z[o] = x0[i] * (y0[j] + y1[j]) + x1[i] * y0[j];
    });
    return out;
  }
  for (int p = 0; p < out.parts(); ++p) {
    const u64 *x = a.x[a.parts() == 2 ? p : 0].get(), *y = b.x[b.parts() == 2 ? p : 0].get();
    u64* z = out.x[p].get();
    for_each_broadcast(full, full_a, full_b, [=](std::size_t o, std::size_t i, std::size_t j) { z[o] = x[i] * y[j]; });
  }
  return out;
}

}  // namespace secfwt
