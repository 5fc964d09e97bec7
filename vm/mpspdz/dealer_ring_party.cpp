// The party of MP-SPDZ's `dealer-ring` protocol (dealer and computing parties, matrix triples) with our matrix product:
// the dealer's C = A·B, and what the others compute with the opened matrices.
#include "Protocols/DealerShare.h"
// Its headers depend on those before; comments keep clang-format from sorting across.
#include "Processor/Machine.hpp"
#include "Processor/RingMachine.hpp"
// The rest needs both.
#include "GC/DealerPrep.h"
#include "GC/SemiPrep.h"
#include "GC/SemiSecret.hpp"
#include "Protocols/Beaver.hpp"
#include "Protocols/Dealer.h"
#include "Protocols/DealerInput.hpp"
#include "Protocols/DealerMC.hpp"
#include "Protocols/DealerMatrixPrep.hpp"
#include "Protocols/DealerPrep.hpp"
#include "Protocols/MAC_Check_Base.hpp"
#include "Protocols/MalRepRingPrep.hpp"
#include "Protocols/Replicated.hpp"
#include "Protocols/ReplicatedPrep.hpp"
#include "Protocols/SemiInput.hpp"
#include "Protocols/SemiMC.hpp"
#include "Protocols/ShareMatrix.h"
#include "mpspdz/threads.h"
#include "ring/gemm.h"

namespace secfwt::mpspdz {

using Clear = SignedZ2<64>;
using Dealt = DealerShare<Clear>;

template <class R, class U, class V>
void multiply(ValueMatrix<R>& result, const ValueMatrix<U>& a, const ValueMatrix<V>& b) {
  static_assert(sizeof(R) == 8 && sizeof(U) == 8 && sizeof(V) == 8);
  if (a.n_cols != b.n_rows) throw std::invalid_argument("matrix product: inner sizes differ");
  result = ValueMatrix<R>(a.n_rows, b.n_cols);
  if (a.entries.v.empty() || b.entries.v.empty()) return;  // no entries: all are zero
  result.entries.init();
  const auto words = [](auto& matrix) { return matrix.entries.v.data()->get(); };
  gemm(words(a), words(b), const_cast<mp_limb_t*>(words(result)), a.n_rows, a.n_cols, b.n_cols, false);
}

}  // namespace secfwt::mpspdz

using secfwt::mpspdz::Clear;
using secfwt::mpspdz::Dealt;

template <>
template <>
void ValueMatrix<Clear>::mul(const ValueMatrix<Clear>& a, const ValueMatrix<Clear>& b) {
  secfwt::mpspdz::multiply(*this, a, b);
}

template <>
template <>
void ValueMatrix<Dealt>::mul(const ValueMatrix<Clear>& a, const ValueMatrix<Dealt>& b) {
  secfwt::mpspdz::multiply(*this, a, b);
}

template <>
template <>
void ValueMatrix<Dealt>::mul(const ValueMatrix<Dealt>& a, const ValueMatrix<Clear>& b) {
  secfwt::mpspdz::multiply(*this, a, b);
}

int main(int argc, const char** argv) {
  secfwt::mpspdz::set_threads_from_environment();
  HonestMajorityRingMachine<DealerRingShare, DealerShare>(argc, argv, 0);
}
