#include "mpc/party.h"

namespace secfwt {

Party connect_party(int id, Channel* prev, Channel* next) {
  const Key mine = random_key();  // component id+1, shared with the next party
  next->send({mine.begin(), mine.end()});
  Key theirs;
  prev->recv(theirs.data(), theirs.size());
  return Party{id, Stream(theirs), Stream(mine), prev, next};
}

Lanes connect_lanes(int id, std::size_t count, Link& prev, Link& next) {
  Lanes lanes;
  for (u32 lane = 0; lane < count; ++lane)
    lanes.push_back(connect_party(id, &prev.channel(1 + lane), &next.channel(1 + lane)));
  return lanes;
}

}  // namespace secfwt
