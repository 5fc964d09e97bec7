#include "mpc/party.h"

namespace secfwt {

Party connect_party(int id, Channel* prev, Channel* next) {
  const Key mine = random_key();  // component id+1, shared with the next party
  next->send({mine.begin(), mine.end()});
  Key theirs;
  prev->recv(theirs.data(), theirs.size());
  return Party{id, Stream(theirs), Stream(mine), prev, next};
}

}  // namespace secfwt
