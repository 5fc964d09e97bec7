// Reliable ordered byte channels to one other party: a link holds any number of them.
#pragma once

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "ring/memory.h"
#include "ring/ring.h"

namespace secfwt {

// A message; resizing does not clear it.
using Bytes = std::vector<u8, Uninitialized<u8>>;

// The other end is gone: the party cannot go on.
struct PeerLost : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// One thread sends and one receives at a time.
class Channel {
 public:
  virtual ~Channel() = default;
  // Queues a message; never waits for the other side to read. Throws PeerLost.
  virtual void send(Bytes bytes) = 0;
  // Waits for exactly n bytes. Throws PeerLost.
  virtual void recv(void* out, std::size_t n) = 0;
  // Bytes of payload queued so far.
  u64 bytes_sent() const { return sent_; }

 protected:
  std::atomic<u64> sent_{0};
};

// All channels to one party. Thread-safe.
class Link {
 public:
  // Channels from here on carry what nobody waits for yet: it goes when there is nothing else to send, and send() waits
  // while much of it is queued.
  static constexpr u32 kBulk = u32{1} << 31;

  virtual ~Link() = default;
  // The two ends' channels of one number are connected. It lives as long as the link.
  virtual Channel& channel(u32 number) = 0;
};

}  // namespace secfwt
