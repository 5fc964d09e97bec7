// Eight words are `bits` bytes when packed. Word j of them begins in byte j·bits/8, at bit s = j·bits mod 8. With eight
// bits or more no byte has more than one word's beginning: word j owns the bytes from its first to the one before word
// j+1's first, and
//
//   y_j = word_j ≪ s | word_(j−1) ≫ (bits − s)
//
// holds all bits of them, those that the word before left in its first byte included. One permutation of bytes puts
// them in place. Back: the eight bytes from where a word begins, ≫ s, hold it if bits <= 57; else its top bits are in
// the byte behind.
#include "ring/packing.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "ring/isa.h"

#if defined(__x86_64__)
#if !defined(__clang__)  // GCC 12's own headers trip these: PR 105593
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#endif

namespace secfwt {
namespace {

template <class R>
void pack_portable(const R* words, std::size_t n, int bits, u8* out) {
  const u64 mask = low_bits(bits);
  u64 buffer = 0;
  int held = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const u64 word = words[i] & mask;
    buffer |= word << held;
    held += bits;
    if (held < kWord) continue;
    std::memcpy(out, &buffer, 8);
    out += 8;
    held -= kWord;
    buffer = held > 0 ? word >> (bits - held) : 0;
  }
  std::memcpy(out, &buffer, static_cast<std::size_t>(held + 7) / 8);
}

template <class R>
void unpack_portable(const u8* in, std::size_t n, int bits, R* words) {
  const u64 mask = low_bits(bits);
  const std::size_t width = static_cast<std::size_t>(bits), size = packed_bytes(n, bits);
  std::size_t i = 0;
  if (bits <= 57)  // eight bytes hold a word whole
    for (; i * width / 8 + 8 <= size && i < n; ++i) {
      u64 word;
      std::memcpy(&word, in + i * width / 8, 8);
      words[i] = static_cast<R>(word >> (i * width % 8) & mask);
    }
  for (; i < n; ++i) {
    const std::size_t byte = i * width / 8, shift = i * width % 8;
    u8 window[16] = {};
    std::memcpy(window, in + byte, std::min<std::size_t>(sizeof window, size - byte));
    u64 low, high;
    std::memcpy(&low, window, 8);
    std::memcpy(&high, window + 8, 8);
    words[i] = static_cast<R>((low >> shift | (shift > 0 ? high << (64 - shift) : 0)) & mask);
  }
}

#if defined(__x86_64__)

constexpr int kGroup = 8;  // words

// Of the eight words: where they begin.
struct Layout {
  alignas(64) u64 left[8], right[8];             // s; and bits − s: what y_j is made of
  alignas(64) u8 gather[64], gather_behind[64];  // of the packed bytes, the eight of each word; and the ninth, behind
  alignas(64) u8 place[64];                      // of the bytes of y, those that are packed
  u64 behind;                                    // mask of the ninth bytes that are read: of bytes 0, 8 …
  // The same for pairs of words, each within sixteen bytes: of the packed bytes, and of two y's.
  alignas(32) u8 gather_pair[4][16], place_pair[4][16];
  std::size_t pair_begins[4];
};

Layout layout_of(int bits) {
  const std::size_t width = static_cast<std::size_t>(bits);
  const auto begins = [width](std::size_t j) { return j * width / 8; };
  Layout out{};
  for (std::size_t j = 0; j < 8; ++j) {
    out.left[j] = j * width % 8;
    out.right[j] = width - out.left[j];
    for (std::size_t i = 0; i < 8; ++i) out.gather[8 * j + i] = static_cast<u8>(begins(j) + i);
    out.gather_behind[8 * j] = static_cast<u8>(begins(j) + 8);
    if (out.left[j] + width > 64) out.behind |= u64{1} << (8 * j);
    for (std::size_t byte = begins(j); byte < begins(j + 1); ++byte)
      out.place[byte] = static_cast<u8>(8 * j + byte - begins(j));
  }
  for (std::size_t p = 0; p < 4; ++p) {
    const std::size_t first = out.pair_begins[p] = begins(2 * p);
    for (std::size_t i = 0; i < 16; ++i) {
      const std::size_t from = begins(2 * p + i / 8) - first + i % 8;
      out.gather_pair[p][i] = static_cast<u8>(from < 16 ? from : 0x80);  // 0x80: zero, a byte that no word reads
    }
    for (std::size_t j = 2 * p; j < 2 * p + 2; ++j)
      for (std::size_t byte = begins(j); byte < begins(j + 1); ++byte)
        out.place_pair[p][byte - first] = static_cast<u8>(j % 2 * 8 + byte - begins(j));
  }
  return out;
}

const Layout& layout(int bits) {
  static const std::array<Layout, kWord + 1> all = [] {
    std::array<Layout, kWord + 1> out{};
    for (int each = 1; each <= kWord; ++each) out[static_cast<std::size_t>(each)] = layout_of(each);
    return out;
  }();
  return all[static_cast<std::size_t>(bits)];
}

#define SECFWT_AVX512_BYTES __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi")))
#define SECFWT_AVX2 __attribute__((target("avx2")))

namespace avx512 {

SECFWT_AVX512_BYTES inline __m512i load(const u64* words) { return _mm512_loadu_si512(words); }
SECFWT_AVX512_BYTES inline __m512i load(const u32* words) {
  return _mm512_cvtepu32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)));
}
SECFWT_AVX512_BYTES inline void store(u64* words, __m512i x) { _mm512_storeu_si512(words, x); }
SECFWT_AVX512_BYTES inline void store(u32* words, __m512i x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), _mm512_cvtepi64_epi32(x));
}

