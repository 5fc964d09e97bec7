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

  // The pool runs one loop at a time; who does not get it works alone.
  bool acquire() { return !busy_.exchange(true, std::memory_order_acquire); }
  void release() { busy_.store(false, std::memory_order_release); }

  unsigned size() const { return size_; }

  void resize(unsigned n) {
    stop();
    size_ = n;
  }

  void run(Loop& loop) {
    start();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      loop_ = &loop;
    }
    wake_.notify_all();
    loop.work();
    std::unique_lock<std::mutex> lock(mutex_);
    loop_ = nullptr;
    idle_.wait(lock, [&] { return working_ == 0; });
  }

 private:
  void start() {
    while (workers_.size() + 1 < size_) workers_.emplace_back([this] { serve(); });
  }

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

  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return stopping_ || (loop_ && !loop_->exhausted()); });
      if (stopping_) return;
      Loop* loop = loop_;
      ++working_;
      lock.unlock();
      loop->work();
      lock.lock();
      if (--working_ == 0) idle_.notify_one();
    }
  }

  std::atomic<bool> busy_{false};
  std::atomic<unsigned> size_{std::max(1u, std::thread::hardware_concurrency())};
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::vector<std::thread> workers_;
  Loop* loop_ = nullptr;
  std::size_t working_ = 0;
  bool stopping_ = false;
};

Pool& pool() {
  static Pool instance;
  return instance;
}

}  // namespace

void set_threads(unsigned n) {
  while (!pool().acquire()) std::this_thread::yield();
  pool().resize(std::max(1u, n));
  pool().release();
}

unsigned threads() { return pool().size(); }

void parallel_for(std::size_t n, std::size_t grain, const Body& body) {
  if (n == 0) return;
  grain = std::max<std::size_t>(grain, 1);
  // Four chunks a thread even out what other processes take away.
  std::size_t chunk = std::max(grain, (n + 4 * threads() - 1) / (4 * threads()));
  if (chunk >= n || threads() == 1 || !pool().acquire()) {
    body(0, n);
    return;
  }
  Loop loop(n, chunk, body);
  pool().run(loop);
  pool().release();
  loop.rethrow();
}

}  // namespace secfwt
