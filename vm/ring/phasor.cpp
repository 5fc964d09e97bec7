#include "ring/phasor.h"

#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace secfwt {
namespace {

using i128 = __int128;

constexpr int kOne = 60;                  // fixed point: 2^60 is 1
constexpr i64 kPi = 3622009729038561421;  // round(π·2^60)
constexpr std::size_t kEntries = 65536;   // entries a turn
constexpr std::size_t kEighth = kEntries / 8;

struct Wide {
  i64 re, im;
};

// cos and sin of π·num/2^shift for angles in [0, π/4]: Taylor series with nested divisions, error below 2^-54.
Wide taylor(u64 num, int shift) {
  const i64 x = static_cast<i64>((static_cast<i128>(kPi) * static_cast<i128>(num)) >> shift);
  const i64 x2 = static_cast<i64>((static_cast<i128>(x) * x) >> kOne);
  i64 re = i64{1} << kOne, im = re;
  for (int j = 20; j >= 2; j -= 2) {  // 1 − x²/(j(j−1)) (1 − …)
    re = (i64{1} << kOne) - static_cast<i64>(((static_cast<i128>(re) * x2) >> kOne) / (j * (j - 1)));
    im = (i64{1} << kOne) - static_cast<i64>(((static_cast<i128>(im) * x2) >> kOne) / (j * (j + 1)));
  }
  return {re, static_cast<i64>((static_cast<i128>(im) * x) >> kOne)};
}

i32 rounded(i64 value, int shift) { return static_cast<i32>((value + (i64{1} << (shift - 1))) >> shift); }

// One eighth of the circle, reflected: the table has the circle's symmetries to the last bit.
std::vector<Phasor> circle(int bits) {
  std::vector<Phasor> table(kEntries);
  constexpr std::size_t quarter = kEntries / 4;
  for (std::size_t j = 0; j <= kEighth; ++j) {
    const Wide p = taylor(j, 15);
    const i32 re = rounded(p.re, kOne - bits), im = j == kEighth ? re : rounded(p.im, kOne - bits);
    table[j] = {re, im};
    table[quarter - j] = {im, re};
  }
  for (std::size_t j = quarter; j < kEntries; ++j) table[j] = {-table[j - quarter].im, table[j - quarter].re};
  return table;
}

void check_bits(int bits, int most = 30) {
  if (bits < 0 || bits > most)
    throw std::invalid_argument("phasor: bits is " + std::to_string(bits) + ", must be 0 to " + std::to_string(most));
}

}  // namespace

const Phasor* phasor_table(int bits) {
  check_bits(bits);
  static std::once_flag built[31];
  static std::vector<Phasor> tables[31];
  std::call_once(built[bits], [bits] { tables[bits] = circle(bits); });
  return tables[bits].data();
}

const u32* short_phasor_table(int bits) {
  check_bits(bits, kShortBits);
  static std::once_flag built[kShortBits + 1];
  static std::vector<u32> tables[kShortBits + 1];
  std::call_once(built[bits], [bits] {
    const Phasor* table = phasor_table(bits);
    for (std::size_t j = 0; j < kEntries; ++j)
      tables[bits].push_back((static_cast<u32>(table[j].re) & 0xffff) | static_cast<u32>(table[j].im) << 16);
  });
  return tables[bits].data();
}

Phasor phasor32(u32 angle, int bits) {
  check_bits(bits);
  static const Phasor* const coarse = phasor_table(30);
  return turned(coarse, angle, bits);
}

}  // namespace secfwt
