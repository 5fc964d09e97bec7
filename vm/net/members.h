// The connections of those of several data owners who have shared their examples and stay.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "net/doorman.h"

namespace secfwt {

class Members {
 public:
  // From now on the connection is this owner's; one that it had is closed.
  void add(std::size_t owner, Visitor visitor);
  bool here(std::size_t owner) const { return connections_.count(owner) > 0; }
  std::optional<Visitor> remove(std::size_t owner);
  std::vector<Visitor> remove_all();
  // Those whose connection has ended, or who have sent something, which they must not, since this was last asked: they
  // are no members any more.
  std::vector<std::size_t> gone();
  // The same to some owners, bit by bit, at the same time: those that have not taken it after a second are gone,
  // however many they are.
  void tell(u64 owners, const std::vector<u8>& frame);
  void add_to(std::vector<pollfd>& fds) const;

 private:
  void lose(std::size_t owner);

  std::map<std::size_t, Visitor> connections_;
  std::vector<std::size_t> silent_;  // did not take what they were told
};

}  // namespace secfwt
