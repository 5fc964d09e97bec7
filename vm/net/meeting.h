// How the parties find each other: the one with the higher number connects.
#pragma once

#include <array>
#include <memory>

#include "net/doorman.h"
#include "net/peer_link.h"

namespace secfwt {

// Connects to both other parties and makes sure that they run the same program in the same way (`program` is a hash of
// both). `addresses` are the parties'; `limits`: what each may send. Throws SetupError: a party that is not there by
// the deadline, has another name or runs something else.
std::array<std::unique_ptr<PeerLink>, 3> meet(int id, const std::array<Address, 3>& addresses, const TlsContext& tls,
                                              Doorman& doorman, const Hash& program, PeerGroup& group,
                                              const PeerLimits& limits, Clock::time_point deadline);

}  // namespace secfwt
