#include "net/meeting.h"

#include <algorithm>

namespace secfwt {
namespace {

// A vanished host is noticed after this long, and a party that takes nothing of what was sent to it.
constexpr int kPeerSeconds = 10;

// Connects to a party that may not listen yet.
TlsStream reach(int id, const Address& address, const TlsContext& tls, Clock::time_point deadline) {
  const std::string who = "party " + std::to_string(id) + " at " + address.text();
  std::string last = "nothing listens there";
  while (Clock::now() < deadline) {
    const auto attempt = std::min(deadline, Clock::now() + std::chrono::seconds(kPeerSeconds));
    if (Fd socket = connect_to(address, attempt)) {
      try {
        auto stream = tls.connect(std::move(socket), party_name(id));
        while (stream.handshake() != TlsStream::Wait::nothing) {
          pollfd wait{stream.fd(), stream.poll_events(), 0};
          if (!poll_until(&wait, 1, attempt)) throw ConnectionLost("it does not answer", ConnectionLost::How::broken);
        }
        tls.check_pin(stream, party_name(id));
        return stream;
      } catch (const ConnectionLost& loss) {
        if (loss.how == ConnectionLost::How::refused) throw SetupError(who + ": " + loss.what());
        last = loss.what();
      }
    }
    poll_until(nullptr, 0, std::min(deadline, Clock::now() + std::chrono::milliseconds(50)));
  }
  throw SetupError("cannot connect to " + who + " in time: " + last);
}

}  // namespace

std::array<std::unique_ptr<PeerLink>, 3> meet(int id, const std::array<Address, 3>& addresses, const TlsContext& tls,
                                              Doorman& doorman, const Hash& program, PeerGroup& group,
                                              const PeerLimits& limits, Clock::time_point deadline) {
  std::array<std::unique_ptr<PeerLink>, 3> links;
  for (int peer = 0; peer < 3; ++peer) {
    if (peer == id) continue;
    auto stream = peer < id ? reach(peer, addresses[peer], tls, deadline) : doorman.wait_for_party(peer, deadline);
    set_tcp_options(stream.fd(), kPeerSeconds);
    links[peer] =
        std::make_unique<PeerLink>(std::move(stream), "party " + std::to_string(peer), group, limits, deadline);
  }
  try {
    for (auto& link : links)
      if (link) link->channel(0).send({program.begin(), program.end()});
    for (int peer = 0; peer < 3; ++peer) {
      Hash theirs;
      if (peer == id) continue;
      links[peer]->channel(0).recv(theirs.data(), theirs.size());
      if (theirs != program)
        throw SetupError("party " + std::to_string(peer) +
                         " runs another program than this one, or with another --tile-words, --lanes or --ahead-mb");
    }
  } catch (const PeerLost& loss) {
    throw SetupError(std::string("while the parties connect: ") + loss.what());
  }
  return links;
}

}  // namespace secfwt
