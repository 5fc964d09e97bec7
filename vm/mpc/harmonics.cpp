#include "mpc/harmonics.h"

#include <cstring>

// One body a kernel, compiled for each instruction set; the processor's best one runs. Results are the same bits:
// integers throughout, but for `amplitudes`, which one party computes.
#if defined(__x86_64__) && defined(__GNUC__)
#define SECFWT_VARIANTS 1
#define SECFWT_AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw")))
#define SECFWT_AVX2 __attribute__((target("avx2")))
#endif

namespace secfwt {
namespace {

#define SECFWT_INLINE inline __attribute__((always_inline))

struct LookUp {
  const Phasor* table;
  SECFWT_INLINE void operator()(const u16* angles, u32 m, std::size_t n, i32* re, i32* im) const {
    for (std::size_t i = 0; i < n; ++i) {
      const u32 at = m * angles[i] & 0xffff;
      re[i] = table[at].re;
      im[i] = table[at].im;
    }
  }
};

struct AddReal {
  template <class R>
  SECFWT_INLINE void operator()(const i32* re, const i32* im, const R* c_re, const R* c_im, std::size_t n,
                                R* sum) const {
    for (std::size_t i = 0; i < n; ++i)
      sum[i] += static_cast<R>(i64{re[i]}) * c_re[i] - static_cast<R>(i64{im[i]}) * c_im[i];
  }
};

struct AddImag {
  template <class R>
  SECFWT_INLINE void operator()(const i32* re, const i32* im, const R* c_re, const R* c_im, std::size_t n,
                                R* sum) const {
    for (std::size_t i = 0; i < n; ++i)
      sum[i] += static_cast<R>(i64{re[i]}) * c_im[i] + static_cast<R>(i64{im[i]}) * c_re[i];
  }
};

// Nearest integer of |x| < 2^51: adding 1.5·2^52 leaves it in the low bits of the mantissa.
SECFWT_INLINE u64 nearest(double x) {
  constexpr double magic = 6755399441055744.0;
  const double sum = x + magic;
  u64 bits, offset;
  std::memcpy(&bits, &sum, 8);
  std::memcpy(&offset, &magic, 8);
  return bits - offset;
}

struct Amplitudes {
  template <class R>
  SECFWT_INLINE void operator()(const i32* re, const i32* im, double a_re, double a_im, std::size_t n, R* c_re,
                                R* c_im) const {
    for (std::size_t i = 0; i < n; ++i) {
      const double x = re[i], y = im[i];
      c_re[i] = static_cast<R>(nearest(a_re * x + a_im * y));
      c_im[i] = static_cast<R>(nearest(a_im * x - a_re * y));
    }
  }
};

#ifdef SECFWT_VARIANTS
enum class Level { baseline, avx2, avx512 };

Level best_level() {
  static const Level level = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                                     __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")
                                 ? Level::avx512
                             : __builtin_cpu_supports("avx2") ? Level::avx2
                                                              : Level::baseline;
  return level;
}

template <class Kernel, class... Args>
SECFWT_AVX512 void run_avx512(const Kernel& kernel, Args... args) {
  kernel(args...);
}
template <class Kernel, class... Args>
SECFWT_AVX2 void run_avx2(const Kernel& kernel, Args... args) {
  kernel(args...);
}
template <class Kernel, class... Args>
void run(const Kernel& kernel, Args... args) {
  switch (best_level()) {
    case Level::avx512:
      return run_avx512(kernel, args...);
    case Level::avx2:
      return run_avx2(kernel, args...);
    case Level::baseline:
      return kernel(args...);
  }
}
#else
template <class Kernel, class... Args>
void run(const Kernel& kernel, Args... args) {
  kernel(args...);
}
#endif

}  // namespace

void phasors(const u16* angles, u32 m, int bits, std::size_t n, i32* re, i32* im) {
  run(LookUp{phasor_table(bits)}, angles, m, n, re, im);
}

void phasors(const u32* angles, u32 m, int bits, std::size_t n, i32* re, i32* im) {
  for (std::size_t i = 0; i < n; ++i) {
    const Phasor p = phasor32(m * angles[i], bits);
    re[i] = p.re;
    im[i] = p.im;
  }
}

void add_real(const i32* re, const i32* im, const u32* c_re, const u32* c_im, std::size_t n, u32* sum) {
  run(AddReal{}, re, im, c_re, c_im, n, sum);
}
void add_real(const i32* re, const i32* im, const u64* c_re, const u64* c_im, std::size_t n, u64* sum) {
  run(AddReal{}, re, im, c_re, c_im, n, sum);
}
void add_imag(const i32* re, const i32* im, const u32* c_re, const u32* c_im, std::size_t n, u32* sum) {
  run(AddImag{}, re, im, c_re, c_im, n, sum);
}
void add_imag(const i32* re, const i32* im, const u64* c_re, const u64* c_im, std::size_t n, u64* sum) {
  run(AddImag{}, re, im, c_re, c_im, n, sum);
}

void amplitudes(const i32* re, const i32* im, double a_re, double a_im, std::size_t n, u32* c_re, u32* c_im) {
  run(Amplitudes{}, re, im, a_re, a_im, n, c_re, c_im);
}
void amplitudes(const i32* re, const i32* im, double a_re, double a_im, std::size_t n, u64* c_re, u64* c_im) {
  run(Amplitudes{}, re, im, a_re, a_im, n, c_re, c_im);
}

}  // namespace secfwt
