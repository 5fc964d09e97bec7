// The command line of secfwt-vm.
#pragma once

#include <array>
#include <map>
#include <string>

#include "ring/ring.h"

namespace secfwt {

// An option that takes a number. None has a default: whoever starts a party says how it runs.
struct NumberOption {
  const char* name;
  u64 least, most;
};
inline constexpr std::array<NumberOption, 8> kNumberOptions{{
    {"--party", 0, 2},
    {"--threads", 1, 1024},
    {"--lanes", 1, 64},
    {"--tile-words", 1 << 10, u64{1} << 40},
    {"--ahead-mb", 0, 1 << 20},
    {"--connect-timeout", 1, 86400},
    {"--idle-timeout", 1, 86400},
    {"--command-timeout", 1, 86400},
}};

// Throws SetupError, here and below: what the user gave is not an option, is missing, or out of its range.
class Options {
 public:
  Options(int argc, char** argv);

  bool has(const std::string& option) const { return values_.count(option) > 0; }
  const std::string& text(const std::string& option) const;
  // One of kNumberOptions.
  u64 number(const std::string& option) const;

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace secfwt
