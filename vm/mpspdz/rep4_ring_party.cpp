// The party of MP-SPDZ's `rep4-ring` protocol (maliciously secure, four parties, Dalskov et al. 2021) with our matrix
// product.
#include "Machines/Rep.hpp"
#include "Machines/Rep4.hpp"
#include "Processor/RingMachine.hpp"
#include "Protocols/RepRingOnlyEdabitPrep.hpp"
#include "mpspdz/matrix_product.h"
#include "mpspdz/threads.h"

namespace secfwt::mpspdz {

using ReplicatedShare = Rep4Share2<64>;

// A party has three of the four components, which it numbers from 0, and computes three sums of products:
// x₀y₀ + x₁y₀ + x₀y₁, the same of components 1 and 2, and x₀y₂ + x₂y₀.
class Local {
 public:
  Local(const Components<ReplicatedShare>& x, const Components<ReplicatedShare>& y, const Sizes& s)
      : first_(s.rows * s.columns), second_(first_.size()), cross_(first_.size()) {
    const auto neighbours = [&](std::size_t c, Words& sums) {
      gemm_shares(x[c].data(), x[c + 1].data(), y[c].data(), y[c + 1].data(), sums.data(), s.rows, s.inner, s.columns);
    };
    neighbours(0, first_);
    neighbours(1, second_);
    const auto product = [&](const Words& a, const Words& b, bool accumulate) {
      gemm(a.data(), b.data(), cross_.data(), s.rows, s.inner, s.columns, accumulate);
    };
    product(x[0], y[2], false);
    product(x[2], y[0], true);
  }

  // The protocol takes these sums from its own scalar product alone. With x = (1, 0, 1) they are y₀ + y₁, y₁ and
  // y₂ + y₀: give it the y that makes them ours.
  void give(ReplicatedShare::Protocol& protocol, std::size_t i) const {
    ReplicatedShare x, y;
    x[0] = x[2] = 1;
    y[0] = first_[i] - second_[i];
    y[1] = second_[i];
    y[2] = cross_[i] - first_[i] + second_[i];
    protocol.prepare_dotprod(x, y);
    protocol.next_dotprod();
  }

 private:
  Words first_, second_, cross_;
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
  HonestMajorityRingMachine<Rep4Share2, Rep4Share>(argc, argv, 4);
}
