// The channel to another party: one TLS connection, one thread that alone touches it.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "mpc/channel.h"
#include "net/tls.h"

namespace secfwt {

// What the channels of one party share, so that whoever waits for one peer learns at once that the other is gone.
struct PeerGroup {
  std::mutex mutex;
  std::condition_variable changed;
  std::string lost;  // which peer was lost first, and how; empty while all is well
  std::string left;  // a peer that ended in an orderly way: most likely the consequence of a loss this party is about
                     // to notice itself
  Event event;       // readable when a peer is gone, or has sent something nobody waits for

  // Throws PeerLost if a peer is gone.
  void check();
};

class PeerChannel final : public Channel {
 public:
  // `name` is how messages call the peer. The handshake is complete.
  PeerChannel(TlsStream stream, std::string name, PeerGroup& group);
  // Sends what is queued (a second at most) and says goodbye.
  ~PeerChannel() override;

  void send(Bytes bytes) override;
  void recv(void* out, std::size_t n) override;
  // Whether recv() of n bytes would return at once.
  bool ready(std::size_t n);

 private:
  void run();
  bool write_some();
  bool read_some();
  void deliver(const u8* data, std::size_t n);
  void lose(const std::string& how, bool orderly);
  void wake_locked();

  TlsStream stream_;
  const std::string name_;
  PeerGroup& group_;
  Event wake_;

  // Guarded by group_.mutex.
  std::deque<Bytes> outgoing_;
  std::deque<Bytes> arrived_;  // received before anyone asked
  std::size_t arrived_bytes_ = 0, first_used_ = 0;
  u8* wanted_ = nullptr;  // where the waiting recv() wants the next bytes, and how many
  std::size_t wanted_bytes_ = 0;
  bool reading_ = false, sleeping_ = false, stopping_ = false;

  // The thread's own.
  std::vector<u8> ahead_ = std::vector<u8>(256 << 10);
  Bytes current_;
  std::size_t current_sent_ = 0;
  TlsStream::Wait read_waits_ = TlsStream::Wait::nothing, write_waits_ = TlsStream::Wait::nothing;
  std::thread thread_;
};

}  // namespace secfwt
