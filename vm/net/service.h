// What a party does for its clients: one session at a time, one command at a time, each agreed with the two other
// parties.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <set>
#include <string>

#include "mpc/engine.h"
#include "net/agreement.h"
#include "net/doorman.h"

namespace secfwt {

constexpr auto kHeartbeat = std::chrono::seconds(1);  // between signs of life while a client waits

class Service {
 public:
  Service(Engine& engine, Agreement& agreement, Doorman& doorman, PeerGroup& group);
  // Serves until the data owner says STOP. A client may die at any moment; a peer may not: throws PeerLost then, after
  // telling the client.
  void run();

 private:
  // Each waits for the next thing to agree on; END where there is nothing (more) to be done with this client.
  Proposal greet();
  Proposal listen();

  Proposal read_command();
  void read(void* out, std::size_t n);
  Shares read_shares(u64 words);
  u64 checked_count(u64 count, u64 words, const std::string& what) const;
  u64 share_bytes(u64 words) const;

  struct Reply {
    Frame kind;
    u64 argument;
    Words payload, tail;
  };
  Reply perform(const Proposal& command);
  void tell_progress();
  void answer(Frame kind, u64 argument, const Words& payload, const Words& tail = {});
  void drop(Complaint complaint, const std::string& text);

  Engine& engine_;
  Agreement& agreement_;
  Doorman& doorman_;
  PeerGroup& group_;

  std::optional<Visitor> client_;
  bool client_broken_ = false;  // an answer did not get through
  bool in_frame_ = false;       // a frame has begun to arrive
  Shares payload_;
  Digests digests_;                      // of its two components as the client sent them
  std::atomic<u64> done_{0}, total_{0};  // parts of the command in progress
  std::set<u64> sets_;
  u64 sessions_ = 0;
};

}  // namespace secfwt
