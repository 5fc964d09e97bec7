// Links within a process, for simulations and tests.
#pragma once

#include <chrono>
#include <utility>

#include "mpc/channel.h"

namespace secfwt {

// What a simulated connection does to messages, each way. The default does nothing.
struct Network {
  std::chrono::duration<double> latency{0};  // one way
  double bytes_per_second = 0;               // 0: no limit
};

class MemoryLink : public Link {
 public:
  // All channels of both ends throw PeerLost from now on, once what has arrived is read. So does destruction.
  virtual void close() = 0;
};

// Two ends.
std::pair<std::unique_ptr<MemoryLink>, std::unique_ptr<MemoryLink>> memory_link(Network network = {});

}  // namespace secfwt
