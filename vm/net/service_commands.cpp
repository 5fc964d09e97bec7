// What a client may ask for: its next command is read, and refused before anything is allocated for it.
#include <unistd.h>

#include <algorithm>
#include <array>

#include "net/heartbeat.h"
#include "net/log.h"
#include "net/service.h"

namespace secfwt {
namespace {

using std::chrono::seconds;

constexpr auto kStall = seconds(30);  // for the next byte of a command, or for one that another party already has

// The client asked for something it may not have; the text is for it.
struct Refusal : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Another party has ended the session, or started another.
struct Overtaken {};

u64 memory() { return static_cast<u64>(sysconf(_SC_PHYS_PAGES)) * static_cast<u64>(sysconf(_SC_PAGESIZE)); }

}  // namespace

Proposal Service::listen() {
  const u64 session = client_->session;
  try {
    if (client_broken_) throw ConnectionLost("it does not take its answer", ConnectionLost::How::broken);
    return read_command();
  } catch (const Refusal& refusal) {
    log_line("refused a command of " + client_->name + ": " + refusal.what());
    drop(Complaint::refused, refusal.what());
  } catch (const ConnectionLost& loss) {
    log_line("session of " + client_->name + " ends: " + loss.what());
    client_.reset();
  } catch (const Overtaken&) {
    // agree() will say who and how.
  }
  payload_ = {};
  return {0, session, Proposal::kEnd, 0, 0, 0};
}

// Waits for bytes of the client as long as it takes between commands, but not once others wait for this one to be
// complete.
void Service::read(void* out, std::size_t n) {
  constexpr auto kNever = Clock::time_point::max();
  auto* to = static_cast<u8*>(out);
  auto give_up = kNever;
  while (n > 0) {
    const std::size_t got = client_->stream.read(to, n);
    if (got > 0) {
      to += got, n -= got;
      in_frame_ = true;
      give_up = kNever;
      continue;
    }
    group_.event.clear();
    bool awaited = in_frame_;
    for (std::size_t peer = 0; peer < 2; ++peer) {
      const auto& theirs = agreement_.heard(peer);
      if (theirs && (theirs->ends() || theirs->session != client_->session)) throw Overtaken{};
      awaited = awaited || theirs;
    }
    if (awaited && give_up == kNever) give_up = Clock::now() + kStall;
    pollfd fds[2] = {{client_->stream.fd(), client_->stream.poll_events(), 0}, {group_.event.fd(), POLLIN, 0}};
    poll_until(fds, 2, std::min(give_up, Clock::now() + std::chrono::hours(1)));
    if (Clock::now() >= give_up)
      throw Refusal("the command did not arrive completely: nothing for " + std::to_string(kStall.count()) + " s");
  }
}

Proposal Service::read_command() {
  in_frame_ = false;
  FrameHeader header;
  read(&header, sizeof header);
  if (header.magic != FrameHeader::kMagic) throw Refusal("what was sent is not a frame");

  const Program& program = engine_.program();
  const auto permit = [&](const char* role) {
    if (client_->name != role)
      throw Refusal(std::string(name(header.kind)) + " is for " + role + ", this client is " + client_->name);
  };
  const auto require = [&](u64 bytes) {
    if (header.length != bytes)
      throw Refusal(std::string(name(header.kind)) + " has " + std::to_string(header.length) + " bytes, expected " +
                    std::to_string(bytes));
  };
  const auto prefix = [&](u64* words, u64 n) {
    if (header.length < n * sizeof(u64)) require(n * sizeof(u64));
    read(words, n * sizeof(u64));
  };

  Proposal command{0, client_->session, word(header.kind), header.argument, 0, 0};
  switch (header.kind) {
    case Frame::weights: {
      permit(kModelOwner);
      const u64 words = checked_count(1, program.words(Kind::weight), "weights");
      require(share_bytes(words));
      payload_ = read_shares(words);
      break;
    }
    case Frame::examples: {
      permit(kDataOwner);
      if (!engine_.has_weights()) throw Refusal("the model owner has not sent the weights yet");
      prefix(&command.count, 1);
      const u64 words = checked_count(command.count, program.words(Kind::example), "examples");
      require(8 + share_bytes(words));
      payload_ = read_shares(words);
      break;
    }
    case Frame::step: {
      permit(kDataOwner);
      if (!sets_.count(header.argument))
        throw Refusal("there is no set of examples " + std::to_string(header.argument));
      u64 prefixes[2];
      prefix(prefixes, 2);
      command.count = prefixes[0];
      command.output = prefixes[1];
      if (command.output >= program.outputs.size())
        throw Refusal("there is no output " + std::to_string(command.output) + "; the program has " +
                      std::to_string(program.outputs.size()));
      const Output& output = program.outputs[command.output];
      if (output.max_candidates && command.count > *output.max_candidates)
        throw Refusal("output " + output.name + " is opened for at most " + std::to_string(*output.max_candidates) +
                      " candidates a step, not " + std::to_string(command.count));
      const u64 words = checked_count(command.count, program.words(Kind::candidate), "candidates");
      require(16 + share_bytes(words));
      payload_ = read_shares(words);
      break;
    }
    case Frame::stop:
      permit(kDataOwner);
      require(0);
      break;
    default:
      throw Refusal("a client does not send frames of kind " + std::to_string(word(header.kind)));
  }
  return command;
}

u64 Service::share_bytes(u64 words) const {
  return engine_.party() == 0 ? 2 * sizeof(Key) : sizeof(Key) + words * sizeof(u64);
}

// Ring elements of `count` instances, refused before anything is allocated if their shares would take more than half of
// the memory.
u64 Service::checked_count(u64 count, u64 words, const std::string& what) const {
  const u64 most = memory() / 2 / (2 * sizeof(u64) * std::max<u64>(words, 1));
  if (count < 1 || count > most)
    throw Refusal(std::to_string(count) + " " + what + ": this party can take 1 to " + std::to_string(most));
  return count * words;
}

// Two halves, each as words or as the seed of them. Those of a large model take seconds to hash or expand, which must
// keep neither the client from sending nor from hearing of this party.
Shares Service::read_shares(u64 words) try {
  Shares shares;
  const std::array<Words*, 2> halves{&shares.x0, &shares.x1};
  const std::array<bool, 2> given{engine_.party() == 2, engine_.party() == 1};
  std::array<Key, 2> seeds;
  for (std::size_t i = 0; i < 2; ++i) {
    if (given[i]) {
      halves[i]->resize(words);
      read(halves[i]->data(), words * sizeof(u64));
    } else {
      read(seeds[i].data(), seeds[i].size());
    }
  }
  const Heartbeat alive(kHeartbeat, [this] { tell_progress(); });
  for (std::size_t i = 0; i < 2; ++i) {
    digests_[i] =
        given[i] ? hash_of(halves[i]->data(), words * sizeof(u64)) : hash_of(seeds[i].data(), sizeof seeds[i]);
    if (given[i]) continue;
    halves[i]->resize(words);
    expand(seeds[i], 0, halves[i]->data(), words * sizeof(u64));
  }
  return shares;
} catch (const std::bad_alloc&) {
  throw Refusal("out of memory for " + std::to_string(words) + " values");
}

}  // namespace secfwt
