// The link to another party when that party leaves.
#include "net/peer_link.h"

#include <chrono>
#include <functional>
#include <future>
#include <optional>

#include "check.h"
#include "net/wire.h"
#include "tls_pair.h"

using namespace secfwt;
using namespace secfwt::test;
using namespace std::chrono_literals;

namespace {

constexpr auto kPatience = 20s;           // sanitizers are slow
constexpr std::size_t kDealt = 16 << 20;  // bytes: more than may wait to be sent, and lie in the sockets
constexpr PeerLimits kLimits{1, 1, u64{1} << 30};

// Party 0's link to party 1, and party 1's end of it.
struct Ends {
  Ends() {
    const TlsContext zero = identity(certificates(), "party0", party_name(0));
    const TlsContext one = identity(certificates(), "party1", party_name(1));
    auto pair = connected(zero, one, party_name(0));
    link.emplace(std::move(*pair[0]), "party 1", group, kLimits, Clock::now());
    peer = std::move(pair[1]);
  }

  PeerGroup group;
  std::optional<PeerLink> link;
  std::unique_ptr<TlsStream> peer;
};

// What party 0 hears while it deals tuples, once `leave` was called at a moment when it cannot go on; "" if nothing.
std::string heard_by_the_dealer(Ends& ends, const std::function<void()>& leave) {
  auto dealing = std::async(std::launch::async, [&]() -> std::string {
    try {
      for (std::size_t sent = 0; sent < kDealt; sent += 64 << 10) ends.link->channel(Link::kBulk).send(Bytes(64 << 10));
      return "all was sent";
    } catch (const PeerLost& lost) {
      return lost.what();
    }
  });
  const bool waits = dealing.wait_for(200ms) == std::future_status::timeout;
  CHECK(waits);
  leave();
  if (dealing.wait_for(kPatience) == std::future_status::ready) return dealing.get();
  ends.group.end("the test is over");
  dealing.wait();
  return "";
}

}  // namespace

// It throws in a step: whoever deals to it has more to send than fits anywhere, and nobody reads it any more.
TEST(the_dealer_learns_that_its_peer_has_left) {
  Ends ends;
  const std::string heard = heard_by_the_dealer(ends, [&] { ends.peer->finish(); });
  CHECK_EQ(heard, std::string("party 1 is gone: it closed the connection"));
}

// Its socket is closed by the time something is written to it: that is no loss, the goodbye is there to read.
TEST(a_peer_that_has_left_is_not_lost_when_it_is_written_to) {
  for (int i = 0; i < 20; ++i) {
    Ends ends;
    const std::string heard = heard_by_the_dealer(ends, [&] { ends.peer->finish(), ends.peer.reset(); });
    CHECK_EQ(heard, std::string("party 1 is gone: it closed the connection"));
    CHECK(ends.group.lost.empty());
  }
}

TEST(the_dealer_learns_that_its_peer_was_lost) {
  Ends ends;
  const std::string heard = heard_by_the_dealer(ends, [&] { ends.peer.reset(); });
  CHECK_EQ(heard.rfind("party 1 is gone: ", 0), std::size_t{0});
}

// Nothing may begin to be dealt to it either.
TEST(nothing_is_dealt_to_a_peer_that_has_left) {
  Ends ends;
  ends.peer->finish();
  {
    std::unique_lock<std::mutex> lock(ends.group.mutex);
    CHECK(ends.group.changed.wait_for(lock, kPatience, [&] { return !ends.group.left.empty(); }));
  }
  CHECK_THROWS(ends.link->channel(Link::kBulk).send(Bytes(1)), PeerLost);
}
