// The three parties agree on every command before they start it: each tells the two others what its client asked for,
// and it is done only if all three say the same. Two parties also compare what they were given of the component that
// both hold; a client whose payloads contradict each other gets nothing.
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
  u64 at = 0;      // the place that a step begins at
  u64 owners = 0;  // bit by bit, whose examples a step is on side by side, or who is told; 0: the client's own

  static constexpr u64 kEnd = ~u64{0};  // no session here, or it has ended
  bool ends() const { return kind == kEnd; }
  bool operator==(const Proposal& other) const {
    return round == other.round && session == other.session && kind == other.kind && argument == other.argument &&
           count == other.count && output == other.output && opened == other.opened && at == other.at &&
           owners == other.owners;
  }
};
static_assert(sizeof(Proposal) == 72);

// Hashes of what the client sent of both components that a party holds: the one that the previous party has too, then
// the next one's. Each goes to that party and to no other: whoever lacks a component could try guesses of the values.
using Digests = std::array<Hash, 2>;

class Agreement {
 public:
  // The channels carry nothing but proposals between two commands.
  Agreement(int id, PeerChannel& prev, PeerChannel& next, PeerGroup& group)
      : group_(group), peers_{{{(id + 2) % 3, &prev, {}, {}}, {(id + 1) % 3, &next, {}, {}}}} {}

  // What the peers have proposed in this round, as far as it is here. Does not wait. Throws PeerLost.
  const std::optional<Proposal>& heard(std::size_t peer);
  bool anything_heard() { return heard(0) || heard(1); }

  // Proposes, and waits for the two others, who answer within the service's time limits. Empty if all three agree, else
  // why not: all three find the same. Throws PeerLost.
  std::string agree(Proposal mine, const Digests& digests = {});

 private:
  struct Peer {
    int id;
    PeerChannel* channel;
    std::optional<Proposal> heard;
    Hash digest;  // came with it
  };

  static void receive(Peer& peer);
  // Where two parties hold different components the third cannot know: each tells both others what it found.
  std::string compare(std::string why, const Digests& digests);

  PeerGroup& group_;
  std::array<Peer, 2> peers_;
  u64 round_ = 0;
};

}  // namespace secfwt