// Whole groups, as long as a vector can be written without going beyond `size` bytes; how many words that were.
template <class R>
SECFWT_AVX512_BYTES std::size_t pack(const R* words, std::size_t n, int bits, u8* out, std::size_t size) {
  const Layout& at = layout(bits);
  const __m512i left = load(at.left), right = load(at.right), place = _mm512_load_si512(at.place);
  const __m512i mask = _mm512_set1_epi64(static_cast<i64>(low_bits(bits))), zero = _mm512_setzero_si512();
  std::size_t i = 0, byte = 0;
  for (; i + kGroup <= n && byte + 64 <= size; i += kGroup, byte += static_cast<std::size_t>(bits)) {
    const __m512i x = _mm512_and_si512(load(words + i), mask), before = _mm512_alignr_epi64(x, zero, 7);
    const __m512i y = _mm512_or_si512(_mm512_sllv_epi64(x, left), _mm512_srlv_epi64(before, right));
    _mm512_storeu_si512(out + byte, _mm512_permutexvar_epi8(place, y));
  }
  return i;
}

template <class R, bool Behind>
SECFWT_AVX512_BYTES std::size_t unpack(const u8* in, std::size_t n, int bits, R* words, std::size_t size) {
  const Layout& at = layout(bits);
  const __m512i gather = _mm512_load_si512(at.gather), right = load(at.left);
  const __m512i gather_behind = _mm512_load_si512(at.gather_behind);
  const __m512i left = _mm512_sub_epi64(_mm512_set1_epi64(64), right);
  const __m512i mask = _mm512_set1_epi64(static_cast<i64>(low_bits(bits)));
  std::size_t i = 0, byte = 0;
  for (; i + kGroup <= n && byte + 64 <= size; i += kGroup, byte += static_cast<std::size_t>(bits)) {
    const __m512i all = _mm512_loadu_si512(in + byte);
    __m512i x = _mm512_srlv_epi64(_mm512_permutexvar_epi8(gather, all), right);
    if (Behind)
      x = _mm512_or_si512(x, _mm512_sllv_epi64(_mm512_maskz_permutexvar_epi8(at.behind, gather_behind, all), left));
    store(words + i, _mm512_and_si512(x, mask));
  }
  return i;
}

}  // namespace avx512

namespace avx2 {

SECFWT_AVX2 inline __m256i load(const u64* words) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
}
SECFWT_AVX2 inline __m256i load(const u32* words) {
  return _mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)));
}
SECFWT_AVX2 inline void store(u64* words, __m256i x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), x); }
SECFWT_AVX2 inline void store(u32* words, __m256i x) {
  const __m256i low = _mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(words), _mm256_castsi256_si128(low));
}
SECFWT_AVX2 inline __m256i load_bytes(const u8 (*pair)[16]) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pair));
}

