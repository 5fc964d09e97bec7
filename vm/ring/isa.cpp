#include "ring/isa.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "ring/gemm_kernel.h"

namespace secfwt {
namespace {

constexpr Isa kIsas[] = {Isa::portable, Isa::avx2, Isa::avx512, Isa::amx};

std::string supported() {
  std::string names;
  for (Isa isa : kIsas)
    if (kernel_of(isa)) names += (names.empty() ? "" : ", ") + std::string(isa_name(isa));
  return names;
}

Isa initial_isa() {
  const char* name = std::getenv("SECFWT_ISA");
  if (!name || !*name) return best_isa();
  for (Isa isa : kIsas)
    if (name == std::string(isa_name(isa)) && kernel_of(isa)) return isa;
  throw std::invalid_argument("SECFWT_ISA is \"" + std::string(name) + "\"; this processor runs " + supported());
}

std::atomic<Isa>& chosen() {
  static std::atomic<Isa> isa{initial_isa()};
  return isa;
}

}  // namespace

const GemmKernel* kernel_of(Isa isa) {
  switch (isa) {
    case Isa::portable:
      return portable_kernel();
#if defined(__x86_64__)
    case Isa::avx2:
      return avx2_kernel();
    case Isa::avx512:
      return avx512_kernel();
#if defined(__linux__)
    case Isa::amx:
      return amx_kernel();
#endif
#endif
    default:
      return nullptr;
  }
}

Isa best_isa() {
  static const Isa best = [] {
    Isa last = Isa::portable;
    for (Isa isa : kIsas)
      if (kernel_of(isa)) last = isa;
    return last;
  }();
  return best;
}

Isa current_isa() { return chosen().load(std::memory_order_relaxed); }

void set_isa(Isa isa) {
  if (!kernel_of(isa))
    throw std::invalid_argument("the " + std::string(isa_name(isa)) + " kernel was asked for; this processor runs " +
                                supported());
  chosen() = isa;
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
