// Deals tuples ahead of their use, in a thread of its own: while a party waits for messages, and between steps. Or
// without one, so that what lies ahead does not depend on time: for tests.
#pragma once

#include <condition_variable>
#include <exception>
#include <thread>
#include <vector>

#include "mpc/tuples.h"

namespace secfwt {

// Of every pool as many as steps took lately, as far as the budget goes.
class Dealer {
 public:
  // `bytes`: how much may be dealt and not used, in all. It lies in the memory of the next party.
  Dealer(std::vector<TuplePool*> pools, u64 bytes, bool background);
  ~Dealer();
  void step_begins();
  // Expects the next step to take as much as the last. Throws what has ended the thread, but for PeerLost. Where there
  // is no thread, it deals what one that is never late would have dealt during the step.
  void step_done();
  // Where there is no thread: deals all that should lie ahead.
  void deal();

 private:
  struct Goal {
    TuplePool* pool;
    u64 before = 0;  // taken when the step began
    u64 recent = 0;  // taken by a step, lately
    u64 wanted = 0;  // to be ahead
    u64 left = 0;    // of that, when the step ends
  };

  void run();
  u64 target(const Goal& goal) const;
  Goal* neediest();
  void deal(const Goal& goal, std::unique_lock<std::mutex>& lock);
  void deal_all(std::unique_lock<std::mutex>& lock);

  const u64 bytes_;
  const bool background_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Goal> goals_;
  std::exception_ptr error_;
  bool stopping_ = false, stepping_ = false;
  std::thread thread_;
};

}  // namespace secfwt
