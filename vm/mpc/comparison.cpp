#include "mpc/comparison.h"

#include <array>
#include <string>

namespace secfwt {
namespace {

using Digests = std::array<Transcript::Digest, 2>;  // of values, of tuples

// Of all lanes; the same at both parties, who have lane 0's key in common.
Digests collect(Lanes& lanes, const Stream& key, Common Party::* side) {
  Common all(key);
  for (Party& lane : lanes) {
    const auto values = (lane.*side).values.digest(), tuples = (lane.*side).tuples.digest();
    all.values.add(values.data(), values.size());
    all.tuples.add(tuples.data(), tuples.size());
  }
  return {all.values.digest(), all.tuples.digest()};
}

void expect(const Digests& mine, Channel& channel, int peer, int third) {
  Digests theirs;
  channel.recv(&theirs, sizeof theirs);
  const std::string who = "party " + std::to_string(peer), other = "party " + std::to_string(third);
  if (theirs[1] != mine[1])
    throw Divergence(other + " dealt randomness that does not belong to the program's series (a sample of it was " +
                     "opened), or " + who + " says so falsely");
  if (theirs[0] != mine[0])
    throw Divergence(who +
                     " holds other values than this party of what both should have: one of the three parties, or a "
                     "machine, computed or sent something wrong");
}

}  // namespace

void compare_transcripts(Lanes& lanes) {
  Party& party = lanes.at(0);
  const int prev = (party.id + 2) % 3, next = (party.id + 1) % 3;
  const Digests before = collect(lanes, party.stream0, &Party::with_prev);
  const Digests after = collect(lanes, party.stream1, &Party::with_next);
  const auto send = [](Channel& channel, const Digests& digests) {
    const auto* bytes = reinterpret_cast<const u8*>(&digests);
    channel.send({bytes, bytes + sizeof digests});
  };
  send(*party.prev, before);
  send(*party.next, after);
  expect(before, *party.prev, prev, next);
  expect(after, *party.next, next, prev);
  ++party.rounds;
}

}  // namespace secfwt
