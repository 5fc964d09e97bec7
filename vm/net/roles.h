// The clients of a deployment: who they are.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "net/wire.h"

namespace secfwt {

// By the names in their certificates.
struct Roles {
  std::vector<std::string> owners{kDataOwner};  // bit i of a step's owners is the i-th
  std::string coordinator;                      // of several owners; empty: there is one, who asks for itself

  bool several() const { return !coordinator.empty(); }
  std::vector<std::string> clients() const;
  // Which of the clients this one is, the same number at all parties: one session is one client's everywhere.
  u64 number(const std::string& client) const;
  std::optional<std::size_t> owner(const std::string& name) const;
  // Some owners by name, for messages.
  std::string named(u64 owners) const;
  // What a client must present at HELLO: the program's hash; of several owners that of it and all names, so that nobody
  // is mistaken about who they are, and which bit is whose.
  Hash known(const Hash& program) const;
};

}  // namespace secfwt