template <class R>
SECFWT_AVX2 std::size_t pack(const R* words, std::size_t n, int bits, u8* out, std::size_t size) {
  const Layout& at = layout(bits);
  const __m256i mask = _mm256_set1_epi64x(static_cast<i64>(low_bits(bits)));
  std::size_t i = 0, byte = 0;
  for (; i + kGroup <= n && byte + at.pair_begins[3] + 16 <= size;
       i += kGroup, byte += static_cast<std::size_t>(bits)) {
    __m256i last = _mm256_setzero_si256();
    for (std::size_t half = 0; half < 2; ++half) {
      const __m256i x = _mm256_and_si256(load(words + i + 4 * half), mask);
      // The last of the half before, and three of this one.
      const __m256i before = _mm256_alignr_epi8(x, _mm256_permute2x128_si256(last, x, 0x21), 8);
      const __m256i y = _mm256_or_si256(_mm256_sllv_epi64(x, load(at.left + 4 * half)),
                                        _mm256_srlv_epi64(before, load(at.right + 4 * half)));
      const __m256i z = _mm256_shuffle_epi8(y, load_bytes(at.place_pair + 2 * half));
      u8* const to = out + byte;
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + at.pair_begins[2 * half]), _mm256_castsi256_si128(z));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + at.pair_begins[2 * half + 1]), _mm256_extracti128_si256(z, 1));
      last = x;
    }
  }
  return i;
}

template <class R>
SECFWT_AVX2 std::size_t unpack(const u8* in, std::size_t n, int bits, R* words, std::size_t size) {
  if (bits > 57) return 0;
  const Layout& at = layout(bits);
  const __m256i mask = _mm256_set1_epi64x(static_cast<i64>(low_bits(bits)));
  std::size_t i = 0, byte = 0;
  for (; i + kGroup <= n && byte + at.pair_begins[3] + 16 <= size; i += kGroup, byte += static_cast<std::size_t>(bits))
    for (std::size_t half = 0; half < 2; ++half) {
      const auto pair = [&](std::size_t p) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + byte + at.pair_begins[p]));
      };
      const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(pair(2 * half)), pair(2 * half + 1), 1);
      const __m256i x =
          _mm256_srlv_epi64(_mm256_shuffle_epi8(both, load_bytes(at.gather_pair + 2 * half)), load(at.left + 4 * half));
      store(words + i + 4 * half, _mm256_and_si256(x, mask));
    }
  return i;
}

}  // namespace avx2

bool permutes_bytes() {
  static const bool can = __builtin_cpu_supports("avx512vbmi");
  return can && current_isa() >= Isa::avx512;
}

#endif

// Words that vectors have packed, or unpacked: a multiple of eight, so that the rest begins with a byte.
template <class R>
std::size_t pack_vectors(const R* words, std::size_t n, int bits, u8* out) {
#if defined(__x86_64__)
  const std::size_t size = packed_bytes(n, bits);
  if (bits < 8) return 0;
  if (permutes_bytes()) return avx512::pack(words, n, bits, out, size);
  if (current_isa() >= Isa::avx2) return avx2::pack(words, n, bits, out, size);
#endif
  return 0;
}

template <class R>
std::size_t unpack_vectors(const u8* in, std::size_t n, int bits, R* words) {
#if defined(__x86_64__)
  const std::size_t size = packed_bytes(n, bits);
  if (permutes_bytes() && bits > 57) return avx512::unpack<R, true>(in, n, bits, words, size);
  if (permutes_bytes()) return avx512::unpack<R, false>(in, n, bits, words, size);
  if (current_isa() >= Isa::avx2) return avx2::unpack(in, n, bits, words, size);
#endif
  return 0;
}

template <class R>
void pack(const R* words, std::size_t n, int bits, u8* out) {
  if (n == 0) return;
  if (bits == 8 * static_cast<int>(sizeof(R))) return static_cast<void>(std::memcpy(out, words, n * sizeof(R)));
  const std::size_t done = pack_vectors(words, n, bits, out);
  pack_portable(words + done, n - done, bits, out + packed_bytes(done, bits));
}

template <class R>
void unpack(const u8* in, std::size_t n, int bits, R* words) {
  if (n == 0) return;
  if (bits == 8 * static_cast<int>(sizeof(R))) return static_cast<void>(std::memcpy(words, in, n * sizeof(R)));
  const std::size_t done = unpack_vectors(in, n, bits, words);
  unpack_portable(in + packed_bytes(done, bits), n - done, bits, words + done);
}

}  // namespace

void pack_bits(const u64* words, std::size_t n, int bits, u8* out) { pack(words, n, bits, out); }
void pack_bits(const u32* words, std::size_t n, int bits, u8* out) { pack(words, n, bits, out); }
void unpack_bits(const u8* in, std::size_t n, int bits, u64* words) { unpack(in, n, bits, words); }
void unpack_bits(const u8* in, std::size_t n, int bits, u32* words) { unpack(in, n, bits, words); }

}  // namespace secfwt
