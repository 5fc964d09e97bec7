#include "net/options.h"

#include <algorithm>

#include "net/socket.h"

namespace secfwt {
namespace {

constexpr const char* kUsage =
    "usage: secfwt-vm --party 0|1|2 --program FILE --listen HOST:PORT --peer0 HOST:PORT --peer1 HOST:PORT --peer2 "
    "HOST:PORT\n"
    "                 --ca FILE --cert FILE --key FILE --threads N --lanes N --tile-words N --ahead-mb N "
    "--connect-timeout SECONDS\n"
    "                 --idle-timeout SECONDS --command-timeout SECONDS [--pins NAME=SHA256,...] [--stop-with-stdin]\n"
    "                 [--public-weights FILE] [--owners NAME,... --coordinator NAME]\n"
    "       secfwt-vm --describe\n"
    "exit codes: 0 stopped by the data owner, 2 cannot start, 3 another party is gone, 1 anything else";

constexpr std::array<const char*, 12> kTextOptions{
    "--program", "--listen", "--peer0", "--peer1",          "--peer2",  "--ca",
    "--cert",    "--key",    "--pins",  "--public-weights", "--owners", "--coordinator"};
constexpr std::array<const char*, 2> kSwitches{"--stop-with-stdin", "--describe"};

bool is_switch(const std::string& option) {
  return std::find(kSwitches.begin(), kSwitches.end(), option) != kSwitches.end();
}

bool takes_value(const std::string& option) {
  return std::find(kTextOptions.begin(), kTextOptions.end(), option) != kTextOptions.end() ||
         std::any_of(kNumberOptions.begin(), kNumberOptions.end(), [&](const auto& row) { return option == row.name; });
}

}  // namespace

Options::Options(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (is_switch(option)) {
      values_[option] = "";
    } else if (!takes_value(option)) {
      throw SetupError("unknown option " + option + "\n" + kUsage);
    } else if (i + 1 == argc) {
      throw SetupError(option + " needs a value\n" + kUsage);
    } else {
      values_[option] = argv[++i];
    }
  }
}

const std::string& Options::text(const std::string& option) const {
  const auto found = values_.find(option);
  if (found == values_.end()) throw SetupError(option + " is missing\n" + kUsage);
  return found->second;
}

u64 Options::number(const std::string& option) const {
  const auto& range = *std::find_if(kNumberOptions.begin(), kNumberOptions.end(),
                                    [&](const NumberOption& row) { return option == row.name; });
  const std::string& value = text(option);
  const bool digits = !value.empty() && value.size() < 19 && value.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || std::stoull(value) < range.least || std::stoull(value) > range.most)
    throw SetupError(option + " " + value + ": expected a number from " + std::to_string(range.least) + " to " +
                     std::to_string(range.most));
  return std::stoull(value);
}

}  // namespace secfwt
