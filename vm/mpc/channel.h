// A reliable ordered byte channel to one other party.
#pragma once

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
  u64 sent_ = 0;
};

// Two ends of an in-memory channel, for simulations and tests.
std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>> memory_channel();

}  // namespace secfwt
