#include "mpc/party.h"

#include "mpc/tuples.h"

namespace secfwt {

Party connect_party(int id, Channel* prev, Channel* next) {
  const Key mine = random_key();  // component id+1, shared with the next party
  next->send({mine.begin(), mine.end()});
  Key theirs;
  prev->recv(theirs.data(), theirs.size());
  return Party{id, Stream(theirs), Stream(mine), prev, next};
}

Lanes connect_lanes(int id, std::size_t count, const std::vector<Fit>& fits, Link& prev, Link& next) {
  Lanes lanes;
  u32 bulk = Link::kBulk;
  for (u32 lane = 0; lane < count; ++lane) {
    Party party = connect_party(id, &prev.channel(1 + lane), &next.channel(1 + lane));
    for (const Fit& fit : fits) {
      const u64 number = party.pools.size();
      party.pools.push_back(std::make_shared<TuplePool>(party, number, fit, prev.channel(bulk), next.channel(bulk)));
      ++bulk;
    }
    lanes.push_back(std::move(party));
  }
  return lanes;
}

u64 Party::bytes_sent() const {
  u64 sum = prev->bytes_sent() + next->bytes_sent();
  for (const auto& pool : pools) sum += pool->taken() * pool->tuple_bytes();
  return sum;
}

}  // namespace secfwt
