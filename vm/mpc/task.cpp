#include "mpc/task.h"

#include <algorithm>

namespace secfwt {

void run_tasks(const Tasks& tasks, Party& party) {
  int rounds = 0;
  for (const auto& task : tasks) rounds = std::max(rounds, task->rounds());
  for (int r = 0; r < rounds; ++r) {
    for (const auto& task : tasks)
      if (r < task->rounds()) task->send(r);
    for (const auto& task : tasks)
      if (r < task->rounds()) task->recv(r);
    ++party.rounds;
  }
}

}  // namespace secfwt
