// The additive shares of a product of replicated matrices, in five ring products where nine pairs of components meet.
//
// In terms of the roles' components (mpc/task.h: LEFT holds 0 and 1, RIGHT 1 and 2, HELPER 2 and 0) Σ x_i·y_j is
//
//   LEFT     (x0 + x1)·(y0 + y1)
//   RIGHT    x1·y2 + x2·(y1 + y2)
//   HELPER   x2·y0 + x0·y2
//
// LEFT has one product, the others two: the roles rotate over thirds of the result. Nothing is sent, and what comes of
// it is masked before it leaves as every additive share is.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "ring/gemm.h"

namespace secfwt {

// One ring product of a role: which of the party's two words of each factor meet, added up where both do.
struct Part {
  int role;
  bool a0, a1, b0, b1;
  bool add;  // to what the part before it made
};
// Neighbours share their left factor.
inline constexpr std::array<Part, 5> kParts{{
    {0, true, true, true, true, false},
    {1, true, false, false, true, false},
    {2, true, false, false, true, false},
    {1, false, true, true, true, true},
    {2, false, true, true, false, true},
}};

// Columns in which a party has a role.
struct Window {
  std::size_t first, columns;
};
// By role; narrow matrices are not divided.
std::array<Window, 3> windows(std::size_t n, int party);

// A replicated matrix that stays, at one party: what its parts read of it, null where they have no columns. A public
// one has one part, all of it.
using PackedParts = std::vector<std::shared_ptr<const PackedMatrix>>;
// `b1` is null for a public matrix. Empty where the kernel's layout does not suit it.
PackedParts pack_parts(const u64* b0, const u64* b1, std::size_t k, std::size_t n, int party, int bits);
// Of all of them: 0 where there are none.
std::size_t packed_bytes(bool replicated, std::size_t k, std::size_t n, int party, int bits);

// C = this party's share of A·B mod 2^bits, A = (a0, a1); B = (b0, b1), or its parts.
void replicated_product(const u64* a0, const u64* a1, const u64* b0, const u64* b1, const PackedParts* packed, u64* c,
                        const Batch& batch, int party, int bits);

}  // namespace secfwt
