#include "net/service.h"

#include <algorithm>
#include <fstream>

#include "net/heartbeat.h"
#include "net/log.h"
#include "ring/packing.h"

namespace secfwt {
namespace {

using std::chrono::seconds;

constexpr auto kHelloWait = seconds(2);  // for the client that party 0 has chosen
constexpr auto kAnswer = seconds(30);    // for a client to take the next bytes of an answer

// Largest resident set so far, in bytes. Not from getrusage: its figure is inherited across exec.
u64 peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::stoull(line.substr(6)) * 1024;
  return 0;
}

}  // namespace

Service::Service(Engine& engine, Agreement& agreement, Doorman& doorman, PeerGroup& group, const Limits& limits,
                 Roles roles)
    : engine_(engine),
      agreement_(agreement),
      doorman_(doorman),
      group_(group),
      limits_(limits),
      roles_(std::move(roles)),
      opened_(engine.program().outputs.size(), 0) {}

void Service::run() {
  try {
    say_room();
    doorman_.open();
    for (bool stop = false; !stop;) {
      total_ = done_ = 0;
      digests_ = {};
      const Proposal mine = client_ ? listen() : greet();
      std::optional<Reply> reply;
      const std::string objection = [&] {
        const Heartbeat alive(kHeartbeat, [&] {
          if (client_ && mine.kind != word(Frame::hello)) tell_progress();
        });
        const std::string why = agreement_.agree(mine, digests_);
        if (why.empty()) reply = perform(mine);
        return why;
      }();
      if (reply) {
        answer(reply->kind, reply->argument, reply->payload, reply->tail);
        stop = mine.kind == word(Frame::stop);
        if (stop) client_->stream.finish();
        if (mine.kind == word(Frame::join)) stay();
      } else {
        drop(mine.kind == word(Frame::hello) ? Complaint::busy : Complaint::consequence, objection);
      }
    }
  } catch (const PeerLost& loss) {
    const Complaint complaint = group_.ended ? Complaint::refused : Complaint::consequence;
    send_away(complaint, loss.what());
    drop(complaint, loss.what());
    throw;
  } catch (const std::exception& error) {
    send_away(Complaint::refused, error.what());
    drop(Complaint::refused, error.what());
    throw;
  }
}

// Party 0 chooses the next client, the others look for the one it chose: if each served whoever reached it first, two
// clients could keep each other out for ever.
Proposal Service::greet() {
  const Proposal end{0, 0, Proposal::kEnd};
  auto deadline = Clock::time_point::max();
  for (;;) {
    group_.event.clear();
    doorman_.event().clear();
    look();
    std::optional<u64> chosen;
    for (std::size_t peer = 0; peer < 2; ++peer) {
      const auto& theirs = agreement_.heard(peer);
      if (!theirs) continue;
      if (theirs->kind != word(Frame::hello)) return end;
      chosen = theirs->session;
    }
    if (engine_.party() == 0 || chosen) client_ = doorman_.take(chosen);
    if (client_) {
      client_broken_ = false;
      return {0, client_->session, word(Frame::hello), roles_.number(client_->name)};
    }
    if (chosen) deadline = std::min(deadline, Clock::now() + kHelloWait);
    std::vector<pollfd> fds{{doorman_.event().fd(), POLLIN, 0}, {group_.event.fd(), POLLIN, 0}};
    members_.add_to(fds);
    poll_until(fds.data(), fds.size(), std::min(deadline, Clock::now() + std::chrono::hours(1)));
    if (Clock::now() >= deadline) return end;
  }
}

Service::Reply Service::perform(const Proposal& command) {
  const auto start = Clock::now();
  const u64 bytes = engine_.bytes_sent(), rounds = engine_.rounds();
  const auto progress = [&](u64 done, u64 total) { total_ = total, done_ = done; };
  const auto cost = [&] {
    const u64 nanoseconds = static_cast<u64>(std::chrono::nanoseconds(Clock::now() - start).count());
    const u64 words[kCostWords] = {nanoseconds, engine_.bytes_sent() - bytes, engine_.rounds() - rounds, peak_memory()};
    return Words(words, words + kCostWords);
  };
  switch (static_cast<Frame>(command.kind)) {
    case Frame::hello: {
      const u64 words[kHelloWords] = {(engine_.has_weights() ? u64{1} : u64{0}) | identity_ << 1, sessions_++};
      Words greeting(words, words + kHelloWords);
      const Words counts = limited_counts();
      greeting.insert(greeting.end(), counts.begin(), counts.end());
      const Words owners = owner_words();
      greeting.insert(greeting.end(), owners.begin(), owners.end());
      return {Frame::hello, static_cast<u64>(engine_.party()), std::move(greeting), {}};
    }
    case Frame::weights:
      sets_.clear();  // they were computed with the weights before
      send_away(Complaint::refused, "the model owner has sent weights: share your examples again");
      opened_.assign(opened_.size(), 0);
      identity_ = command.argument;
      engine_.set_weights(std::move(payload_));
      return {Frame::done, 0, cost(), {}};
    case Frame::examples: {
      const std::size_t owner = *roles_.owner(client_->name);
      begin_anew(owner);
      engine_.set_examples(sets_.number(owner, command.argument), command.count, std::move(payload_), progress);
      return {Frame::done, 0, cost(), {}};
    }
    case Frame::step: {
      opened_[command.output] += instances(command);  // now: what is lost on its way may have been read
      notify(command);
      const Words result =
          engine_.step(sets_of(command), command.count, command.output, std::move(payload_), progress, command.at);
      const Program& program = engine_.program();
      const int ring = program.values[program.outputs[command.output].value].ring;
      std::vector<u8> packed(packed_bytes(result.size(), ring));
      pack_bits(result.data(), result.size(), ring, packed.data());
      return {Frame::result, 0, cost(), std::move(packed)};
    }
    case Frame::tell:
      pass_on(command.argument);
      return {Frame::done, 0, cost(), {}};
    default:  // JOIN, STOP
      return {Frame::done, 0, cost(), {}};
  }
}

// The only sign of life of a party that computes, or waits for others: from a thread of its own, so that a client can
// tell it from one that is stopped.
void Service::tell_progress() {
  const u64 done = done_, words[kProgressWords] = {total_};
  answer(Frame::progress, done, Words(words, words + kProgressWords));
}

// A client that does not take its answer cannot stop the computation, which the other parties are part of: it loses its
// session afterwards.
void Service::answer(Frame kind, u64 argument, const Words& payload, const std::vector<u8>& tail) {
  if (client_broken_) return;
  try {
    auto head = frame(kind, argument, payload);
    const u64 length = payload.size() * sizeof(u64) + tail.size();
    std::memcpy(head.data() + offsetof(FrameHeader, length), &length, sizeof length);
    client_->stream.write_all(head.data(), head.size(), kAnswer);
    client_->stream.write_all(tail.data(), tail.size(), kAnswer);
  } catch (const ConnectionLost&) {
    client_broken_ = true;
  }
}

void Service::drop(Complaint complaint, const std::string& text) {
  std::optional<Visitor> client = end_session();
  if (client && !client_broken_) doorman_.dismiss(std::move(*client), complaint, text);
  payload_ = {};
  doorman_.open();
}

// Of several data owners, one that does not stay takes its examples away.
std::optional<Visitor> Service::end_session() {
  if (!client_) return {};
  const auto owner = roles_.owner(client_->name);
  if (roles_.several() && owner && !members_.here(*owner)) forget(*owner);
  return std::exchange(client_, std::nullopt);
}

}  // namespace secfwt
