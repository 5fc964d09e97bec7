#pragma once

#include <array>

#include "ring/ring.h"

namespace secfwt {

using Hash = std::array<u8, 32>;  // SHA-256

}  // namespace secfwt
