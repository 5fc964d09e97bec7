#include "net/doorman.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "net/log.h"

namespace secfwt {
namespace {

using Lock = std::lock_guard<std::mutex>;
using Wait = TlsStream::Wait;
using std::chrono::seconds;

constexpr auto kIntroduction = seconds(10);  // for handshake and HELLO
constexpr auto kIdleWait = seconds(10);  // for a session to begin while there is none: the other parties may be slower
constexpr auto kBusyWait = seconds(1);   // for another session to end
constexpr auto kFarewell = seconds(3);   // for reading an ERROR
constexpr std::size_t kGuests = 64;      // in all
constexpr std::size_t kStrangers = 32;   // from one address, before they prove a name
constexpr std::size_t kAtOnce = 16;      // accepted before those that are here are heard
constexpr std::size_t kHelloBytes = FrameHeader::kBytes + sizeof(Hash);

// A guest that is done with: it left, or was handed over.
struct Gone {};

}  // namespace

Doorman::Doorman(const TlsContext& tls, Fd listener, int id, const Hash& program, const Roles& roles)
    : tls_(tls),
      listener_(std::move(listener)),
      id_(id),
      program_(program),
      known_(roles.known(program)),
      clients_(roles.clients()) {
  for (int party = 0; party < 3; ++party) names_.push_back(party_name(party));
  names_.insert(names_.end(), clients_.begin(), clients_.end());
  thread_ = std::thread([this] { run(); });
}

Doorman::~Doorman() {
  {
    Lock lock(mutex_);
    stopping_ = true;
    guests_.remove_if([](const Guest& guest) { return guest.phase != Phase::leaving; });
    for (auto& guest : guests_) guest.deadline = std::min(guest.deadline, Clock::now() + seconds(1));
  }
  wake_.set();
  thread_.join();
}

TlsStream Doorman::wait_for_party(int id, Clock::time_point deadline) {
  for (;;) {
    arrival_.clear();
    {
      Lock lock(mutex_);
      if (auto& stream = parties_[id]) return std::move(*stream);
    }
    pollfd arrival{arrival_.fd(), POLLIN, 0};
    if (!poll_until(&arrival, 1, deadline))
      throw SetupError("party " + std::to_string(id) + " did not connect in time");
  }
}

std::optional<Visitor> Doorman::take(std::optional<u64> session) {
  Lock lock(mutex_);
  const auto guest = std::find_if(guests_.begin(), guests_.end(), [&](const Guest& each) {
    return each.phase == Phase::waiting && (!session || each.session == *session);
  });
  if (guest == guests_.end()) return {};
  Visitor visitor{std::move(guest->stream), guest->name, guest->session};
  guests_.erase(guest);
  open_ = false;
  for (auto& each : guests_)
    if (each.phase == Phase::waiting) each.deadline = std::min(each.deadline, waiting_deadline());
  wake_.set();
  return visitor;
}

bool Doorman::anyone_waits() {
  Lock lock(mutex_);
  return std::any_of(guests_.begin(), guests_.end(), [](const Guest& g) { return g.phase == Phase::waiting; });
}

void Doorman::open() {
  Lock lock(mutex_);
  open_ = started_ = true;
}

void Doorman::dismiss(Visitor visitor, Complaint complaint, const std::string& text) {
  Lock lock(mutex_);
  guests_.push_back({std::move(visitor.stream), Phase::leaving, Clock::now() + kFarewell, visitor.name});
  guests_.back().bytes = error_frame(complaint, text);
  wake_.set();
}

Clock::time_point Doorman::waiting_deadline() const { return Clock::now() + (open_ ? kIdleWait : kBusyWait); }

void Doorman::run() {
  for (std::vector<pollfd> fds;;) {
    auto deadline = Clock::now() + std::chrono::hours(1);
    fds = {{wake_.fd(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    {
      Lock lock(mutex_);
      if (stopping_ && guests_.empty()) return;
      for (auto& guest : guests_) {
        guest.slot = fds.size();
        fds.push_back({guest.stream.fd(), guest.events, 0});
        deadline = std::min(deadline, guest.deadline);
      }
    }
    poll_until(fds.data(), fds.size(), deadline);
    wake_.clear();
    Lock lock(mutex_);
    for (auto guest = guests_.begin(); guest != guests_.end();) {
      const bool ready = guest->slot > 0 && fds[guest->slot].revents != 0;
      guest = stays(*guest, ready) ? std::next(guest) : guests_.erase(guest);
    }
    if (!stopping_) accept_some();
  }
}

void Doorman::accept_some() {
  for (std::size_t i = 0; i < kAtOnce; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    Fd socket(accept4(listener_.get(), generic, &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) return;
    char host[NI_MAXHOST] = "";
    getnameinfo(generic, size, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
    if (!make_room(host)) continue;
    set_tcp_options(socket.get(), 10);
    guests_.push_back({tls_.accept(std::move(socket)), Phase::handshake, Clock::now() + kIntroduction});
    guests_.back().source = host;
  }
}

// Strangers make way for whoever comes: those from the same address where these are many, first one that has not said
// anything, the oldest first. So connections that say nothing cannot keep out those that do.
bool Doorman::make_room(const std::string& source) {
  const auto from_there = [&](const Guest& guest) { return guest.name.empty() && guest.source == source; };
  const bool many = std::count_if(guests_.begin(), guests_.end(), from_there) >= std::ptrdiff_t{kStrangers};
  if (!many && guests_.size() < kGuests) return true;
  const auto goes = [&](const Guest& guest) { return guest.name.empty() && (!many || guest.source == source); };
  auto guest = std::find_if(guests_.begin(), guests_.end(), [&](const Guest& g) { return goes(g) && !g.spoke; });
  if (guest == guests_.end()) guest = std::find_if(guests_.begin(), guests_.end(), goes);
  if (guest == guests_.end()) return false;
  guests_.erase(guest);
  return true;
}

bool Doorman::stays(Guest& guest, bool ready) {
  try {
    if (ready) advance(guest);
    if (Clock::now() >= guest.deadline) {
      if (guest.phase != Phase::waiting) return false;
      turn_away(guest, Complaint::busy,
                open_      ? "busy: the other parties have not seen this client"
                : started_ ? "busy: another session is active"
                           : "busy: the parties are still connecting to each other");
    }
    if (guest.phase == Phase::leaving && !guest.sent) see_off(guest);
    return true;
  } catch (const ConnectionLost&) {
    return false;
  } catch (const Gone&) {
    return false;
  }
}

void Doorman::advance(Guest& guest) {
  guest.spoke = true;
  if (guest.phase == Phase::handshake) shake_hands(guest);
  if (guest.phase == Phase::hello) hear_hello(guest);
  if (guest.phase == Phase::leaving) see_off(guest);
  if (guest.phase != Phase::waiting) return;
  u8 waste;
  if (guest.stream.read(&waste, 1) > 0)
    throw Gone{};  // it must wait for its answer; most likely it has hung up, which throws as well
}

void Doorman::shake_hands(Guest& guest) {
  Wait wait;
  try {
    wait = guest.stream.handshake();
  } catch (const ConnectionLost& loss) {
    log_line(std::string("refused a connection: ") + loss.what());
    guest.phase = Phase::leaving;  // so that it can read the alert
    return;
  }
  guest.events = guest.stream.poll_events();
  if (wait != Wait::nothing) return;
  guest.name = guest.stream.peer_name(names_);
  try {
    tls_.check_pin(guest.stream, guest.name);
  } catch (const ConnectionLost& loss) {
    log_line(std::string("refused a connection: ") + loss.what());
    throw;
  }
  if (std::find(clients_.begin(), clients_.end(), guest.name) != clients_.end()) {
    guest.phase = Phase::hello;
    return;
  }
  const auto party = static_cast<std::size_t>(std::find(names_.begin(), names_.end(), guest.name) - names_.begin());
  if (party >= 3 || static_cast<int>(party) == id_ || std::exchange(party_seen_[party], true)) {
    log_line("refused a connection of " +
             (guest.name.empty() ? "somebody without a name of this deployment" : guest.name));
    throw Gone{};
  }
  parties_[party] = std::move(guest.stream);
  arrival_.set();
  throw Gone{};
}

void Doorman::hear_hello(Guest& guest) {
  auto& bytes = guest.bytes;
  FrameHeader header;
  while (bytes.size() < kHelloBytes) {
    const std::size_t have = bytes.size(), want = have < FrameHeader::kBytes ? FrameHeader::kBytes : kHelloBytes;
    bytes.resize(want);
    const std::size_t got = guest.stream.read(bytes.data() + have, want - have);
    bytes.resize(have + got);
    guest.events = guest.stream.poll_events();
    if (got == 0) return;
    if (bytes.size() < FrameHeader::kBytes) continue;
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.magic != FrameHeader::kMagic && header.magic << 8 == FrameHeader::kMagic << 8)
      return turn_away(guest, Complaint::refused, "the client speaks another version of this protocol than this party");
    if (header.magic != FrameHeader::kMagic || header.kind != Frame::hello || header.length != sizeof(Hash))
      return turn_away(guest, Complaint::refused, "expected HELLO with a program hash of 32 bytes as the first frame");
  }
  Hash theirs;
  std::memcpy(theirs.data(), bytes.data() + sizeof header, sizeof theirs);
  if (known_ != program_ && theirs == program_)
    return turn_away(guest, Complaint::refused, "this party's deployment names several data owners, the client's none");
  if (theirs != known_)
    return turn_away(guest, Complaint::refused,
                     known_ != program_
                         ? "the client has another program than this party, or another deployment: other data owners, "
                           "another order of them or another coordinator"
                         : "the client's program (sha256 " + hex(theirs).substr(0, 16) +
                               "...) is not the one this party runs (" + hex(program_).substr(0, 16) + "...)");
  guest.session = header.argument;
  guest.phase = Phase::waiting;
  guest.deadline = waiting_deadline();
  arrival_.set();
}

void Doorman::turn_away(Guest& guest, Complaint complaint, const std::string& text) {
  log_line("turned " + guest.name + " away: " + text);
  guest.phase = Phase::leaving;
  guest.bytes = error_frame(complaint, text);
  guest.deadline = Clock::now() + kFarewell;
}

// The client may be in the middle of sending: a socket closed with unread data would be reset, and the ERROR lost.
void Doorman::see_off(Guest& guest) {
  auto& bytes = guest.bytes;
  while (!bytes.empty()) {
    const std::size_t put = guest.stream.write(bytes.data(), bytes.size());
    guest.events = guest.stream.poll_events();
    if (put == 0) return;
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(put));
  }
  if (!std::exchange(guest.sent, true)) {
    guest.events = POLLIN;
    guest.stream.finish();
    shutdown(guest.stream.fd(), SHUT_WR);
  }
  static thread_local std::vector<u8> waste(256 << 10);
  for (int turn = 0; turn < 16; ++turn) {
    const auto got = recv(guest.stream.fd(), waste.data(), waste.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) throw Gone{};
  }
}

}  // namespace secfwt
