// The party of MP-SPDZ's `ring` protocol (semi-honest replicated sharing among three) with our matrix product.
#include "Machines/RepRing.hpp"
#include "Processor/RingMachine.hpp"
#include "Protocols/Rep3Share2k.h"
#include "mpspdz/matrix_product.h"
#include "mpspdz/threads.h"

namespace secfwt::mpspdz {

using ReplicatedShare = Rep3Share2<64>;

// A party's additive share of a replicated product.
class Local {
 public:
  Local(const Components<ReplicatedShare>& x, const Components<ReplicatedShare>& y, const Sizes& s)
      : sums_(s.rows * s.columns) {
    gemm_shares(x[0].data(), x[1].data(), y[0].data(), y[1].data(), sums_.data(), s.rows, s.inner, s.columns);
  }

  void give(ReplicatedShare::Protocol& protocol, std::size_t i) const {
    protocol.prepare_reshare(ReplicatedShare::clear(sums_[i]));
  }

 private:
  Words sums_;
};

}  // namespace secfwt::mpspdz

using secfwt::mpspdz::ReplicatedShare;

template <>
void SubProcessor<ReplicatedShare>::matmulsm(const MemoryPart<ReplicatedShare>& memory, const vector<int>& arguments) {
  secfwt::mpspdz::multiply_in_memory<secfwt::mpspdz::Local>(*this, memory, arguments);
  maybe_check();
}

int main(int argc, const char** argv) {
  secfwt::mpspdz::set_threads_from_environment();
  HonestMajorityRingMachine<Rep3Share2, Rep3Share>(argc, argv);
}
