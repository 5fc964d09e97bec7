// The link to another party: one TLS connection, one thread that alone touches it. A message goes as the number of its
// channel and its length, u32 each, and its bytes.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "mpc/channel.h"
#include "net/tls.h"

namespace secfwt {

// What the links of one party share, so that whoever waits for one peer learns at once that the other is gone.
struct PeerGroup {
  std::mutex mutex;
  std::condition_variable changed;
  std::string lost;    // which peer was lost first, and how; empty while all is well
  std::string left;    // a peer that ended in an orderly way: most likely the consequence of a loss this party is about
                       // to notice itself
  bool ended = false;  // it is this party itself that goes
  Event event;         // readable when a peer is gone, or has sent something nobody waits for

  // Throws PeerLost if a peer is gone.
  void check();
  // Ends this party itself: everything that waits for a peer throws PeerLost with this text from now on.
  void end(const std::string& why);
};

// What a peer may send at all. One that goes beyond is treated as lost.
struct PeerLimits {
  u32 lanes;   // channels 1 to lanes, beside 0
  u32 bulk;    // channels from kBulk on
  u64 unread;  // bytes that nobody has waited for yet

  bool has(u32 channel) const { return channel >= Link::kBulk ? channel - Link::kBulk < bulk : channel <= lanes; }
};
constexpr auto kSign = std::chrono::seconds(1);      // between signs of life while there is nothing else to send
constexpr auto kSilence = std::chrono::seconds(20);  // after which a peer is stopped or hangs

class PeerLink;

class PeerChannel final : public Channel {
 public:
  PeerChannel(PeerLink& link, u32 number) : link_(link), number_(number) {}
  void send(Bytes bytes) override;
  void recv(void* out, std::size_t n) override;
  // Whether recv() of n bytes would return at once.
  bool ready(std::size_t n);

 private:
  friend PeerLink;

  PeerLink& link_;
  const u32 number_;

  // Guarded by the group's mutex.
  std::deque<Bytes> arrived_;  // received before anyone asked
  std::size_t arrived_bytes_ = 0, first_used_ = 0;
  u8* wanted_ = nullptr;  // where the waiting recv() wants the next bytes, and how many
  std::size_t wanted_bytes_ = 0;
  bool reading_ = false;  // the thread writes to `wanted_`
};

class PeerLink final : public Link {
 public:
  // `name` is how messages call the peer. The handshake is complete; the peer may be silent until `meeting`, and counts
  // as lost when it gives no sign of life for kSilence after that.
  PeerLink(TlsStream stream, std::string name, PeerGroup& group, const PeerLimits& limits, Clock::time_point meeting);
  // Sends what is queued (a second at most) and says goodbye.
  ~PeerLink() override;

  PeerChannel& channel(u32 number) override;
  // Tells the peer that this party is ended by its operator.
  void farewell();

 private:
  friend PeerChannel;

  // The head of a message on the wire.
  struct Head {
    u32 channel, length;
  };
  struct Outgoing {
    u32 channel = 0;
    Bytes bytes;
  };

  void send(u32 channel, Bytes bytes);
  void run();
  bool write_some();
  bool write_or_hear();
  bool next_message();
  void begin(u32 channel, Bytes bytes);
  bool read_some();
  void hear_head();
  void deliver(PeerChannel& channel, const u8* data, std::size_t n);
  void lose(const std::string& how, bool orderly);

  TlsStream stream_;
  const std::string name_;
  PeerGroup& group_;
  const PeerLimits limits_;
  Event wake_;

  // Guarded by group_.mutex.
  std::map<u32, PeerChannel> channels_;
  std::deque<Outgoing> urgent_, bulk_;
  std::size_t backlog_ = 0;  // bytes of bulk_
  u64 unread_ = 0;           // bytes that have arrived in all channels
  bool sleeping_ = false, stopping_ = false, writing_ = false, leaving_ = false;
  bool gone_ = false;  // nothing will be written any more

  // The thread's own. What is being written: the head and the first bytes from `start_`, the rest from the message.
  std::vector<u8> ahead_ = std::vector<u8>(256 << 10);
  std::vector<u8> start_;
  std::size_t start_sent_ = 0;
  Bytes current_;
  std::size_t current_sent_ = 0;
  // What is being read.
  Head head_{};
  std::size_t head_bytes_ = 0, left_ = 0;  // of the head so far; of the message still to come
  PeerChannel* reader_ = nullptr;
  TlsStream::Wait read_waits_ = TlsStream::Wait::nothing, write_waits_ = TlsStream::Wait::nothing;
  bool dismissed_ = false;                         // the peer said so
  Clock::time_point heard_, said_ = Clock::now();  // the last bytes of the peer, and to it
  std::thread thread_;
};

}  // namespace secfwt
