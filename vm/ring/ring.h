// The ring Z_2^64 and the few types everything else is written in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace secfwt {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
using Words = std::vector<u64>;

constexpr int kWord = 64;  // bits of a word, and of the widest ring

}  // namespace secfwt
