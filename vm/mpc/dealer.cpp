#include "mpc/dealer.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace secfwt {
namespace {

constexpr auto kLook = std::chrono::milliseconds(5);  // how soon it is noticed that a step takes tuples
constexpr int kNice = 10;                             // steps come first

}  // namespace

Dealer::Dealer(std::vector<TuplePool*> pools, u64 bytes) : bytes_(bytes) {
  for (TuplePool* pool : pools) goals_.push_back({pool});
  if (bytes > 0) thread_ = std::thread([this] { run(); });
}

Dealer::~Dealer() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Dealer::step_begins() {
  std::lock_guard<std::mutex> lock(mutex_);
  stepping_ = true;
  changed_.notify_one();
}

void Dealer::step_done() {
  std::lock_guard<std::mutex> lock(mutex_);
  stepping_ = false;
  if (error_) std::rethrow_exception(error_);
  double bytes = 0;
  for (Goal& goal : goals_) {
    const u64 taken = goal.pool->taken();
    // Steps of two kinds may take turns: what a kind needs is forgotten slowly.
    goal.recent = std::max(taken - goal.before, goal.recent / 2);
    goal.before = taken;
    bytes += static_cast<double>(goal.pool->bytes(goal.recent));
  }
  const double part = std::min(1.0, static_cast<double>(bytes_) / std::max(bytes, 1.0));
  for (Goal& goal : goals_) goal.wanted = static_cast<u64>(part * static_cast<double>(goal.recent));
  changed_.notify_one();
}

// The pool that lacks most of what it should have ahead, none if all have a batch's worth.
Dealer::Goal* Dealer::neediest() {
  Goal* found = nullptr;
  double least = 1;
  for (Goal& goal : goals_) {
    if (goal.pool->ahead() + goal.pool->batch() > goal.wanted) continue;
    const double part = static_cast<double>(goal.pool->ahead()) / static_cast<double>(goal.wanted);
    if (part < least) least = part, found = &goal;
  }
  return found;
}

void Dealer::run() try {
#ifdef __linux__
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);
#endif
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopping_) {
    Goal* const goal = neediest();
    if (!goal) {
      stepping_ ? void(changed_.wait_for(lock, kLook)) : changed_.wait(lock);
      continue;
    }
    const u64 most = goal->wanted - goal->pool->ahead();
    lock.unlock();
    goal->pool->deal_ahead(most);
    lock.lock();
  }
} catch (const PeerLost&) {
  // Whoever computes is about to notice.
} catch (...) {
  std::lock_guard<std::mutex> lock(mutex_);
  error_ = std::current_exception();
}

}  // namespace secfwt
