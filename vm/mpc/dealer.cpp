#include "mpc/dealer.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace secfwt {
namespace {

constexpr auto kLook = std::chrono::milliseconds(5);  // how soon it is noticed that a step takes tuples
constexpr int kNice = 10;                             // steps come first
constexpr u64 kFills = 4;                             // steps without a pause that fill what lies ahead

}  // namespace

Dealer::Dealer(std::vector<TuplePool*> pools, u64 bytes, bool background) : bytes_(bytes), background_(background) {
  for (TuplePool* pool : pools) goals_.push_back({pool});
  if (bytes > 0 && background) thread_ = std::thread([this] { run(); });
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
  for (Goal& goal : goals_) {
    goal.before = goal.pool->taken();
    goal.left = goal.pool->ahead() + goal.recent / kFills;
  }
  changed_.notify_one();
}

void Dealer::step_done() {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!background_) deal_all(lock);
  stepping_ = false;
  if (error_) std::rethrow_exception(error_);
  double bytes = 0;
  for (Goal& goal : goals_) {
    const u64 taken = goal.pool->taken();
    // Steps of two kinds may take turns: what a kind needs is forgotten slowly.
    goal.recent = std::max(taken - goal.before, goal.recent / 2);
    bytes += static_cast<double>(goal.pool->bytes(goal.recent));
  }
  const double part = std::min(1.0, static_cast<double>(bytes_) / std::max(bytes, 1.0));
  for (Goal& goal : goals_) goal.wanted = static_cast<u64>(part * static_cast<double>(goal.recent));
  changed_.notify_one();
}

// How much of a pool is to be ahead now. Whatever a step takes must be dealt in any case; to fill the store as well, in
// one step, would make it as much slower as the others gain.
u64 Dealer::target(const Goal& goal) const {
  if (!stepping_) return goal.wanted;
  const u64 taken = goal.pool->taken() - goal.before;
  return std::min(goal.wanted, goal.left + (goal.recent > taken ? goal.recent - taken : 0));
}

// The pool that lacks most of what it should have ahead, none if all have a batch's worth.
Dealer::Goal* Dealer::neediest() {
  Goal* found = nullptr;
  double least = 1;
  for (Goal& goal : goals_) {
    const u64 wanted = target(goal);
    if (goal.pool->ahead() + goal.pool->batch() > wanted) continue;
    const double part = static_cast<double>(goal.pool->ahead()) / static_cast<double>(wanted);
    if (part < least) least = part, found = &goal;
  }
  return found;
}

void Dealer::deal(const Goal& goal, std::unique_lock<std::mutex>& lock) {
  const u64 wanted = target(goal), ahead = goal.pool->ahead();
  if (ahead >= wanted) return;  // the step has gone on
  lock.unlock();
  goal.pool->deal_ahead(wanted - ahead);
  lock.lock();
}

void Dealer::deal_all(std::unique_lock<std::mutex>& lock) {
  while (const Goal* const goal = neediest()) deal(*goal, lock);
}

void Dealer::deal() {
  std::unique_lock<std::mutex> lock(mutex_);
  deal_all(lock);
}

void Dealer::run() try {
#ifdef __linux__
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);
#endif
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopping_) {
    if (const Goal* const goal = neediest())
      deal(*goal, lock);
    else
      stepping_ ? void(changed_.wait_for(lock, kLook)) : changed_.wait(lock);
  }
} catch (const PeerLost&) {
  // Whoever computes is about to notice.
} catch (...) {
  std::lock_guard<std::mutex> lock(mutex_);
  error_ = std::current_exception();
}

}  // namespace secfwt
