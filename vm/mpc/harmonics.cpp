#include "mpc/harmonics.h"

#include <cstring>

#include "ring/variants.h"

namespace secfwt {
namespace {

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

// From the table of 16-bit halves: one load a phasor, and half as much of the cache.
struct LookUpShort {
  const u32* table;
  SECFWT_INLINE void operator()(const u16* angles, u32 m, std::size_t n, i32* re, i32* im) const {
    for (std::size_t i = 0; i < n; ++i) {
      const i32 both = static_cast<i32>(table[m * angles[i] & 0xffff]);
      re[i] = static_cast<i16>(both);
      im[i] = both >> 16;
    }
  }
};

struct Turn {
  const Phasor* coarse;
  SECFWT_INLINE void operator()(const u32* angles, u32 m, int bits, std::size_t n, i32* re, i32* im) const {
    for (std::size_t i = 0; i < n; ++i) {
      const Phasor p = turned(coarse, m * angles[i], bits);
      re[i] = p.re;
      im[i] = p.im;
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

}  // namespace

void phasors(const u16* angles, u32 m, int bits, std::size_t n, i32* re, i32* im) {
  if (bits <= kShortBits)
    run_variant(LookUpShort{short_phasor_table(bits)}, angles, m, n, re, im);
  else
    run_variant(LookUp{phasor_table(bits)}, angles, m, n, re, im);
}

void phasors(const u32* angles, u32 m, int bits, std::size_t n, i32* re, i32* im) {
  run_variant(Turn{phasor_table(30)}, angles, m, bits, n, re, im);
}

void add_real(const i32* re, const i32* im, const u32* c_re, const u32* c_im, std::size_t n, u32* sum) {
  run_variant(AddReal{}, re, im, c_re, c_im, n, sum);
}
void add_real(const i32* re, const i32* im, const u64* c_re, const u64* c_im, std::size_t n, u64* sum) {
  run_variant(AddReal{}, re, im, c_re, c_im, n, sum);
}
void add_imag(const i32* re, const i32* im, const u32* c_re, const u32* c_im, std::size_t n, u32* sum) {
  run_variant(AddImag{}, re, im, c_re, c_im, n, sum);
}
void add_imag(const i32* re, const i32* im, const u64* c_re, const u64* c_im, std::size_t n, u64* sum) {
  run_variant(AddImag{}, re, im, c_re, c_im, n, sum);
}

void amplitudes(const i32* re, const i32* im, double a_re, double a_im, std::size_t n, u32* c_re, u32* c_im) {
  run_variant(Amplitudes{}, re, im, a_re, a_im, n, c_re, c_im);
}
void amplitudes(const i32* re, const i32* im, double a_re, double a_im, std::size_t n, u64* c_re, u64* c_im) {
  run_variant(Amplitudes{}, re, im, a_re, a_im, n, c_re, c_im);
}

}  // namespace secfwt
