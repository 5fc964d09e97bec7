// One body a kernel, compiled for each instruction set; the one of current_isa() runs. A kernel is a struct whose
// operator() is SECFWT_INLINE. The parties' processors may differ, the bits may not: integers, or floats without fused
// multiply-adds (-ffp-contract=off), one operation rounded at a time.
#pragma once

#include "ring/isa.h"

#define SECFWT_INLINE inline __attribute__((always_inline))

namespace secfwt {
namespace detail {

#if defined(__x86_64__) && defined(__GNUC__)
template <class Kernel, class... Args>
__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw"))) void run_avx512(const Kernel& kernel, Args... args) {
  kernel(args...);
}
template <class Kernel, class... Args>
__attribute__((target("avx2"))) void run_avx2(const Kernel& kernel, Args... args) {
  kernel(args...);
}
#endif

}  // namespace detail

template <class Kernel, class... Args>
void run_variant(const Kernel& kernel, Args... args) {
#if defined(__x86_64__) && defined(__GNUC__)
  const Isa isa = current_isa();
  if (isa == Isa::avx512 || isa == Isa::amx) return detail::run_avx512(kernel, args...);
  if (isa == Isa::avx2) return detail::run_avx2(kernel, args...);
#endif
  kernel(args...);
}

}  // namespace secfwt
