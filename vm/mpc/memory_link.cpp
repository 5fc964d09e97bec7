#include "mpc/memory_link.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

namespace secfwt {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kBacklog = 4 << 20;  // bytes of bulk that may wait for the wire
constexpr const char* kGone = "the other end of a memory link is gone";

// One direction of a link. What is sent waits for its turn on the wire, if there is a bandwidth to wait for, and
// arrives a latency later.
class Wire {
 public:
  explicit Wire(Network network) : network_(network) {
    if (network.bytes_per_second > 0) pump_ = std::thread([this] { pump(); });
  }
  ~Wire() {
    close();
    if (pump_.joinable()) pump_.join();
  }

  void push(u32 channel, Bytes bytes) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (channel >= Link::kBulk) changed_.wait(lock, [&] { return closed_ || backlog_ < kBacklog; });
    if (closed_) throw PeerLost(kGone);
    if (!pump_.joinable()) return arrive(channel, std::move(bytes));
    if (channel >= Link::kBulk) backlog_ += bytes.size();
    (channel < Link::kBulk ? urgent_ : bulk_).push_back({channel, std::move(bytes)});
    changed_.notify_all();
  }

  void pop(u32 channel, u8* out, std::size_t n) {
    std::unique_lock<std::mutex> lock(mutex_);
    Queue& queue = arrived_[channel];
    while (n > 0) {
      changed_.wait(lock, [&] { return closed_ || !queue.messages.empty(); });
      if (queue.messages.empty()) throw PeerLost(kGone);
      while (Clock::now() < queue.messages.front().first)
        if (changed_.wait_until(lock, queue.messages.front().first, [&] { return closed_; })) throw PeerLost(kGone);
      const Bytes& front = queue.messages.front().second;
      const std::size_t take = std::min(n, front.size() - queue.consumed);
      if (take > 0) std::memcpy(out, front.data() + queue.consumed, take);
      out += take, n -= take, queue.consumed += take;
      if (queue.consumed == front.size()) queue.messages.pop_front(), queue.consumed = 0;
    }
  }

  void close() {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  struct Queue {
    std::deque<std::pair<Clock::time_point, Bytes>> messages;  // with the time each arrives
    std::size_t consumed = 0;                                  // of the first
  };

  void arrive(u32 channel, Bytes bytes) {
    const auto latency = std::chrono::duration_cast<Clock::duration>(network_.latency);
    arrived_[channel].messages.emplace_back(Clock::now() + latency, std::move(bytes));
    changed_.notify_all();
  }

  void pump() {
    auto free = Clock::now();
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return closed_ || !urgent_.empty() || !bulk_.empty(); });
      if (closed_) return;
      auto& queue = urgent_.empty() ? bulk_ : urgent_;
      auto [channel, bytes] = std::move(queue.front());
      queue.pop_front();
      const std::chrono::duration<double> takes(static_cast<double>(bytes.size()) / network_.bytes_per_second);
      free = std::max(free, Clock::now()) + std::chrono::duration_cast<Clock::duration>(takes);
      lock.unlock();
      std::this_thread::sleep_until(free);
      lock.lock();
      if (channel >= Link::kBulk) backlog_ -= bytes.size();
      arrive(channel, std::move(bytes));
    }
  }

  const Network network_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<u32, Bytes>> urgent_, bulk_;  // not yet on the wire
  std::size_t backlog_ = 0;                          // bytes of bulk_
  std::map<u32, Queue> arrived_;
  bool closed_ = false;
  std::thread pump_;
};

class MemoryChannel : public Channel {
 public:
  MemoryChannel(u32 number, std::shared_ptr<Wire> out, std::shared_ptr<Wire> in)
      : number_(number), out_(std::move(out)), in_(std::move(in)) {}
  void send(Bytes bytes) override {
    sent_ += bytes.size();
    out_->push(number_, std::move(bytes));
  }
  void recv(void* out, std::size_t n) override { in_->pop(number_, static_cast<u8*>(out), n); }

 private:
  u32 number_;
  std::shared_ptr<Wire> out_, in_;
};

class End : public MemoryLink {
 public:
  End(std::shared_ptr<Wire> out, std::shared_ptr<Wire> in) : out_(std::move(out)), in_(std::move(in)) {}
  ~End() override { End::close(); }
  void close() override {
    out_->close();
    in_->close();
  }
  Channel& channel(u32 number) override {
    std::lock_guard<std::mutex> lock(mutex_);
    return channels_.try_emplace(number, number, out_, in_).first->second;
  }

 private:
  std::shared_ptr<Wire> out_, in_;
  std::mutex mutex_;
  std::map<u32, MemoryChannel> channels_;
};

}  // namespace

std::pair<std::unique_ptr<MemoryLink>, std::unique_ptr<MemoryLink>> memory_link(Network network) {
  auto there = std::make_shared<Wire>(network), back = std::make_shared<Wire>(network);
  return {std::make_unique<End>(there, back), std::make_unique<End>(back, there)};
}

}  // namespace secfwt
