// What a party does for its clients: one session at a time, one command at a time, each agreed with the two other
// parties. Of several data owners those who have shared their examples stay connected, and are told what is opened.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "mpc/engine.h"
#include "net/agreement.h"
#include "net/doorman.h"
#include "net/members.h"
#include "net/owned_sets.h"

namespace secfwt {

// The client asked for something it may not have; the text is for it.
struct Refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

constexpr auto kHeartbeat = std::chrono::seconds(1);  // between signs of life while a client waits

class Service {
 public:
  struct Limits {
    std::chrono::seconds idle;     // between two commands of a client while another waits
    std::chrono::seconds command;  // for the next byte of a command, and for all of it but its shares
    u64 memory;                    // bytes that this process may take
  };

  Service(Engine& engine, Agreement& agreement, Doorman& doorman, PeerGroup& group, const Limits& limits,
          Roles roles = {});
  // Serves until the data owner says STOP. A client may die at any moment; a peer may not: throws PeerLost then, after
  // telling the client.
  void run();

 private:
  // Each waits for the next thing to agree on; END where there is nothing (more) to be done with this client.
  Proposal greet();
  Proposal listen();

  Proposal read_command();
  void read(void* out, std::size_t n);
  // Of that many instances of all inputs of a kind.
  Shares read_shares(Kind kind, u64 count);
  Words read_packed(Kind kind, u64 count, Hash& digest);
  u64 room() const;
  void say_room() const;
  u64 checked_examples(const Proposal& command) const;
  u64 checked_candidates(const Proposal& step) const;
  // What there is room for: bytes in all, for what, and ring elements that are taken already.
  struct Room {
    u64 bytes;
    const char* what;
    u64 held;
  };
  u64 checked_count(u64 count, const char* what, u64 each, const Room& room) const;
  u64 share_bytes(Kind kind, u64 count) const;

  // Several data owners (service_owners.cpp).
  void look();
  void forget(std::size_t owner);
  void begin_anew(std::size_t owner);
  u64 owner_room() const;
  u64 held_words_of(std::size_t owner, std::optional<u64> replaced) const;
  // Of whoever asks, or of several owners side by side: who may have it, and what the engine knows the sets by.
  void check_sets(const Proposal& step);
  std::vector<u64> sets_of(const Proposal& step) const;
  void check_told(u64 owners) const;
  void notify(const Proposal& step);
  void pass_on(u64 owners);
  Words owner_words() const;
  void stay();
  void send_away(Complaint complaint, const std::string& text);

  u64 examples_of(const Proposal& step) const;
  Stage opened_stage(const Proposal& step) const;
  // What a STEP opens: one instance of its output per candidate, example or pair.
  u64 instances(const Proposal& step) const;
  void check_budget(const Proposal& step) const;
  // For whoever may ask, of every output with a limit: how many were opened.
  Words limited_counts() const;

  struct Reply {
    Frame kind;
    u64 argument;
    Words payload;
    std::vector<u8> tail;
  };
  Reply perform(const Proposal& command);
  void tell_progress();
  void answer(Frame kind, u64 argument, const Words& payload, const std::vector<u8>& tail = {});
  void drop(Complaint complaint, const std::string& text);
  std::optional<Visitor> end_session();

  Engine& engine_;
  Agreement& agreement_;
  Doorman& doorman_;
  PeerGroup& group_;
  const Limits limits_;
  const Roles roles_;

  std::optional<Visitor> client_;
  bool client_broken_ = false;  // an answer did not get through
  bool awaited_ = false;        // a command has begun to arrive here, or has arrived at another party
  Clock::time_point due_;       // when it must have arrived, if so
  Shares payload_;
  Digests digests_;                      // of its two components as the client sent them
  std::atomic<u64> done_{0}, total_{0};  // parts of the command in progress
  OwnedSets sets_;
  Members members_;
  std::vector<u64> opened_;  // by output: instances since the weights arrived, in all sessions
  u64 identity_ = 0;         // what the model owner said of its weights, for the data owner
  u64 sessions_ = 0;
};

}  // namespace secfwt
