#include "net/peer_link.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

namespace secfwt {
namespace {

using Lock = std::unique_lock<std::mutex>;
using Wait = TlsStream::Wait;
using How = ConnectionLost::How;

constexpr std::size_t kTurn = 1 << 20;                   // bytes in one direction before the other gets its turn
constexpr std::size_t kRecord = 16 << 10;                // of TLS: so much of a message goes with its head
constexpr std::size_t kBacklog = 1 << 20;                // bytes of bulk that may wait to be sent
constexpr u32 kAlive = ~u32{0}, kFarewell = kAlive - 1;  // heads without a channel and without bytes
constexpr auto kGrace = std::chrono::seconds(10);        // on a machine that is busy with other things, too

}  // namespace

void PeerGroup::check() {
  Lock lock(mutex);
  // The peer that ended by itself knew of a failure; this party's own connection to the one that failed is about to
  // report it.
  if (lost.empty() && !left.empty()) changed.wait_for(lock, kGrace, [this] { return !lost.empty(); });
  if (!lost.empty()) throw PeerLost(lost);
  if (!left.empty()) throw PeerLost(left);
}

void PeerGroup::end(const std::string& why) {
  Lock lock(mutex);
  if (lost.empty()) lost = why, ended = true;
  event.set();
  changed.notify_all();
}

void PeerChannel::send(Bytes bytes) {
  sent_ += bytes.size();
  link_.send(number_, std::move(bytes));
}

bool PeerChannel::ready(std::size_t n) {
  Lock lock(link_.group_.mutex);
  return arrived_bytes_ >= n;
}

void PeerChannel::recv(void* out, std::size_t n) {
  PeerGroup& group = link_.group_;
  auto* to = static_cast<u8*>(out);
  Lock lock(group.mutex);
  while (n > 0 && arrived_bytes_ > 0) {
    auto& chunk = arrived_.front();
    const std::size_t take = std::min(n, chunk.size() - first_used_);
    std::memcpy(to, chunk.data() + first_used_, take);
    to += take, n -= take, first_used_ += take, arrived_bytes_ -= take;
    link_.unread_ -= take;
    if (first_used_ == chunk.size()) arrived_.pop_front(), first_used_ = 0;
  }
  if (n == 0) return;
  wanted_ = to;
  wanted_bytes_ = n;
  const auto done = [&] { return wanted_bytes_ == 0 || !group.lost.empty(); };
  group.changed.wait(lock, [&] { return done() || !group.left.empty(); });
  // A peer that ended in an orderly way has sent all it had to, so what is missing must come soon from another, or
  // never.
  if (!done()) group.changed.wait_for(lock, kGrace, done);
  if (wanted_bytes_ == 0) return;
  // Take the buffer back from the thread before the caller frees it.
  wanted_ = nullptr, wanted_bytes_ = 0;
  group.changed.wait(lock, [this] { return !reading_; });
  throw PeerLost(group.lost.empty() ? group.left : group.lost);
}

PeerLink::PeerLink(TlsStream stream, std::string name, PeerGroup& group, const PeerLimits& limits,
                   Clock::time_point meeting)
    : stream_(std::move(stream)),
      name_(std::move(name)),
      group_(group),
      limits_(limits),
      heard_(meeting),
      thread_([this] { run(); }) {}

PeerLink::~PeerLink() {
  {
    Lock lock(group_.mutex);
    stopping_ = true;
    wake_.set();
    group_.changed.notify_all();
  }
  thread_.join();
}

PeerChannel& PeerLink::channel(u32 number) {
  Lock lock(group_.mutex);
  return channels_.try_emplace(number, *this, number).first->second;
}

void PeerLink::farewell() {
  Lock lock(group_.mutex);
  leaving_ = true;
  wake_.set();
}

void PeerLink::send(u32 channel, Bytes bytes) {
  if (bytes.empty()) return;
  if (bytes.size() > std::numeric_limits<u32>::max()) throw std::length_error("a message of more than 4 GiB");
  const bool bulk = channel >= kBulk;
  Lock lock(group_.mutex);
  if (bulk)
    group_.changed.wait(lock, [this] { return backlog_ < kBacklog || stopping_ || gone_ || !group_.lost.empty(); });
  if (!group_.lost.empty()) throw PeerLost(group_.lost);
  if (bulk && gone_) throw PeerLost(group_.left);
  if (bulk) backlog_ += bytes.size();
  (bulk ? bulk_ : urgent_).push_back({channel, std::move(bytes)});
  if (sleeping_) wake_.set();
  sleeping_ = false;
}

void PeerLink::lose(const std::string& how, bool orderly) {
  Lock lock(group_.mutex);
  auto& text = orderly ? group_.left : group_.lost;
  if (!stopping_ && text.empty()) text = name_ + " is gone: " + how;
  gone_ = true;
  for (auto& [number, channel] : channels_) channel.reading_ = false;
  group_.event.set();
  group_.changed.notify_all();
}

// Takes the next message to write, or a sign of life, if it is time for one.
bool PeerLink::next_message() {
  Lock lock(group_.mutex);
  auto& queue = urgent_.empty() ? bulk_ : urgent_;
  writing_ = true;
  if (std::exchange(leaving_, false)) {
    begin(kFarewell, {});
  } else if (!queue.empty()) {
    Outgoing message = std::move(queue.front());
    queue.pop_front();
    if (message.channel >= kBulk) {
      backlog_ -= message.bytes.size();
      group_.changed.notify_all();
    }
    begin(message.channel, std::move(message.bytes));
  } else if (Clock::now() >= said_ + kSign) {
    begin(kAlive, {});
  } else {
    writing_ = false;
  }
  return writing_;
}

void PeerLink::begin(u32 channel, Bytes bytes) {
  current_ = std::move(bytes);
  const Head head{channel, static_cast<u32>(current_.size())};
  current_sent_ = std::min(current_.size(), kRecord - sizeof head);
  start_.resize(sizeof head + current_sent_);
  std::memcpy(start_.data(), &head, sizeof head);
  if (current_sent_) std::memcpy(start_.data() + sizeof head, current_.data(), current_sent_);
  start_sent_ = 0;
}

// Writes until the socket is full, the queue is empty or the turn is over; true if there may be more to do.
bool PeerLink::write_some() {
  write_waits_ = Wait::nothing;
  for (std::size_t turn = 0; turn < kTurn;) {
    if (!writing_ && !next_message()) return false;
    const bool starting = start_sent_ < start_.size();
    std::size_t& sent = starting ? start_sent_ : current_sent_;
    const std::size_t size = starting ? start_.size() : current_.size();
    const std::size_t n = stream_.write((starting ? start_.data() : current_.data()) + sent, size - sent);
    if (n == 0) {
      write_waits_ = stream_.wait();
      return false;
    }
    sent += n;
    turn += n;
    said_ = Clock::now();
    if (start_sent_ == start_.size() && current_sent_ == current_.size()) Bytes().swap(current_), writing_ = false;
  }
  return true;
}

// The same. A peer that can no longer be written to may have said before that it goes, or that its operator ended it:
// then it is not the one that was lost.
bool PeerLink::write_or_hear() {
  try {
    return write_some();
  } catch (const ConnectionLost&) {
    try {
      while (read_some()) continue;
    } catch (const ConnectionLost& heard) {
      if (dismissed_ || heard.how == How::goodbye) throw;
    }
    throw;
  }
}

// Reads until the socket is empty or the turn is over, straight into the buffer of a waiting recv() or ahead of it;
// true if there may be more to do. All that arrives is taken: a receiver that left it in the socket while it computes
// would run into the sender's timeout. Heads count like what follows them: signs of life without end are no reason not
// to write.
bool PeerLink::read_some() {
  for (std::size_t turn = 0; turn < kTurn;) {
    if (left_ == 0) {
      const std::size_t got = stream_.read(reinterpret_cast<u8*>(&head_) + head_bytes_, sizeof head_ - head_bytes_);
      head_bytes_ = (head_bytes_ + got) % sizeof head_;
      if (got == 0) {
        read_waits_ = stream_.wait();
        return false;
      }
      turn += got;
      heard_ = Clock::now();
      if (head_bytes_ == 0) hear_head();
      continue;
    }
    u8* to = ahead_.data();
    std::size_t room = std::min(left_, ahead_.size());
    {
      Lock lock(group_.mutex);
      reader_->reading_ = reader_->wanted_bytes_ > 0;
      if (reader_->reading_) to = reader_->wanted_, room = std::min({left_, reader_->wanted_bytes_, kTurn});
    }
    std::size_t got = 0;
    for (std::size_t n = 1; n > 0 && got < room; got += n) n = stream_.read(to + got, room - got);
    const bool dry = got < room;
    turn += got;
    left_ -= got;
    if (got > 0) heard_ = Clock::now();
    deliver(*reader_, to, got);
    if (dry) {
      read_waits_ = stream_.wait();
      return false;
    }
  }
  return true;
}

void PeerLink::hear_head() {
  if (head_.channel == kFarewell) {
    dismissed_ = true;
    throw ConnectionLost("it was ended by its operator", How::broken);
  }
  if (head_.channel == kAlive) return;
  if (!limits_.has(head_.channel))
    throw std::runtime_error("it sent a message on channel " + std::to_string(head_.channel) +
                             ", which is for nothing");
  left_ = head_.length, reader_ = &channel(head_.channel);
}

void PeerLink::deliver(PeerChannel& channel, const u8* data, std::size_t n) {
  Lock lock(group_.mutex);
  const bool direct = std::exchange(channel.reading_, false);
  const std::size_t take = std::min(n, channel.wanted_bytes_);        // 0 if recv() gave up meanwhile
  if (!direct && take > 0) std::memcpy(channel.wanted_, data, take);  // posted meanwhile
  if (take > 0) channel.wanted_ += take, channel.wanted_bytes_ -= take;
  if (!direct && n > take) {
    channel.arrived_.emplace_back(n - take);
    std::memcpy(channel.arrived_.back().data(), data + take, n - take);
    channel.arrived_bytes_ += n - take;
    unread_ += n - take;
    if (unread_ > limits_.unread)
      throw std::runtime_error("it sent " + std::to_string(unread_ >> 20) + " MB that nobody waits for");
    group_.event.set();
  }
  if (channel.wanted_bytes_ == 0) group_.changed.notify_all();
}

void PeerLink::run() {
  Clock::time_point give_up = Clock::time_point::max();
  try {
    for (;;) {
      const bool more_out = write_or_hear();
      const bool more_in = read_some();
      bool idle = !more_out && !more_in;
      {
        Lock lock(group_.mutex);
        const bool queued = !urgent_.empty() || !bulk_.empty();
        if (stopping_) {
          if (give_up == Clock::time_point::max()) give_up = Clock::now() + std::chrono::seconds(1);
          if ((urgent_.empty() && !writing_ && !leaving_) || Clock::now() >= give_up) break;
        }
        if (idle && write_waits_ == Wait::nothing && queued) idle = false;
        sleeping_ = idle;
      }
      if (!idle) continue;
      if (Clock::now() >= heard_ + kSilence)
        throw ConnectionLost(
            "no sign of life for " + std::to_string(kSilence.count()) + " s: it is stopped, or its host hangs",
            How::broken);
      const auto next = std::min({give_up, heard_ + kSilence, writing_ ? Clock::time_point::max() : said_ + kSign});
      short events = 0;
      for (const Wait wait : {read_waits_, write_waits_})
        events |= static_cast<short>(wait == Wait::readable ? POLLIN : wait == Wait::writable ? POLLOUT : 0);
      pollfd fds[2] = {{stream_.fd(), events, 0}, {wake_.fd(), POLLIN, 0}};
      poll_until(fds, 2, next);
      wake_.clear();
      Lock lock(group_.mutex);
      sleeping_ = false;
    }
    stream_.finish();
  } catch (const ConnectionLost& loss) {
    lose(loss.what(), loss.how == How::goodbye);
  } catch (const std::exception& error) {
    lose(error.what(), false);
  }
}

}  // namespace secfwt
