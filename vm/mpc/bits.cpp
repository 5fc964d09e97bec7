#include "mpc/bits.h"

#include <algorithm>
#include <cstring>

#include "ring/variants.h"

namespace secfwt {
namespace {

// Bits i … i+63 of a packed sequence of n, as far as there are any.
SECFWT_INLINE u64 load(const u8* bits, std::size_t i, std::size_t n) {
  u64 word = 0;
  std::memcpy(&word, bits + i / 8, std::min<std::size_t>(8, (n - i + 7) / 8));
  return word;
}

// body(i + j, j) for j < 64, as long as i + j < n. Whole words have a constant length, which becomes vectors.
template <class Body>
SECFWT_INLINE void each_of_word(std::size_t i, std::size_t n, const Body& body) {
  if (n - i >= 64)
    for (std::size_t j = 0; j < 64; ++j) body(i + j, j);
  else
    for (std::size_t j = 0; i + j < n; ++j) body(i + j, j);
}

SECFWT_INLINE u64 bit(u64 word, std::size_t j) { return word >> j & 1; }
SECFWT_INLINE u64 not_top_bit(u64 x, int ring) { return ~x >> (ring - 1) & 1; }
// −x if the bit is 1, x if it is 0: in two's complement −x = ¬x + 1, and ⊕ with −1 is ¬.
SECFWT_INLINE u64 negate_if(u64 bit, u64 x) { return (x ^ -bit) + bit; }

struct MaskedTopBits {
  SECFWT_INLINE void operator()(u64* a, std::size_t n, int ring, u64 offset, const u8* pad, u8* out) const {
    const u64 mask = low_bits(ring);
    for (std::size_t i = 0; i < n; i += 64) {
      u64 bits = 0;
      each_of_word(i, n, [&](std::size_t at, std::size_t j) {
        a[at] = (a[at] + offset) & mask;
        bits |= not_top_bit(a[at], ring) << j;
      });
      bits ^= load(pad, i, n);
      std::memcpy(out + i / 8, &bits, std::min<std::size_t>(8, (n - i + 7) / 8));
    }
  }
};

// σ = (1−2d)(1−2e) is −1 where d ⊕ e = 1, else 1. `rq` is a share of r·q, `uv` the share of u·v that follows.

// uv = e·u + σ·rq, a = (a ≫ shift) − (1 − uv)·2^(ring−shift).
struct ShiftLeftSummand {
  SECFWT_INLINE void operator()(u64* a, std::size_t n, int ring, int shift, const u8* r_bits, const u8* e_bits,
                                const u64* rq) const {
    for (std::size_t i = 0; i < n; i += 64) {
      const u64 r_word = load(r_bits, i, n), e_word = load(e_bits, i, n);
      each_of_word(i, n, [&](std::size_t at, std::size_t j) {
        const u64 u = not_top_bit(a[at], ring), d = u ^ bit(r_word, j), e = bit(e_word, j);
        const u64 uv = e * u + negate_if(d ^ e, rq[at]);
        a[at] = (a[at] >> shift) - ((1 - uv) << (ring - shift));
      });
    }
  }
};

// uv = d·(v−e) + σ·rq, b = (b ≫ shift) + uv·2^(ring−shift).
struct ShiftRightSummand {
  SECFWT_INLINE void operator()(u64* b, std::size_t n, int ring, int shift, const u8* q_bits, const u8* d_bits,
                                const u64* rq) const {
    for (std::size_t i = 0; i < n; i += 64) {
      const u64 q_word = load(q_bits, i, n), d_word = load(d_bits, i, n);
      each_of_word(i, n, [&](std::size_t at, std::size_t j) {
        const u64 v = not_top_bit(b[at], ring), e = v ^ bit(q_word, j), d = bit(d_word, j);
        const u64 uv = d * (v - e) + negate_if(d ^ e, rq[at]);
        b[at] = (b[at] >> shift) + (uv << (ring - shift));
      });
    }
  }
};

}  // namespace

void masked_top_bits(u64* a, std::size_t n, int ring, u64 offset, const u8* pad, u8* out) {
  run_variant(MaskedTopBits{}, a, n, ring, offset, pad, out);
}

void shift_left_summand(u64* a, std::size_t n, int ring, int shift, const u8* r, const u8* e, const u64* rq) {
  run_variant(ShiftLeftSummand{}, a, n, ring, shift, r, e, rq);
}

void shift_right_summand(u64* b, std::size_t n, int ring, int shift, const u8* q, const u8* d, const u64* rq) {
  run_variant(ShiftRightSummand{}, b, n, ring, shift, q, d, rq);
}

}  // namespace secfwt
