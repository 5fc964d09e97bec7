// What a client may ask for: its next command is read, and refused before anything is allocated for it.
#include <algorithm>
#include <array>
#include <cstdio>

#include "net/heartbeat.h"
#include "net/log.h"
#include "net/service.h"
#include "ring/packing.h"

namespace secfwt {
namespace {

using std::chrono::seconds;

constexpr u64 kSlowest = 32 << 10;                    // bytes per second that shares must come at
constexpr std::size_t kBlock = std::size_t{1} << 15;  // ring elements that are read at a time

std::string megabytes(u64 bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g MB", static_cast<double>(bytes) / 1e6);
  return text;
}

// Another party has ended the session, or started another.
struct Overtaken {};

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
    end_session();
  } catch (const Overtaken&) {
    // agree() will say who and how.
  }
  payload_ = {};
  return {0, session, Proposal::kEnd};
}

// Waits for bytes of the client: between commands as long as it takes, or as nobody else waits to be served; within
// one, or once others wait for this one to be complete, as long as a client needs that means well.
void Service::read(void* out, std::size_t n) {
  constexpr auto kNever = Clock::time_point::max();
  auto* to = static_cast<u8*>(out);
  const auto idle_end = Clock::now() + limits_.idle;
  auto stalled = idle_end;
  const auto await = [&] {
    stalled = Clock::now() + limits_.command;
    if (!std::exchange(awaited_, true)) due_ = stalled;
  };
  if (awaited_) await();
  while (n > 0) {
    const std::size_t got = client_->stream.read(to, n);
    if (got > 0) {
      to += got, n -= got;
      await();
    }
    if (awaited_ && Clock::now() >= due_)
      throw Refusal("the command did not arrive completely in " + std::to_string(limits_.command.count()) +
                    " s and one per " + std::to_string(kSlowest >> 10) + " kB of shares");
    if (got > 0) continue;
    group_.event.clear();
    doorman_.event().clear();
    look();
    for (std::size_t peer = 0; peer < 2; ++peer) {
      const auto& theirs = agreement_.heard(peer);
      if (theirs && (theirs->ends() || theirs->session != client_->session)) throw Overtaken{};
      if (theirs && !awaited_) await();
    }
    const bool idle = !awaited_ && Clock::now() >= idle_end;
    if (idle && doorman_.anyone_waits())
      throw Refusal("nothing was asked for " + std::to_string(limits_.idle.count()) + " s, and another client waits");
    const auto wake_up = awaited_ ? std::min(stalled, due_) : idle ? kNever : idle_end;
    std::vector<pollfd> fds{{client_->stream.fd(), client_->stream.poll_events(), 0},
                            {group_.event.fd(), POLLIN, 0},
                            {doorman_.event().fd(), POLLIN, 0}};
    members_.add_to(fds);
    const bool woken = poll_until(fds.data(), fds.size(), std::min(wake_up, Clock::now() + std::chrono::hours(1)));
    if (!woken && awaited_ && Clock::now() >= stalled)
      throw Refusal("the command did not arrive completely: nothing for " + std::to_string(limits_.command.count()) +
                    " s");
  }
}

