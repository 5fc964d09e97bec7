#include "net/doorman.h"

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
constexpr auto kFarewell = seconds(3);       // for reading an ERROR
constexpr std::size_t kGuests = 64;
constexpr std::size_t kHelloBytes = FrameHeader::kBytes + sizeof(Hash);

std::string hex(const Hash& hash) {
  std::string text;
  for (std::size_t i = 0; i < 8; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", hash[i]);
    text += digits;
  }
  return text;
}

}  // namespace

Doorman::Doorman(const TlsContext& tls, Fd listener, int id, const Hash& program)
    : tls_(tls), listener_(std::move(listener)), id_(id), program_(program) {
  for (int party = 0; party < 3; ++party) names_.push_back(party_name(party));
  names_.insert(names_.end(), {kModelOwner, kDataOwner});
  thread_ = std::thread([this] { run(); });
}

Doorman::~Doorman() {
  {
    Lock lock(mutex_);
    stopping_ = true;
  }
  wake_.set();
  thread_.join();
}

TlsStream Doorman::wait_for_party(int id, Clock::time_point deadline) {
  for (;;) {
    {
      Lock lock(mutex_);
      if (auto& stream = parties_[id]) return std::move(*stream);
    }
    pollfd arrival{arrival_.fd(), POLLIN, 0};
    if (!poll_until(&arrival, 1, deadline))
      throw SetupError("party " + std::to_string(id) + " did not connect in time");
    arrival_.clear();
  }
}

std::optional<Visitor> Doorman::take() {
  Lock lock(mutex_);
  if (!visitor_) return {};
  open_ = false;
  return std::exchange(visitor_, std::nullopt);
}

void Doorman::open() {
  Lock lock(mutex_);
  open_ = started_ = true;
}

void Doorman::dismiss(Visitor visitor, Complaint complaint, const std::string& text) {
  Guest guest{std::move(visitor.stream), Phase::leaving, Clock::now() + kFarewell, visitor.name,
              error_frame(complaint, text)};
  Lock lock(mutex_);
  leaving_.push_back(std::move(guest));
  wake_.set();
}

