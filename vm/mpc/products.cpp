// Products: matrix products are cut into as few calls of the kernel as broadcasting allows.
#include "mpc/broadcast.h"
#include "mpc/local_ops.h"
#include "ring/gemm.h"

namespace secfwt {
namespace {

// `count` products of [m,k] and [k,n] matrices at the given offsets: one call of the kernel a pair of words.
struct Products {
  const Value& a;
  const Value& b;
  const Value& out;
  std::size_t k, n;

  void run(std::size_t at_a, std::size_t stride_a, std::size_t at_b, std::size_t stride_b, std::size_t at_out,
           std::size_t count, std::size_t m) const {
    u64* c = out.x[0].get() + at_out;
    if (b.layout) {
      const bool shares = b.parts() == 2;  // x0·(y0+y1) + x1·y0; else linear in a
      for (int p = 0; p < a.parts(); ++p)
        gemm_packed(*b.layout, a.x[p].get() + at_a, stride_a, b.x[shares ? p : 0].get() + at_b, stride_b,
                    out.x[shares ? 0 : p].get() + at_out, m * n, count, m, k, n, shares && p > 0);
      return;
    }
    if (a.parts() == 2 && b.parts() == 2) {
      gemm_shares(a.x[0].get() + at_a, a.x[1].get() + at_a, stride_a, b.x[0].get() + at_b, b.x[1].get() + at_b,
                  stride_b, c, m * n, count, m, k, n);
      return;
    }
    for (int p = 0; p < out.parts(); ++p)  // one side is public: linear in the other
      gemm_batch(a.x[a.parts() == 2 ? p : 0].get() + at_a, stride_a, b.x[b.parts() == 2 ? p : 0].get() + at_b, stride_b,
                 out.x[p].get() + at_out, m * n, count, m, k, n, false);
  }
};

Sharing product_sharing(const Value& a, const Value& b) {
  if (a.sharing == Sharing::pub) return b.sharing;
  return b.sharing == Sharing::pub ? a.sharing : Sharing::add;
}

}  // namespace

void pack_factor(Value& b) {
  const std::size_t k = b.shape[b.shape.size() - 2], n = b.shape.back();
  b.layout = packed_layout(k, n);
  if (!b.layout) return;
  if (b.parts() == 2)
    for (std::size_t i = 0; i < b.words(); ++i) {
      const u64 first = b.x[0][i];
      b.x[0][i] += b.x[1][i];
      b.x[1][i] = first;
    }
  for (int p = 0; p < b.parts(); ++p)
    for (std::size_t i = 0; i < b.words(); i += k * n) pack_in_place(*b.layout, b.x[p].get() + i, k, n);
}

Value matmul(const Value& a, const Value& b) {
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

  const Products products{a, b, out, k, n};
  for (std::size_t o = 0; o < outer; ++o) {
    std::size_t index = o, at_a = 0, at_b = 0;
    for (std::size_t d = nest.size(); d-- > 0; index /= nest[d].length) {
      at_a += index % nest[d].length * nest[d].stride_a;
      at_b += index % nest[d].length * nest[d].stride_b;
    }
    products.run(at_a, inner.stride_a, at_b, inner.stride_b, o * inner.length * m * n, inner.length, m);
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