Proposal Service::read_command() {
  awaited_ = false;
  FrameHeader header;
  read(&header, sizeof header);
  if (header.magic != FrameHeader::kMagic) throw Refusal("what was sent is not a frame");

  const Program& program = engine_.program();
  const auto permit = [&](const std::string& role) {
    if (client_->name != role)
      throw Refusal(std::string(name(header.kind)) + " is for " + role + ", this client is " + client_->name);
  };
  const auto permit_owner = [&] {
    if (!roles_.owner(client_->name)) permit(roles_.several() ? "a data owner" : kDataOwner);
  };
  const auto require = [&](u64 bytes) {
    if (header.length != bytes)
      throw Refusal(std::string(name(header.kind)) + " has " + std::to_string(header.length) + " bytes, expected " +
                    std::to_string(bytes));
  };
  const auto take_shares = [&](Kind kind, u64 count, u64 before) {
    if (header.length != before + share_bytes(kind, count))
      throw Refusal(std::string(name(header.kind)) + " has " + std::to_string(header.length) + " bytes, expected " +
                    std::to_string(before + share_bytes(kind, count)) + " for " + std::to_string(count) +
                    " × the program's " + name(kind) + " inputs, packed to their rings");
    payload_ = read_shares(kind, count);
  };
  const auto prefix = [&](u64* words, u64 n) {
    if (header.length < n * sizeof(u64)) require(n * sizeof(u64));
    read(words, n * sizeof(u64));
  };

  Proposal command{0, client_->session, word(header.kind), header.argument};
  switch (header.kind) {
    case Frame::weights: {
      permit(kModelOwner);
      const u64 words = program.words(Kind::weight);
      if (words > limits_.memory / 2 / (2 * sizeof(u64)))
        throw Refusal("weights of " + megabytes(2 * sizeof(u64) * words) + ": this party can take " +
                      megabytes(limits_.memory / 2));
      take_shares(Kind::weight, 1, 0);
      break;
    }
    case Frame::examples: {
      permit_owner();
      if (!engine_.has_weights()) throw Refusal("the model owner has not sent the weights yet");
      prefix(&command.count, 1);
      take_shares(Kind::example, checked_examples(command), 8);
      break;
    }
    case Frame::step: {
      if (!roles_.several()) permit(kDataOwner);
      u64 prefixes[4];
      prefix(prefixes, 4);
      command.count = prefixes[0];
      command.output = prefixes[1];
      command.at = prefixes[2];
      command.owners = prefixes[3];
      if (command.output >= program.outputs.size())
        throw Refusal("there is no output " + std::to_string(command.output) + "; the program has " +
                      std::to_string(program.outputs.size()));
      const Output& output = program.outputs[command.output];
      check_sets(command);
      if (output.max_candidates && command.count > *output.max_candidates)
        throw Refusal("output " + output.name + " is opened for at most " + std::to_string(*output.max_candidates) +
                      " candidates a step, not " + std::to_string(command.count));
      if (const std::string why = engine_.refusal(command.output, command.at); !why.empty()) throw Refusal(why);
      const u64 count = checked_candidates(command);
      command.opened = opened_[command.output];
      check_budget(command);
      take_shares(Kind::candidate, count, 32);
      check_sets(command);  // whoever left meanwhile has taken its examples away
      break;
    }
    case Frame::join:
      if (!roles_.several()) throw Refusal("JOIN is for one of several data owners, this deployment has one");
      permit_owner();
      require(0);
      if (sets_.of(*roles_.owner(client_->name)).empty()) throw Refusal("JOIN comes after the client's own EXAMPLES");
      break;
    case Frame::tell:
      permit(roles_.several() ? roles_.coordinator : "the coordinator of several data owners");
      check_told(header.argument);
      take_shares(Kind::candidate, 1, 0);
      break;
    case Frame::stop:
      permit(kDataOwner);
      require(0);
      break;
    default:
      throw Refusal("a client does not send frames of kind " + std::to_string(word(header.kind)));
  }
  return command;
}

Stage Service::opened_stage(const Proposal& step) const {
  const Program& program = engine_.program();
  return program.values[program.outputs[step.output].value].stage;
}

u64 Service::instances(const Proposal& step) const {
  const Stage stage = opened_stage(step);
  if (stage == Stage::candidate) return step.count;
  if (stage == Stage::example) return examples_of(step);
  u64 pairs;
  return __builtin_mul_overflow(step.count, examples_of(step), &pairs) ? ~u64{0} : pairs;
}

void Service::check_budget(const Proposal& step) const {
  const Output& output = engine_.program().outputs[step.output];
  if (!output.max_opened) return;
  const u64 left = *output.max_opened - step.opened, asked = instances(step);
  if (asked > left)
    throw Refusal("output " + output.name + " is opened at most " + std::to_string(*output.max_opened) +
                  " times for these weights: " + std::to_string(left) + " are left, this step asks for " +
                  std::to_string(asked));
}

Words Service::limited_counts() const {
  Words counts;
  const auto& outputs = engine_.program().outputs;
  for (std::size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i].max_opened && client_->name != kModelOwner) counts.push_back(opened_[i]);
  return counts;
}

u64 Service::share_bytes(Kind kind, u64 count) const {
  return engine_.party() == 0 ? 2 * sizeof(Key) : sizeof(Key) + engine_.program().packed_bytes(kind, count);
}

