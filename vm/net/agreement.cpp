#include "net/agreement.h"

namespace secfwt {
namespace {

std::string name_of(int id) { return "party " + std::to_string(id); }

template <class T>
void append(Bytes& message, const T& part) {
  const auto* bytes = reinterpret_cast<const u8*>(&part);
  message.insert(message.end(), bytes, bytes + sizeof part);
}

}  // namespace

void Agreement::receive(Peer& peer) {
  peer.channel->recv(&peer.heard.emplace(), sizeof(Proposal));
  peer.channel->recv(&peer.digest, sizeof(Hash));
}

const std::optional<Proposal>& Agreement::heard(std::size_t number) {
  Peer& peer = peers_[number];
  if (!peer.heard && peer.channel->ready(sizeof(Proposal) + sizeof(Hash))) receive(peer);
  if (!peer.heard) group_.check();
  return peer.heard;
}

std::string Agreement::agree(Proposal mine, const Digests& digests) {
  mine.round = round_++;
  for (std::size_t i = 0; i < 2; ++i) {
    Bytes message;
    append(message, mine);
    append(message, digests[i]);
    peers_[i].channel->send(std::move(message));
  }
  std::string why;
  for (auto& peer : peers_) {
    if (!peer.heard) receive(peer);
    const Proposal& theirs = *peer.heard;
    if (theirs.round != mine.round)
      throw std::runtime_error(name_of(peer.id) + " is out of step: its agreement " + std::to_string(theirs.round) +
                               ", expected " + std::to_string(mine.round));
    if (!why.empty()) continue;
    if (theirs.ends())
      why = name_of(peer.id) + " ended the session";
    else if (theirs.session != mine.session)
      why = name_of(peer.id) + " serves another session";
    else if (!(theirs == mine))
      why = name_of(peer.id) + " was given a different command";
  }
  why = compare(std::move(why), digests);
  for (auto& peer : peers_) peer.heard.reset();
  return why;
}

// The byte is exchanged whatever was found: a party that tells the two others different things cannot make one of them
// wait for a byte that the other does not send.
std::string Agreement::compare(std::string why, const Digests& digests) {
  for (std::size_t i = 0; i < 2; ++i)
    if (why.empty() && peers_[i].digest != digests[i])
      why = name_of(peers_[i].id) + " was given a different command: other shares of the same values";
  for (auto& peer : peers_) peer.channel->send({static_cast<u8>(!why.empty())});
  for (auto& peer : peers_) {
    u8 differs = 0;
    peer.channel->recv(&differs, 1);
    if (differs != 0 && why.empty())
      why = name_of(peer.id) + " was given a different command than another: other shares of the same values";
  }
  return why;
}

}  // namespace secfwt
