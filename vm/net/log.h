// One line on the standard error stream, whole even when several threads write.
#pragma once

#include <cstdio>
#include <string>

namespace secfwt {

inline void log_line(const std::string& text) {
  const std::string line = text + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace secfwt
