// A party as often as it computes different things at the same time.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "mpc/party.h"
#include "mpc/program.h"

namespace secfwt {

// Each lane has keys of its own, and channel 1 + lane of both links; for each fit a pool of tuples, and a bulk channel.
using Lanes = std::vector<Party>;
Lanes connect_lanes(int id, std::size_t count, const std::vector<Fit>& fits, Link& prev, Link& next);

// body(lane, item) for items [0, count), item i in lane i mod the number of lanes; rethrows the first exception when
// all have ended. The rounds of the longest lane are added to those of lane 0.
void in_lanes(Lanes& lanes, std::size_t count, const std::function<void(std::size_t lane, std::size_t item)>& body);

}  // namespace secfwt
