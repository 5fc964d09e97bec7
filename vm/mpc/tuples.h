// Correlated randomness of a Fourier series, which does not depend on any input and can be made ahead of its use.
//
// A tuple serves one opening. LEFT and HELPER share two pads of its phase, HELPER and RIGHT two others; HELPER alone
// knows all four, and so their sum ρ. It shares c_m = A_m e^(-2πi·m·ρ/2^k) for each harmonic: RIGHT's part is a pad,
// LEFT's is what HELPER sends. A pool numbers its tuples, and all parties take them in the same order, each once.
// Whether HELPER has dealt one long before or deals it now makes no difference to the others, and nobody is told.
//
// Tuples are dealt in batches of B. LEFT and HELPER draw the pads of one third of all values from one stream, RIGHT and
// HELPER from another; own pads mask LEFT's (RIGHT's) messages, helper pads go into HELPER's:
//
//   pads        [batch 0: B own pads | B helper pads][batch 1: B own pads | B helper pads] …
//   amplitudes  [batch 0: harmonic 0: B re | B im, harmonic 1: B re | B im …][batch 1: …] …
#pragma once

#include <atomic>
#include <functional>
#include <mutex>

#include "mpc/program.h"
#include "mpc/task.h"

namespace secfwt {

// The tuples of one series at one party, which is LEFT in one third of all values, RIGHT in another, HELPER in the
// last. Thread-safe for one thread that computes and one that deals ahead.
class TuplePool {
 public:
  static constexpr std::size_t kMost = 512;  // tuples in a batch: what is dealt at a time

  // `number` tells the pools under a party's keys apart. HELPER sends to `next`, LEFT receives from `prev`.
  TuplePool(const Party& party, u64 number, const Fit& fit, Channel& prev, Channel& next);

  // The first of the next n tuples for this party's `role`.
  u64 take(Role role, std::size_t n);

  // One value of each tuple [first, first + n): the pads of LEFT's or RIGHT's messages; the sum of those of HELPER's.
  template <class Angle>
  void pads(Role role, u64 first, std::size_t n, Angle* out) const;

  // This party's parts of the amplitudes: body(lo, n, re) for ranges that cover [0, n), each within a batch; those of
  // harmonic h begin at re + 2·h·batch(), imaginary ones batch() further. LEFT receives them, in order. Threaded.
  template <class R>
  void amplitudes(Role role, u64 first, std::size_t n,
                  const std::function<void(std::size_t lo, std::size_t n, const R* re)>& body);
  std::size_t batch() const { return batch_; }

  // HELPER: deals whatever is missing of what has been taken.
  void deal_taken();
  // HELPER: deals ahead, at most `most` tuples (rounded up to a batch) and a message. By one thread.
  void deal_ahead(u64 most);
  u64 ahead() const;                  // dealt and not taken
  u64 late() const { return late_; }  // dealt only after they had been taken: a step waited for them
  u64 taken() const { return taken_[HELPER]; }
  std::size_t tuple_bytes() const { return tuple_bytes_; }  // sent for one tuple

 private:
  enum class Purpose : u64 { left_pads, right_pads, amplitudes };
  enum class Whose : u64 { own = 0, helpers = 1 };

  Stream stream(const Stream& key, Purpose purpose) const;
  // Where in its stream the i-th pad of a batch is, counted in pads.
  u64 pad_index(u64 batch, Whose whose, u64 i) const { return (2 * batch + static_cast<u64>(whose)) * batch_ + i; }
  template <class Angle>
  void add_pads(const Stream& stream, Whose whose, u64 first, std::size_t n, Angle* out) const;
  void deal(std::size_t batches, bool threaded);
  template <class Angle, class R>
  void deal_batch(u64 batch, R* out) const;
  std::size_t batch_bytes() const { return batch_ * tuple_bytes_; }

  const Fit fit_;
  const u64 number_;
  const std::size_t tuple_bytes_, batch_;
  Channel &prev_, &next_;
  // By role. LEFT has its pads, RIGHT its pads and amplitudes, HELPER all of both.
  const Stream left_pads_, right_pads_, right_amplitudes_;
  const Stream helper_left_pads_, helper_right_pads_, helper_amplitudes_;
  std::atomic<u64> taken_[3] = {};
  std::mutex dealing_;
  std::atomic<u64> dealt_{0}, late_{0};
  Bytes rest_;  // LEFT: the last batch, of which tuples are left
};

}  // namespace secfwt