// Memory for sets of examples and for a step: half of what the weights leave.
u64 Service::room() const {
  const u64 weights = sizeof(u64) * engine_.setup_words();
  return weights < limits_.memory ? (limits_.memory - weights) / 2 : 0;
}

void Service::say_room() const {
  log_line("takes at most " + megabytes(room()) + " of examples and candidates, half of what the weights leave of " +
           megabytes(limits_.memory) +
           (roles_.several() ? "; " + megabytes(owner_room()) + " of examples from each owner" : std::string()));
}

u64 Service::checked_examples(const Proposal& command) const {
  const std::size_t owner = *roles_.owner(client_->name);
  const auto replaced = sets_.find(owner, command.argument);
  const Room left = roles_.several() ? Room{owner_room(), "each owner's examples", held_words_of(owner, replaced)}
                                     : Room{room(), "examples and candidates", engine_.held_words(replaced)};
  return checked_count(command.count, "examples", engine_.example_words(), left);
}

u64 Service::checked_candidates(const Proposal& step) const {
  if (opened_stage(step) == Stage::example) {
    if (step.count != 0) throw Refusal("what is opened of examples takes no candidates");
    return 0;
  }
  const u64 each = engine_.candidate_words(step.output, examples_of(step));
  return checked_count(step.count, "candidates", each, {room(), "examples and candidates", engine_.held_words()});
}

// `count`, refused before anything is allocated if instances of `each` words would take more than there is room for
// beside what is held.
u64 Service::checked_count(u64 count, const char* what, u64 each, const Room& room) const {
  const u64 all = room.bytes / sizeof(u64), most = room.held < all ? (all - room.held) / std::max<u64>(each, 1) : 0;
  if (count < 1 || count > most)
    throw Refusal(std::to_string(count) + " " + what + ": this party can take " +
                  (most ? "1 to " + std::to_string(most) : "none") + ", at " + megabytes(sizeof(u64) * each) +
                  " each; of " + megabytes(room.bytes) + " for " + room.what + ", sets of examples hold " +
                  megabytes(sizeof(u64) * room.held));
  return count;
}

// Two halves, each as numbers of its inputs' rings or as the seed of words; seeds of weights stay seeds. Others take
// seconds to expand: the client hears of this party meanwhile.
Shares Service::read_shares(Kind kind, u64 count) try {
  due_ += seconds(share_bytes(kind, count) / kSlowest);
  Shares shares;
  const std::array<Words*, 2> halves{&shares.x0, &shares.x1};
  const std::array<bool, 2> given{engine_.party() == 2, engine_.party() == 1};
  std::array<Key, 2> seeds;
  for (std::size_t i = 0; i < 2; ++i) {
    if (given[i]) {
      *halves[i] = read_packed(kind, count, digests_[i]);
    } else {
      read(seeds[i].data(), seeds[i].size());
      digests_[i] = hash_of(seeds[i].data(), sizeof seeds[i]);
    }
  }
  const Heartbeat alive(kHeartbeat, [this] { tell_progress(); });
  for (std::size_t i = 0; i < 2; ++i) {
    if (given[i]) continue;
    if (kind == Kind::weight) {
      (i == 0 ? shares.seed0 : shares.seed1) = seeds[i];
      continue;
    }
    halves[i]->resize(count * engine_.program().words(kind));
    expand(seeds[i], 0, halves[i]->data(), halves[i]->size() * sizeof(u64));
  }
  return shares;
} catch (const std::bad_alloc&) {
  throw Refusal("out of memory for " + std::to_string(count * engine_.program().words(kind)) + " values");
}

// Hashed and unpacked block by block, as it comes.
Words Service::read_packed(Kind kind, u64 count, Hash& digest) {
  const Program& program = engine_.program();
  Words words(count * program.words(kind));
  std::vector<u8> block(kBlock * sizeof(u64));
  Hashing hashing;
  u64* out = words.data();
  for (const Node& node : program.values) {
    if (node.kind != kind) continue;
    for (std::size_t left = count * volume(node.shape); left > 0;) {
      const std::size_t n = std::min(left, kBlock), bytes = packed_bytes(n, node.ring);
      read(block.data(), bytes);
      hashing.add(block.data(), bytes);
      unpack_bits(block.data(), n, node.ring, out);
      out += n, left -= n;
    }
  }
  digest = hashing.result();
  return words;
}

}  // namespace secfwt
