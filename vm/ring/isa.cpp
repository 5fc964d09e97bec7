#include "ring/isa.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "ring/gemm_kernel.h"

namespace secfwt {
namespace {

constexpr Isa kIsas[] = {Isa::portable, Isa::avx2, Isa::avx512, Isa::amx};

bool has(Isa isa) {
  const auto& all = kernels();
  return std::any_of(all.begin(), all.end(), [isa](const GemmKernel* kernel) { return kernel->isa == isa; });
}

// Instruction sets, and kernels that are called otherwise.
std::string supported() {
  std::string names;
  const auto add = [&](const char* name) { names += (names.empty() ? "" : ", ") + std::string(name); };
  for (Isa isa : kIsas)
    if (has(isa)) add(isa_name(isa));
  for (const GemmKernel* kernel : kernels())
    if (std::string(kernel->name) != isa_name(kernel->isa)) add(kernel->name);
  return names;
}

struct Choice {
  std::atomic<Isa> isa{best_isa()};
  std::atomic<const GemmKernel*> kernel{nullptr};

  Choice() {
    const char* variable = std::getenv("SECFWT_ISA");
    const std::string name = variable ? variable : "";
    if (name.empty()) return;
    for (const GemmKernel* each : kernels()) {
      if (name == isa_name(each->isa)) {
        isa = each->isa;
        return;
      }
      if (name == each->name) {
        isa = each->isa;
        kernel = each;
        return;
      }
    }
    throw std::invalid_argument("SECFWT_ISA is \"" + name + "\"; this processor runs " + supported());
  }
};

Choice& chosen() {
  static Choice choice;
  return choice;
}

}  // namespace

Isa best_isa() {
  static const Isa best = [] {
    Isa last = Isa::portable;
    for (Isa isa : kIsas)
      if (has(isa)) last = isa;
    return last;
  }();
  return best;
}

Isa current_isa() { return chosen().isa.load(std::memory_order_relaxed); }

void set_isa(Isa isa) {
  if (!has(isa))
    throw std::invalid_argument("the " + std::string(isa_name(isa)) + " kernel was asked for; this processor runs " +
                                supported());
  chosen().isa = isa;
  chosen().kernel = nullptr;
}

const GemmKernel* required_kernel() { return chosen().kernel.load(std::memory_order_relaxed); }

void require_kernel(const GemmKernel& kernel) {
  chosen().isa = kernel.isa;
  chosen().kernel = &kernel;
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::amx:
      return "amx";
    default:
      return "portable";
  }
}

}  // namespace secfwt
