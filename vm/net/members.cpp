#include "net/members.h"

#include <utility>

namespace secfwt {
namespace {

constexpr auto kTold = std::chrono::seconds(1);  // for an owner's host to take a few hundred bytes

bool lives(TlsStream& stream) try {
  u8 waste;
  return stream.read(&waste, 1) == 0;
} catch (const ConnectionLost&) {
  return false;
}

}  // namespace

void Members::add(std::size_t owner, Visitor visitor) {
  connections_.erase(owner);
  connections_.emplace(owner, std::move(visitor));
}

std::optional<Visitor> Members::remove(std::size_t owner) {
  const auto found = connections_.find(owner);
  if (found == connections_.end()) return {};
  Visitor visitor = std::move(found->second);
  connections_.erase(found);
  return visitor;
}

std::vector<Visitor> Members::remove_all() {
  std::vector<Visitor> all;
  for (auto& [owner, visitor] : std::exchange(connections_, {})) all.push_back(std::move(visitor));
  return all;
}

std::vector<std::size_t> Members::gone() {
  std::vector<std::size_t> ended = std::exchange(silent_, {});
  for (auto& [owner, visitor] : connections_)
    if (!lives(visitor.stream)) ended.push_back(owner);
  for (const std::size_t owner : ended) connections_.erase(owner);
  return ended;
}

void Members::tell(std::size_t owner, const std::vector<u8>& frame) {
  const auto found = connections_.find(owner);
  if (found == connections_.end()) return;
  try {
    found->second.stream.write_all(frame.data(), frame.size(), kTold);
  } catch (const ConnectionLost&) {
    connections_.erase(found);
    silent_.push_back(owner);
  }
}

void Members::add_to(std::vector<pollfd>& fds) const {
  for (const auto& [owner, visitor] : connections_)
    fds.push_back({visitor.stream.fd(), visitor.stream.poll_events(), 0});
}

}  // namespace secfwt
