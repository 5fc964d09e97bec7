// Tables that give values of an enum their names in texts.
#pragma once

#include <cstddef>

namespace secfwt {

template <class T>
struct Named {
  T value;
  const char* name;
};

// The row of a value that has one; `rows` have a `value` each.
template <class Rows, class T>
constexpr const auto& row_of(const Rows& rows, T value) {
  std::size_t i = 0;
  while (rows[i].value != value) ++i;
  return rows[i];
}

}  // namespace secfwt
