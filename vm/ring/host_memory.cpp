#include "ring/host_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace secfwt {
namespace {

// The number in a file; all there is where there is no such file, or the word `max`.
u64 limit_in(const std::string& path) {
  std::ifstream file(path);
  u64 bytes;
  return file >> bytes ? bytes : ~u64{0};
}

// The smallest limit of a group and all above it. In a container the path may be the host's: its own group is the root.
u64 least_limit(const std::string& mount, std::string group, const char* name) {
  u64 least = limit_in(mount + "/" + name);
  for (; group.size() > 1; group.erase(group.find_last_of('/')))
    least = std::min(least, limit_in(mount + group + "/" + name));
  return least;
}

}  // namespace

u64 usable_memory(const std::string& groups, const std::string& mount) {
  u64 least = static_cast<u64>(sysconf(_SC_PHYS_PAGES)) * static_cast<u64>(sysconf(_SC_PAGESIZE));
  std::ifstream file(groups);
  for (std::string line; std::getline(file, line);) {  // number:controllers:/group
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") least = std::min(least, least_limit(mount, group, "memory.max"));
    if (controllers.find(",memory,") != std::string::npos)
      least = std::min(least, least_limit(mount + "/memory", group, "memory.limit_in_bytes"));
  }
  return least;
}

}  // namespace secfwt