void Doorman::run() {
  std::vector<pollfd> fds;
  for (bool stopping = false; !stopping || !guests_.empty();) {
    auto deadline = Clock::now() + std::chrono::hours(1);
    fds = {{wake_.fd(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    for (const auto& guest : guests_) {
      fds.push_back({guest.stream.fd(), guest.events, 0});
      deadline = std::min(deadline, guest.deadline);
    }
    poll_until(fds.data(), fds.size(), deadline);
    wake_.clear();
    std::size_t i = 2;
    for (auto guest = guests_.begin(); guest != guests_.end(); ++i) {
      const bool ready = fds[i].revents != 0;
      const bool stays = Clock::now() < guest->deadline && (!ready || advance(*guest));
      guest = stays ? std::next(guest) : guests_.erase(guest);
    }
    {
      Lock lock(mutex_);
      guests_.splice(guests_.end(), leaving_, leaving_.begin(), leaving_.end());
      if (!stopping && stopping_) {
        stopping = true;
        guests_.remove_if([](const Guest& guest) { return guest.phase != Phase::leaving; });
        for (auto& guest : guests_) guest.deadline = std::min(guest.deadline, Clock::now() + seconds(1));
      }
    }
    for (auto guest = guests_.begin(); guest != guests_.end();)
      guest =
          guest->phase != Phase::leaving || guest->sent || advance(*guest) ? std::next(guest) : guests_.erase(guest);
    if (!stopping) accept_all();
  }
}

void Doorman::accept_all() {
  for (;;) {
    Fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) return;
    if (guests_.size() >= kGuests) continue;
    set_tcp_options(socket.get(), 10);
    guests_.push_back({tls_.accept(std::move(socket)), Phase::handshake, Clock::now() + kIntroduction});
  }
}

bool Doorman::advance(Guest& guest) {
  try {
    if (guest.phase == Phase::handshake && !shake_hands(guest)) return false;
    if (guest.phase == Phase::hello && !hear_hello(guest)) return false;
    return guest.phase != Phase::leaving || see_off(guest);
  } catch (const ConnectionLost& loss) {
    if (guest.phase == Phase::handshake) log_line(std::string("refused a connection: ") + loss.what());
    return false;
  }
}

bool Doorman::shake_hands(Guest& guest) {
  const Wait wait = guest.stream.handshake();
  guest.events = guest.stream.poll_events();
  if (wait != Wait::nothing) return true;
  guest.name = guest.stream.peer_name(names_);
  if (guest.name == kModelOwner || guest.name == kDataOwner) {
    guest.phase = Phase::hello;
    return true;
  }
  const auto party = static_cast<std::size_t>(std::find(names_.begin(), names_.end(), guest.name) - names_.begin());
  Lock lock(mutex_);
  if (party >= 3 || static_cast<int>(party) == id_ || std::exchange(party_seen_[party], true)) {
    log_line("refused a connection: its certificate is for " +
             (guest.name.empty() ? "no single name of a deployment" : guest.name));
    return false;
  }
  parties_[party] = std::move(guest.stream);
  arrival_.set();
  return false;
}

bool Doorman::hear_hello(Guest& guest) {
  auto& bytes = guest.bytes;
  for (;;) {
    const std::size_t have = bytes.size(), want = have < FrameHeader::kBytes ? FrameHeader::kBytes : kHelloBytes;
    if (have == want) break;
    bytes.resize(want);
    const std::size_t got = guest.stream.read(bytes.data() + have, want - have);
    bytes.resize(have + got);
    guest.events = guest.stream.poll_events();
    if (got == 0) return true;
    if (bytes.size() != FrameHeader::kBytes) continue;
    FrameHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.magic != FrameHeader::kMagic || header.kind != Frame::hello || header.length != sizeof(Hash))
      return turn_away(guest, Complaint::refused, "expected HELLO with a program hash of 32 bytes as the first frame");
  }
  FrameHeader header;
  Hash theirs;
  std::memcpy(&header, bytes.data(), sizeof header);
  std::memcpy(theirs.data(), bytes.data() + sizeof header, sizeof theirs);
  if (theirs != program_)
    return turn_away(guest, Complaint::refused,
                     "the client's program (sha256 " + hex(theirs) + "...) is not the one this party runs (" +
                         hex(program_) + "...)");
  bool started;
  {
    Lock lock(mutex_);
    started = started_;
    if (open_ && !visitor_) {
      visitor_ = Visitor{std::move(guest.stream), guest.name, header.argument};
      arrival_.set();
      return false;
    }
  }
  return turn_away(
      guest, Complaint::busy,
      started ? "busy: another session is active" : "busy: the parties are still connecting to each other");
}

bool Doorman::turn_away(Guest& guest, Complaint complaint, const std::string& text) {
  log_line("turned " + guest.name + " away: " + text);
  guest.phase = Phase::leaving;
  guest.bytes = error_frame(complaint, text);
  guest.deadline = Clock::now() + kFarewell;
  return true;
}

// The client may be in the middle of sending: a socket closed with unread data would be reset, and the ERROR lost.
bool Doorman::see_off(Guest& guest) {
  auto& bytes = guest.bytes;
  while (!bytes.empty()) {
    const std::size_t put = guest.stream.write(bytes.data(), bytes.size());
    guest.events = guest.stream.poll_events();
    if (put == 0) return true;
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(put));
  }
  if (!guest.sent) {
    guest.sent = true;
    guest.events = POLLIN;
    guest.stream.finish();
    shutdown(guest.stream.fd(), SHUT_WR);
  }
  static thread_local std::vector<u8> waste(256 << 10);
  for (int turn = 0; turn < 16; ++turn) {
    const auto got = recv(guest.stream.fd(), waste.data(), waste.size(), 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (got < 0) return true;
  }
  return true;
}

}  // namespace secfwt
