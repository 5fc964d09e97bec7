#include "mpc/replicated_product.h"

#include <algorithm>

#include "mpc/task.h"
#include "ring/gemm_kernel.h"

namespace secfwt {
namespace {

constexpr std::size_t kWidth = 16;  // of every kernel's panels, or a multiple: no window cuts one

Role role_of(int party, int rotation) { return static_cast<Role>((party - rotation + 3) % 3); }

// The terms of a party's parts, each in its role's window.
std::vector<Term> terms(const u64* a0, const u64* a1, const u64* b0, const u64* b1, const PackedParts* packed,
                        const std::array<Window, 3>& by_role) {
  std::vector<Term> out;
  for (std::size_t i = 0; i < kParts.size(); ++i) {
    const Part& part = kParts[i];
    const Window& window = by_role[static_cast<std::size_t>(part.role)];
    if (window.columns == 0) continue;
    Term term{
        part.a0 ? a0 : a1, part.a0 && part.a1 ? a1 : nullptr, nullptr, nullptr, nullptr, window.first, window.columns,
        part.add};
    if (packed)
      term.packed = (*packed)[i].get();
    else
      term.b = part.b0 ? b0 : b1, term.b_plus = part.b0 && part.b1 ? b1 : nullptr;
    out.push_back(term);
  }
  return out;
}

}  // namespace

std::array<Window, 3> windows(std::size_t n, int party) {
  std::array<Window, 3> out{};
  const bool divided = n >= 3 * kWidth;
  const auto begin = [&](int t) {
    return t == 3 ? n : divided ? (third(n, t) + kWidth / 2) / kWidth * kWidth : t == 0 ? 0 : n;
  };
  for (int t = 0; t < 3; ++t) out[role_of(party, t)] = {begin(t), begin(t + 1) - begin(t)};
  return out;
}

PackedParts pack_parts(const u64* b0, const u64* b1, std::size_t k, std::size_t n, int party, int bits) {
  if (!b1) {
    PackedParts whole{PackedMatrix::make({b0, nullptr, n}, k, n, bits)};
    return whole[0] ? whole : PackedParts{};
  }
  const std::array<Window, 3> by_role = windows(n, party);
  PackedParts out(kParts.size());
  for (std::size_t i = 0; i < kParts.size(); ++i) {
    const Part& part = kParts[i];
    const Window& window = by_role[static_cast<std::size_t>(part.role)];
    if (window.columns == 0) continue;
    const Block b{part.b0 ? b0 : b1, part.b0 && part.b1 ? b1 : nullptr, n};
    out[i] = PackedMatrix::make(b.from(0, window.first), k, window.columns, bits);
    if (!out[i]) return {};
  }
  return out;
}

std::size_t packed_bytes(bool replicated, std::size_t k, std::size_t n, int party, int bits) {
  if (!replicated) return PackedMatrix::bytes(k, n, bits);
  const std::array<Window, 3> by_role = windows(n, party);
  std::size_t sum = 0;
  for (const Part& part : kParts) {
    const std::size_t columns = by_role[static_cast<std::size_t>(part.role)].columns;
    const std::size_t bytes = PackedMatrix::bytes(k, columns, bits);
    if (columns > 0 && bytes == 0) return 0;
    sum += bytes;
  }
  return sum;
}

void replicated_product(const u64* a0, const u64* a1, const u64* b0, const u64* b1, const PackedParts* packed, u64* c,
                        const Batch& batch, int party, int bits) {
  if (packed || batch.count < 3) {
    const std::vector<Term> all = terms(a0, a1, b0, b1, packed, windows(batch.n, party));
    return gemm_terms(all.data(), all.size(), c, batch, bits);
  }
  for (int t = 0; t < 3; ++t) {  // whole products, in one role each
    const std::size_t lo = third(batch.count, t), a = lo * batch.stride_a, b = lo * batch.stride_b;
    std::array<Window, 3> whole{};
    whole[role_of(party, t)] = {0, batch.n};
    Batch part = batch;
    part.count = third(batch.count, t + 1) - lo;
    const std::vector<Term> all = terms(a0 + a, a1 + a, b0 + b, b1 + b, nullptr, whole);
    gemm_terms(all.data(), all.size(), c + lo * batch.stride_c, part, bits);
  }
}

}  // namespace secfwt
