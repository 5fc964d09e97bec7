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

u64 Party::bytes_sent() const {
  u64 sum = prev->bytes_sent() + next->bytes_sent();
  for (const auto& pool : pools) sum += pool->bytes(pool->taken());
  return sum;
}

}  // namespace secfwt
