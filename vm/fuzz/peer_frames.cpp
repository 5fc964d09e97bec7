// Both other parties send the input, over TLS, and are gone: what a party reads between its start and its first
// command.
#include <array>
#include <chrono>
#include <future>
#include <memory>

#include "fuzz/target.h"
#include "mpc/party.h"
#include "net/agreement.h"
#include "tests/tls_pair.h"

namespace secfwt::fuzz {
namespace {

constexpr auto kStay = std::chrono::milliseconds(20);

// Reads as a party does: the other's program, the keys of lane 0, what it wants to do, tuples.
void be_a_party(PeerLink& prev, PeerLink& next, PeerGroup& group) {
  for (PeerLink* link : {&prev, &next}) {
    Hash hash;
    link->channel(0).recv(hash.data(), hash.size());
  }
  connect_party(0, &prev.channel(1), &next.channel(1));
  Agreement agreement(0, prev.channel(0), next.channel(0), group);
  for (int command = 0; command < 2; ++command) {
    agreement.anything_heard();
    if (!agreement.agree({0, 7, word(Frame::step), 5, 3, 0, 0}).empty()) return;
  }
  std::array<u8, 4096> tuples;
  prev.channel(Link::kBulk).recv(tuples.data(), tuples.size());
}

Input message(u32 channel, const Input& bytes) {
  Input input = bytes_of_number(channel);
  for (const Input& part : {bytes_of_number(static_cast<u32>(bytes.size())), bytes})
    input.insert(input.end(), part.begin(), part.end());
  return input;
}

Input joined(const std::vector<Input>& parts) {
  Input input;
  for (const Input& part : parts) input.insert(input.end(), part.begin(), part.end());
  return input;
}

}  // namespace

Target peer_target(const std::string& certificates) {
  const auto self = std::make_shared<TlsContext>(test::identity(certificates, "party0", party_name(0)));
  const auto peer = std::make_shared<TlsContext>(test::identity(certificates, "party1", party_name(1)));
  Target target;
  const Input alive = message(~u32{0}, {}), key = message(1, Input(16, 9)), hash = message(0, Input(32, 1));
  const Input tuples = message(Link::kBulk, Input(4096, 3)), farewell = message(~u32{0} - 1, {});
  const auto command = [](u64 round) {
    const Proposal step{round, 7, word(Frame::step), 5, 3, 0, 0};
    return message(0, joined({bytes_of_number(step), Input(sizeof(Hash), 0), Input(1, 0)}));
  };
  target.seeds = {joined({hash, alive, key, command(0), command(1), tuples}), joined({hash, key, farewell}),
                  joined({hash, key, tuples, command(0)})};
  for (u32 number : {u32{0}, u32{1}, u32{2}, u32{8}, u32{16}, u32{48}, u32{4096}, u32{1} << 20, Link::kBulk,
                     Link::kBulk + 1, ~u32{0} - 1, ~u32{0}})
    target.words.push_back(bytes_of_number(number));
  target.words.push_back(bytes_of_number(Proposal::kEnd));
  target.run = [=](const Input& input) {
    PeerGroup group;
    std::array<std::unique_ptr<TlsStream>, 2> peers;
    std::array<std::unique_ptr<PeerLink>, 2> links;
    for (std::size_t i = 0; i < 2; ++i) {
      auto pair = test::connected(*self, *peer, party_name(0));
      links[i] = std::make_unique<PeerLink>(std::move(*pair[0]), "party " + std::to_string(i + 1), group,
                                            PeerLimits{1, 8, u64{1} << 30}, Clock::now());
      peers[i] = std::move(pair[1]);
    }
    try {
      for (auto& each : peers) each->write_all(input.data(), input.size(), std::chrono::seconds(20));
    } catch (const ConnectionLost&) {  // it was refused before it was complete
    }
    // They stay for a moment: a party that has lost a peer reads no further.
    std::promise<void> done;
    const auto gone = std::async(std::launch::async, [&, over = done.get_future()] {
      over.wait_for(kStay);
      for (auto& each : peers) each.reset();
    });
    const auto end = std::shared_ptr<void>(nullptr, [&](void*) { done.set_value(); });
    try {
      be_a_party(*links[0], *links[1], group);
      return true;
    } catch (const PeerLost&) {
    } catch (const std::runtime_error& error) {
      if (std::string(error.what()).find("is out of step") == std::string::npos) throw;
    }
    return false;
  };
  return target;
}

}  // namespace secfwt::fuzz
