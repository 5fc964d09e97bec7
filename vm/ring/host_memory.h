// What this process may take of the machine.
#pragma once

#include <string>

#include "ring/ring.h"

namespace secfwt {

// Bytes of memory: the host's, or less where a control group of this process or one above it has a limit. `groups`
// lists the process's groups; below `mount` are their files (version 2), or those of the controller `memory` (version
// 1).
u64 usable_memory(const std::string& groups = "/proc/self/cgroup", const std::string& mount = "/sys/fs/cgroup");

}  // namespace secfwt
