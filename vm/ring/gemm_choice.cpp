// Which kernel is the fastest is measured: how many micro-operations an instruction takes differs between processors
// that have it.
#include <algorithm>
#include <array>
#include <chrono>
#include <mutex>

#include "ring/gemm_kernel.h"

namespace secfwt {
namespace {

constexpr std::size_t kRows = 48, kDepth = 256, kColumns = 64;  // a strip and a group of the driver's
constexpr double kWork = kRows * kDepth * kColumns;
constexpr int kRuns = 8, kManyRuns = 400;  // some 30 µs each: the shortest was not interrupted

// Repeated runs of one kernel.
class Trial {
 public:
  explicit Trial(const GemmKernel& kernel)
      : kernel(kernel), a_(kRows * kDepth * kernel.a_bytes / 8), b_(kColumns * kDepth * kernel.b_bytes / 8) {
    u64 next = 1;
    for (Words* words : {&a_, &b_})
      for (u64& word : *words) word = next *= 0x9e3779b97f4a7c15;
    c_.resize(kRows * kColumns);
    multiply();  // touches all pages
  }

  void multiply() {
    fastest_.multiply = std::max(
        fastest_.multiply,
        rate([&] { kernel.multiply(a_.data(), b_.data(), kDepth, c_.data(), kColumns, kRows, kColumns, false); }));
  }
  void products() {
    const std::size_t k = kRows * kDepth * kColumns / (kernel.rows * kernel.columns);
    fastest_.peak = std::max(fastest_.peak, rate([&] { kernel.products(k); }));
  }
  const KernelRate& fastest() const { return fastest_; }

  const GemmKernel& kernel;

 private:
  template <class Body>
  static double rate(const Body& body) {
    const auto begin = std::chrono::steady_clock::now();
    body();
    return kWork / 1e9 / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  Words a_, b_, c_;
  KernelRate fastest_{};
};

// An instruction set's kernels with their rates.
std::vector<Measured> rates(Isa isa) {
  std::vector<Trial> trials;
  for (const GemmKernel* kernel : kernels())
    if (kernel->isa == isa) trials.emplace_back(*kernel);
  for (int run = 0; run < kRuns; ++run)
    for (Trial& trial : trials) trial.multiply();
  std::vector<Measured> out;
  for (const Trial& trial : trials) out.push_back({&trial.kernel, trial.fastest().multiply});
  return out;
}

}  // namespace

KernelChoices choose_kernels(const std::vector<Measured>& rates) {
  KernelChoices out{};
  for (const Measured& each : rates)
    for (int bits = 1; bits <= each.kernel->bits; ++bits)
      if (each.rate > out[static_cast<std::size_t>(bits)].rate) out[static_cast<std::size_t>(bits)] = each;
  return out;
}

const std::vector<const GemmKernel*>& kernels() {
  static const std::vector<const GemmKernel*> all = [] {
    std::vector<const GemmKernel*> found{portable_kernel()};
#if defined(__x86_64__)
    for (const auto& kernel : {avx2_kernel, avx512_mullo_kernel, avx512_madd52_kernel, avx512_ifma_kernel})
      found.push_back(kernel());
#if defined(__linux__)
    for (int bytes = 4; bytes <= 8; ++bytes) found.push_back(amx_kernel(bytes));
#endif
#endif
    found.erase(std::remove(found.begin(), found.end(), nullptr), found.end());
    return found;
  }();
  return all;
}

const Measured& fastest_kernel(Isa isa, int bits) {
  static std::array<std::once_flag, 4> measured;
  static std::array<KernelChoices, 4> all;
  const auto i = static_cast<std::size_t>(isa);
  std::call_once(measured[i], [&] { all[i] = choose_kernels(rates(isa)); });
  return all[i][static_cast<std::size_t>(bits)];
}

const GemmKernel& current_kernel(int bits) {
  const GemmKernel* const required = required_kernel();
  return required && required->bits >= bits ? *required : *fastest_kernel(current_isa(), bits).kernel;
}

KernelRate measure(const GemmKernel& kernel) {
  Trial trial(kernel);
  for (int run = 0; run < kManyRuns; ++run) {
    trial.multiply();
    trial.products();
  }
  return trial.fastest();
}

}  // namespace secfwt
