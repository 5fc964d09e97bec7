// Shapes of tensors and numpy's broadcasting rule.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace secfwt {

using Shape = std::vector<std::size_t>;

// Number of elements.
inline std::size_t volume(const Shape& shape) {
  std::size_t n = 1;
  for (std::size_t dim : shape) n *= dim;
  return n;
}

// "24x384", as programs write it.
inline std::string text(const Shape& shape) {
  std::string out;
  for (std::size_t dim : shape) out += (out.empty() ? "" : "x") + std::to_string(dim);
  return out;
}

// The shape two shapes broadcast to, aligned at the right end; nothing if they do not.
inline std::optional<Shape> broadcast(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()));
  for (std::size_t i = 1; i <= out.size(); ++i) {
    const std::size_t x = i <= a.size() ? a[a.size() - i] : 1, y = i <= b.size() ? b[b.size() - i] : 1;
    if (x != y && x != 1 && y != 1) return std::nullopt;
    out[out.size() - i] = x == 1 ? y : x;
  }
  return out;
}

}  // namespace secfwt
