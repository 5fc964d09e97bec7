#include "net/agreement.h"

namespace secfwt {

const std::optional<Proposal>& Agreement::heard(std::size_t peer) {
  auto& [id, channel, heard] = peers_[peer];
  if (!heard && channel->ready(sizeof(Proposal))) channel->recv(&heard.emplace(), sizeof(Proposal));
  if (!heard) group_.check();
  return heard;
}

std::string Agreement::agree(Proposal mine) {
  mine.round = round_++;
  const auto* bytes = reinterpret_cast<const u8*>(&mine);
  for (auto& peer : peers_) peer.channel->send({bytes, bytes + sizeof mine});
  std::string why;
  for (auto& [id, channel, heard] : peers_) {
    if (!heard) channel->recv(&heard.emplace(), sizeof(Proposal));
    const std::string name = "party " + std::to_string(id);
    if (heard->round != mine.round)
      throw std::runtime_error(name + " is out of step: its agreement " + std::to_string(heard->round) + ", expected " +
                               std::to_string(mine.round));
    if (!why.empty()) continue;
    if (heard->ends())
      why = name + " ended the session";
    else if (heard->session != mine.session)
      why = name + " serves another session";
    else if (!(*heard == mine))
      why = name + " was given a different command";
  }
  for (auto& peer : peers_) peer.heard.reset();
  return why;
}

}  // namespace secfwt
