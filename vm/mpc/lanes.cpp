#include "mpc/lanes.h"

#include <algorithm>
#include <exception>
#include <thread>

#include "mpc/tuples.h"

namespace secfwt {

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

void in_lanes(Lanes& lanes, std::size_t count, const std::function<void(std::size_t, std::size_t)>& body) {
  const std::size_t n = std::min(count, lanes.size());
  std::vector<std::exception_ptr> errors(n);
  std::vector<u64> before;
  for (const Party& lane : lanes) before.push_back(lane.rounds);
  const auto run = [&](std::size_t lane) {
    try {
      for (std::size_t i = lane; i < count; i += n) body(lane, i);
    } catch (...) {
      errors[lane] = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t lane = 1; lane < n; ++lane) threads.emplace_back(run, lane);
  run(0);
  for (std::thread& thread : threads) thread.join();
  u64 longest = 0;
  for (std::size_t lane = 0; lane < n; ++lane) longest = std::max(longest, lanes[lane].rounds - before[lane]);
  lanes[0].rounds = before[0] + longest;
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace secfwt
