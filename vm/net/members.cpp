#include "net/members.h"

#include <utility>

namespace secfwt {
namespace {

constexpr auto kTold = std::chrono::seconds(1);  // for owners' hosts to take a few hundred bytes

bool lives(TlsStream& stream) try {
  u8 waste;
  return stream.read(&waste, 1) == 0;
} catch (const ConnectionLost&) {
  return false;
}

// Sends what the connection takes of the last `left` bytes; false where it has ended.
bool goes_on(TlsStream& stream, const std::vector<u8>& bytes, std::size_t& left) try {
  while (left > 0) {
    const std::size_t put = stream.write(bytes.data() + bytes.size() - left, left);
    if (put == 0) break;
    left -= put;
  }
  return true;
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

void Members::tell(u64 owners, const std::vector<u8>& frame) {
  std::map<std::size_t, std::size_t> left;  // bytes, by owner that has not taken all
  for (const auto& [owner, visitor] : connections_)
    if (owners >> owner & 1) left[owner] = frame.size();
  const auto deadline = Clock::now() + kTold;
  for (bool in_time = true; !left.empty();) {
    std::vector<pollfd> fds;
    for (auto at = left.begin(); at != left.end();) {
      auto& [owner, bytes] = *at;
      TlsStream& stream = connections_.at(owner).stream;
      const bool here = in_time && goes_on(stream, frame, bytes);
      if (here && bytes > 0) {
        fds.push_back({stream.fd(), stream.poll_events(), 0});
        ++at;
        continue;
      }
      if (!here) lose(owner);
      at = left.erase(at);
    }
    if (!fds.empty()) in_time = poll_until(fds.data(), fds.size(), deadline) && Clock::now() < deadline;
  }
}

void Members::lose(std::size_t owner) {
  connections_.erase(owner);
  silent_.push_back(owner);
}

void Members::add_to(std::vector<pollfd>& fds) const {
  for (const auto& [owner, visitor] : connections_)
    fds.push_back({visitor.stream.fd(), visitor.stream.poll_events(), 0});
}

}  // namespace secfwt
