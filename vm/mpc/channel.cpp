#include "mpc/channel.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>

namespace secfwt {
namespace {

// One direction.
class Pipe {
 public:
  void push(Bytes bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closed_) throw PeerLost("the other end of a memory channel is gone");
    queue_.push_back(std::move(bytes));
    arrived_.notify_one();
  }

  void pop(u8* out, std::size_t n) {
    while (n > 0) {
      std::unique_lock<std::mutex> lock(mutex_);
      arrived_.wait(lock, [&] { return closed_ || !queue_.empty(); });
      if (queue_.empty()) throw PeerLost("the other end of a memory channel is gone");
      Bytes& front = queue_.front();
      const std::size_t take = std::min(n, front.size() - consumed_);
      if (take > 0) std::memcpy(out, front.data() + consumed_, take);
      out += take;
      n -= take;
      consumed_ += take;
      if (consumed_ == front.size()) {
        queue_.pop_front();
        consumed_ = 0;
      }
    }
  }

  void close() {
    std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    arrived_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Bytes> queue_;
  std::size_t consumed_ = 0;  // of the first message
  bool closed_ = false;
};

class MemoryChannel : public Channel {
 public:
  MemoryChannel(std::shared_ptr<Pipe> out, std::shared_ptr<Pipe> in) : out_(std::move(out)), in_(std::move(in)) {}
  ~MemoryChannel() override {
    out_->close();
    in_->close();
  }
  void send(Bytes bytes) override {
    sent_ += bytes.size();
    out_->push(std::move(bytes));
  }
  void recv(void* out, std::size_t n) override { in_->pop(static_cast<u8*>(out), n); }

 private:
  std::shared_ptr<Pipe> out_, in_;
};

}  // namespace

std::pair<std::unique_ptr<Channel>, std::unique_ptr<Channel>> memory_channel() {
  auto there = std::make_shared<Pipe>(), back = std::make_shared<Pipe>();
  return {std::make_unique<MemoryChannel>(there, back), std::make_unique<MemoryChannel>(back, there)};
}

}  // namespace secfwt
