// The three parties agree on every command before they start it: each tells the two others what its client asked for,
// and it is done only if all three say the same.
#pragma once

#include <array>
#include <optional>

#include "net/peer_link.h"
#include "net/wire.h"

namespace secfwt {

// What a party proposes to do next. Payload lengths are left out: they differ between the parties.
struct Proposal {
  u64 round = 0;    // counts agreements; the same at all parties
  u64 session = 0;  // the client's number for its session
  u64 kind = 0;     // a Frame, or kEnd
  u64 argument = 0, count = 0, output = 0;
  u64 opened = 0;  // instances of the output that were opened before

  static constexpr u64 kEnd = ~u64{0};  // no session here, or it has ended
  bool ends() const { return kind == kEnd; }
  bool operator==(const Proposal& other) const {
    return round == other.round && session == other.session && kind == other.kind && argument == other.argument &&
           count == other.count && output == other.output && opened == other.opened;
  }
};
static_assert(sizeof(Proposal) == 56);

class Agreement {
 public:
  // The channels carry nothing but proposals between two commands.
  Agreement(int id, PeerChannel& prev, PeerChannel& next, PeerGroup& group)
      : group_(group), peers_{{{(id + 2) % 3, &prev, {}}, {(id + 1) % 3, &next, {}}}} {}

  // What the peers have proposed in this round, as far as it is here. Does not wait. Throws PeerLost.
  const std::optional<Proposal>& heard(std::size_t peer);
  bool anything_heard() { return heard(0) || heard(1); }

  // Proposes, and waits for the two others, who answer within the service's time limits. Empty if all three agree, else
  // why not. Throws PeerLost.
  std::string agree(Proposal mine);

 private:
  struct Peer {
    int id;
    PeerChannel* channel;
    std::optional<Proposal> heard;
  };

  PeerGroup& group_;
  std::array<Peer, 2> peers_;
  u64 round_ = 0;
};

}  // namespace secfwt
