#include "ring/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace secfwt {
namespace {

using Body = std::function<void(std::size_t, std::size_t)>;

// One loop: threads take the next chunk until none is left.
class Loop {
 public:
  Loop(std::size_t n, std::size_t chunk, const Body& body) : n_(n), chunk_(chunk), body_(body) {}

  bool exhausted() const { return next_.load() >= n_; }

  void work() {
    while (!exhausted()) {
      std::size_t lo = next_.fetch_add(chunk_);
      if (lo >= n_) return;
      try {
        body_(lo, std::min(lo + chunk_, n_));
      } catch (...) {
        next_ = n_;  // the rest would be thrown away
        std::lock_guard<std::mutex> lock(mutex_);
        if (!error_) error_ = std::current_exception();
      }
    }
  }

  // To be called when no thread works on the loop any more.
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

  std::size_t helpers = 0;  // workers on this loop; the pool's

 private:
  const std::size_t n_, chunk_;
  const Body& body_;
  std::atomic<std::size_t> next_{0};
  std::mutex mutex_;
  std::exception_ptr error_;
};

class Pool {
 public:
  ~Pool() { stop(); }

  unsigned size() const { return size_; }

  void resize(unsigned n) {
    stop();
    size_ = n;
  }

  // Several threads may run loops at the same time: workers help with the oldest first.
  void run(Loop& loop) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      while (workers_.size() + 1 < size_) workers_.emplace_back([this] { serve(); });
      loops_.push_back(&loop);
    }
    wake_.notify_all();
    inside = true;
    loop.work();
    inside = false;
    std::unique_lock<std::mutex> lock(mutex_);
    loops_.erase(std::find(loops_.begin(), loops_.end(), &loop));
    idle_.wait(lock, [&] { return loop.helpers == 0; });
  }

  // Whether this thread works on a loop: loops within it run inline.
  static thread_local bool inside;

 private:
  void stop() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    stopping_ = false;
  }

  Loop* waiting() const {
    const auto found = std::find_if(loops_.begin(), loops_.end(), [](const Loop* loop) { return !loop->exhausted(); });
    return found == loops_.end() ? nullptr : *found;
  }

  void serve() {
    inside = true;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      Loop* loop = nullptr;  // looked up once: its own thread may exhaust it at any moment
      wake_.wait(lock, [&] {
        loop = waiting();
        return stopping_ || loop;
      });
      if (stopping_) return;
      ++loop->helpers;
      lock.unlock();
      loop->work();
      lock.lock();
      if (--loop->helpers == 0) idle_.notify_all();
    }
  }

  std::atomic<unsigned> size_{std::max(1u, std::thread::hardware_concurrency())};
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::vector<std::thread> workers_;
  std::vector<Loop*> loops_;
  bool stopping_ = false;
};

thread_local bool Pool::inside = false;

Pool& pool() {
  static Pool instance;
  return instance;
}

}  // namespace

void set_threads(unsigned n) { pool().resize(std::max(1u, n)); }

unsigned threads() { return pool().size(); }

void parallel_for(std::size_t n, std::size_t grain, const Body& body) {
  if (n == 0) return;
  grain = std::max<std::size_t>(grain, 1);
  // Four chunks a thread even out what other processes take away.
  std::size_t chunk = std::max(grain, (n + 4 * threads() - 1) / (4 * threads()));
  if (chunk >= n || threads() == 1 || Pool::inside) {
    body(0, n);
    return;
  }
  Loop loop(n, chunk, body);
  pool().run(loop);
  loop.rethrow();
}

}  // namespace secfwt
