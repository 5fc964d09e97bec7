// A party that its operator ends says so to the others before it goes: no loss, no crash, nothing to look for.
#pragma once

#include <functional>
#include <thread>

#include "net/socket.h"

namespace secfwt {

// While it lives, SIGTERM, SIGINT and SIGHUP call `farewell` in a thread of its own, in place of ending the process.
// Whoever was told then unwinds, and calls finish(); a process that computes for longer than three seconds ends as it
// is. One at a time.
class Ending {
 public:
  explicit Ending(std::function<void()> farewell);
  ~Ending();

 private:
  void run();

  const std::function<void()> farewell_;
  Event caught_, over_;
  std::thread thread_;  // last: it uses the others
};

// Ends the process by the signal that began its ending, if one did.
void finish_ending();

}  // namespace secfwt
