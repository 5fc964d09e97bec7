#include "net/peer_channel.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace secfwt {
namespace {

using Lock = std::unique_lock<std::mutex>;
using Wait = TlsStream::Wait;

constexpr std::size_t kTurn = 1 << 20;             // bytes in one direction before the other gets its turn
constexpr auto kGrace = std::chrono::seconds(10);  // on a machine that is busy with other things, too

}  // namespace

void PeerGroup::check() {
  Lock lock(mutex);
  // The peer that ended by itself knew of a failure; this party's own connection to the one that failed is about to
  // report it.
  if (lost.empty() && !left.empty()) changed.wait_for(lock, kGrace, [this] { return !lost.empty(); });
  if (!lost.empty()) throw PeerLost(lost);
  if (!left.empty()) throw PeerLost(left);
}

PeerChannel::PeerChannel(TlsStream stream, std::string name, PeerGroup& group)
    : stream_(std::move(stream)), name_(std::move(name)), group_(group), thread_([this] { run(); }) {}

PeerChannel::~PeerChannel() {
  {
    Lock lock(group_.mutex);
    stopping_ = true;
    wake_.set();
  }
  thread_.join();
}

void PeerChannel::wake_locked() {
  if (sleeping_) wake_.set();
  sleeping_ = false;
}

void PeerChannel::send(Bytes bytes) {
  if (bytes.empty()) return;
  Lock lock(group_.mutex);
  if (!group_.lost.empty()) throw PeerLost(group_.lost);
  sent_ += bytes.size();
  outgoing_.push_back(std::move(bytes));
  wake_locked();
}

bool PeerChannel::ready(std::size_t n) {
  Lock lock(group_.mutex);
  return arrived_bytes_ >= n;
}

void PeerChannel::recv(void* out, std::size_t n) {
  auto* to = static_cast<u8*>(out);
  Lock lock(group_.mutex);
  while (n > 0 && arrived_bytes_ > 0) {
    auto& chunk = arrived_.front();
    const std::size_t take = std::min(n, chunk.size() - first_used_);
    std::memcpy(to, chunk.data() + first_used_, take);
    to += take, n -= take, first_used_ += take, arrived_bytes_ -= take;
    if (first_used_ == chunk.size()) arrived_.pop_front(), first_used_ = 0;
  }
  if (n == 0) return;
  wanted_ = to;
  wanted_bytes_ = n;
  const auto done = [this] { return wanted_bytes_ == 0 || !group_.lost.empty(); };
  group_.changed.wait(lock, [&] { return done() || !group_.left.empty(); });
  // A peer that ended in an orderly way has sent all it had to, so what is missing must come soon from another, or
  // never.
  if (!done()) group_.changed.wait_for(lock, kGrace, done);
  if (wanted_bytes_ == 0) return;
  // Take the buffer back from the thread before the caller frees it.
  wanted_ = nullptr, wanted_bytes_ = 0;
  group_.changed.wait(lock, [this] { return !reading_; });
  throw PeerLost(group_.lost.empty() ? group_.left : group_.lost);
}

void PeerChannel::lose(const std::string& how, bool orderly) {
  Lock lock(group_.mutex);
  auto& text = orderly ? group_.left : group_.lost;
  if (!stopping_ && text.empty()) text = name_ + " is gone: " + how;
  reading_ = false;
  group_.event.set();
  group_.changed.notify_all();
}

// Writes until the socket is full, the queue is empty or the turn is over; true if there may be more to do.
bool PeerChannel::write_some() {
  write_waits_ = Wait::nothing;
  for (std::size_t turn = 0; turn < kTurn;) {
    if (current_sent_ == current_.size()) {
      Lock lock(group_.mutex);
      if (outgoing_.empty()) return false;
      current_ = std::move(outgoing_.front());
      current_sent_ = 0;
      outgoing_.pop_front();
    }
    const std::size_t n = stream_.write(current_.data() + current_sent_, current_.size() - current_sent_);
    if (n == 0) {
      write_waits_ = stream_.wait();
      return false;
    }
    current_sent_ += n;
    turn += n;
    if (current_sent_ == current_.size()) Bytes().swap(current_), current_sent_ = 0;
  }
  return true;
}

// Reads until the socket is empty or the turn is over, straight into the buffer of a waiting recv() or ahead of it;
// true if there may be more to do. All that arrives is taken: a receiver that left it in the socket while it computes
// would run into the sender's timeout.
bool PeerChannel::read_some() {
  for (std::size_t turn = 0; turn < kTurn;) {
    u8* to = ahead_.data();
    std::size_t room = ahead_.size();
    {
      Lock lock(group_.mutex);
      reading_ = wanted_bytes_ > 0;
      if (reading_) to = wanted_, room = std::min(wanted_bytes_, kTurn);
    }
    std::size_t got = 0;
    for (std::size_t n = 1; n > 0 && got < room; got += n) n = stream_.read(to + got, room - got);
    const bool dry = got < room;
    turn += got;
    if (got > 0 || reading_) deliver(to, got);
    if (dry) {
      read_waits_ = stream_.wait();
      return false;
    }
  }
  return true;
}

void PeerChannel::deliver(const u8* data, std::size_t n) {
  Lock lock(group_.mutex);
  const bool direct = std::exchange(reading_, false);
  const std::size_t take = std::min(n, wanted_bytes_);        // 0 if recv() gave up meanwhile
  if (!direct && take > 0) std::memcpy(wanted_, data, take);  // posted meanwhile
  if (take > 0) wanted_ += take, wanted_bytes_ -= take;
  if (!direct && n > take) {
    arrived_.emplace_back(n - take);
    std::memcpy(arrived_.back().data(), data + take, n - take);
    arrived_bytes_ += n - take;
    group_.event.set();
  }
  if (wanted_bytes_ == 0) group_.changed.notify_all();
}

void PeerChannel::run() {
  Clock::time_point give_up = Clock::time_point::max();
  try {
    for (;;) {
      const bool more_out = write_some();
      const bool more_in = read_some();
      bool idle = !more_out && !more_in;
      {
        Lock lock(group_.mutex);
        if (stopping_) {
          if (give_up == Clock::time_point::max()) give_up = Clock::now() + std::chrono::seconds(1);
          if ((outgoing_.empty() && current_sent_ == current_.size()) || Clock::now() >= give_up) break;
        }
        if (idle && write_waits_ == Wait::nothing && !outgoing_.empty()) idle = false;
        sleeping_ = idle;
      }
      if (!idle) continue;
      short events = 0;
      for (const Wait wait : {read_waits_, write_waits_})
        events |= static_cast<short>(wait == Wait::readable ? POLLIN : wait == Wait::writable ? POLLOUT : 0);
      pollfd fds[2] = {{stream_.fd(), events, 0}, {wake_.fd(), POLLIN, 0}};
      poll_until(fds, 2, std::min(give_up, Clock::now() + std::chrono::hours(1)));
      wake_.clear();
      Lock lock(group_.mutex);
      sleeping_ = false;
    }
    stream_.finish();
  } catch (const ConnectionLost& loss) {
    lose(loss.what(), loss.how == ConnectionLost::How::goodbye);
  } catch (const std::exception& error) {
    lose(error.what(), false);
  }
}

}  // namespace secfwt
