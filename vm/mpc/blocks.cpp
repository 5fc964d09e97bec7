#include "mpc/blocks.h"

namespace secfwt {

void pack_bits(const u64* words, std::size_t n, int bits, u8* out) {
  const u64 mask = bits == 64 ? ~u64{0} : (u64{1} << bits) - 1;
  unsigned __int128 buffer = 0;
  int held = 0;
  for (std::size_t i = 0; i < n; ++i) {
    buffer |= static_cast<unsigned __int128>(words[i] & mask) << held;
    held += bits;
    if (held >= 64) {
      const u64 low = static_cast<u64>(buffer);
      std::memcpy(out, &low, 8);
      out += 8;
      buffer >>= 64;
      held -= 64;
    }
  }
  for (; held > 0; held -= 8, buffer >>= 8) *out++ = static_cast<u8>(buffer);
}

void unpack_bits(const u8* in, std::size_t n, int bits, u64* words) {
  const u64 mask = bits == 64 ? ~u64{0} : (u64{1} << bits) - 1;
  std::size_t left = (n * static_cast<std::size_t>(bits) + 7) / 8;
  unsigned __int128 buffer = 0;
  int held = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (held < bits) {
      u64 next = 0;
      const std::size_t take = std::min<std::size_t>(left, 8);
      std::memcpy(&next, in, take);
      in += take;
      left -= take;
      buffer |= static_cast<unsigned __int128>(next) << held;
      held += static_cast<int>(8 * take);
    }
    words[i] = static_cast<u64>(buffer) & mask;
    buffer >>= bits;
    held -= bits;
  }
}

}  // namespace secfwt
