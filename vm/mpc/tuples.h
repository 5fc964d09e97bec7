// Correlated randomness of a Fourier series, which does not depend on any input and can be made ahead of its use.
//
// A tuple serves one opening. LEFT and HELPER share two pads of its phase, HELPER and RIGHT two others; HELPER alone
// knows all four, and so their sum ρ. It shares c_m = A_m e^(-2πi·m·ρ/2^k) for each harmonic: RIGHT's part is a pad,
// LEFT's is what HELPER sends. A pool numbers its tuples, and all parties take them in the same order, each once.
// Whether HELPER has dealt one long before or deals it now makes no difference to the others, and nobody is told.
//
// A sample is checked: of every 65 tuples dealt, 64 are used, and LEFT and RIGHT open one to each other. HELPER does
// not know which: a stream of the key that it lacks says so. LEFT tells RIGHT its pad of the checked tuple; RIGHT,
// which knows ρ then, computes what LEFT must have received; and both add that to what they compare before results
// leave (mpc/comparison.h). Amplitudes are the same to the bit on every processor. A checked tuple masks nothing.
//
// Whether HELPER's pads are of a used tuple or of a checked one, it need not know either: its messages have pads of
// their own, which LEFT and RIGHT subtract from theirs. With λ and μ, LEFT's and RIGHT's pads of the tuple, ρ = λ + μ;
// HELPER sends its share + l + r, LEFT + λ − l, RIGHT + μ − r.
//
// Tuples are dealt in batches of S = B + B/64. LEFT and HELPER draw the pads of one third of all values from one
// stream, RIGHT and HELPER from another:
//
//   pads        [batch 0: S of tuples | B of HELPER's messages][batch 1: …] …, both padded to B + 8
//   amplitudes  [batch 0: harmonic 0: S re | S im, harmonic 1: S re | S im …][batch 1: …] …
//
// The B/64 last tuples of a batch are spares: each takes the place of one of 64 before it, or is checked itself.
#pragma once

#include <array>
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
  static constexpr std::size_t kMost = 512;    // tuples used of a batch: what is dealt at a time
  static constexpr std::size_t kStratum = 64;  // tuples used for one that is checked

  // `number` tells the pools under a party's keys apart. HELPER sends to `next`, LEFT receives from `prev`.
  TuplePool(const Party& party, u64 number, const Fit& fit, Channel& prev, Channel& next);

  // The first of the next n tuples for this party's `role`.
  u64 take(Role role, std::size_t n);

  // One value of each tuple [first, first + n): the pads of this role's message.
  template <class Angle>
  void pads(Role role, u64 first, std::size_t n, Angle* out) const;

  // This party's parts of the amplitudes: body(lo, n, re) for ranges that cover [0, n), each within a batch; those of
  // harmonic h begin at re + 2·h·row(), imaginary ones row() further. LEFT receives them, in order. `sample`: its parts
  // of the checked tuples, [checked(first, n), 2·harmonics]. Threaded.
  template <class R>
  void amplitudes(Role role, u64 first, std::size_t n,
                  const std::function<void(std::size_t lo, std::size_t n, const R* re)>& body, R* sample);
  std::size_t batch() const { return batch_; }
  std::size_t row() const { return batch_ + strata(); }
  std::size_t parts() const { return 2 * fit_.harmonics.size(); }

  // How many tuples are checked with [first, first + n): one for every stratum of tuples that begins there.
  std::size_t checked(u64 first, std::size_t n) const { return begins(first + n) - begins(first); }
  // LEFT or RIGHT: their pads.
  template <class Angle>
  void checked_pads(Role role, u64 first, std::size_t n, Angle* out) const;
  // RIGHT: its parts of `count` checked tuples become what LEFT's must be.
  template <class Angle, class R>
  void expect(const Angle* rho, std::size_t count, R* sample) const;

  // HELPER: deals whatever is missing of what has been taken.
  void deal_taken();
  // HELPER: deals ahead, at most `most` tuples (rounded up to a batch) and a message. By one thread.
  void deal_ahead(u64 most);
  u64 ahead() const;                  // dealt and not taken
  u64 late() const { return late_; }  // dealt only after they had been taken: a step waited for them
  u64 taken() const { return taken_[HELPER]; }
  // Sent for so many tuples, and for those that are checked with them.
  u64 bytes(u64 tuples) const { return tuples * tuple_bits_ * (kStratum + 1) / kStratum / 8; }

 private:
  enum class Purpose : u64 { left_pads, right_pads, amplitudes, checks };
  enum class Whose : u64 { own = 0, helpers = 1 };

  Stream stream(const Stream& key, Purpose purpose) const;
  // Where in its stream the i-th pad of a batch is, counted in pads.
  u64 pad_index(u64 batch, Whose whose, u64 i) const {
    return (2 * batch + static_cast<u64>(whose)) * (batch_ + kSpare) + i;
  }
  std::size_t strata() const { return batch_ / kStratum; }  // of a batch
  static u64 begins(u64 tuple) { return (tuple + kStratum - 1) / kStratum; }
  template <class Angle>
  void tuple_pads(const Stream& stream, u64 batch, Angle* out) const;
  template <class Angle>
  void message_pads(const Stream& stream, u64 batch, u64 i, std::size_t n, Angle* out) const;
  // Where the checked tuples of a batch are.
  using Places = std::array<u8, kMost / kStratum>;
  Places places(Role role, u64 batch) const;
  template <class T>
  void set_aside(const Places& checked, T* row) const;
  template <class Angle, class R>
  void exact(const Angle* rho, std::size_t n, R* out, std::size_t row) const;
  void deal(std::size_t batches, bool threaded);
  template <class Angle, class R>
  void deal_batches(u64 first, std::size_t n, u8* out) const;
  // A batch as it is sent: the head's amplitudes, and behind them the tail's, each tightly packed.
  template <class R>
  void pack(const R* words, u8* out) const;
  template <class R>
  void unpack(const u8* in, R* words) const;
  std::size_t head_words() const { return 2 * fit_.head() * row(); }
  std::size_t tail_words() const { return 2 * fit_.tail * row(); }
  std::size_t head_bytes() const { return (head_words() * static_cast<std::size_t>(fit_.ring) + 7) / 8; }
  std::size_t tail_bytes() const { return (tail_words() * static_cast<std::size_t>(fit_.tail_ring) + 7) / 8; }
  std::size_t batch_bytes() const { return head_bytes() + tail_bytes(); }
  std::size_t batch_words() const { return head_words() + tail_words(); }
  // Where in their stream RIGHT's amplitudes of a batch are, a word each, in bytes.
  template <class R>
  u64 amplitudes_index(u64 batch) const {
    return batch * ((batch_words() * sizeof(R) + 15) / 16 * 16);
  }

  static constexpr std::size_t kSpare = kMost / kStratum;  // most checked tuples of a batch

  const Fit fit_;
  const u64 number_;
  const std::size_t tuple_bits_, batch_;
  Channel &prev_, &next_;
  // By role. LEFT has its pads, RIGHT its pads and amplitudes, HELPER all of both.
  const Stream left_pads_, right_pads_, right_amplitudes_;
  const Stream helper_left_pads_, helper_right_pads_, helper_amplitudes_;
  const Stream left_checks_, right_checks_;
  std::atomic<u64> taken_[3] = {};
  std::mutex dealing_;
  std::atomic<u64> dealt_{0}, late_{0};
  Bytes rest_;  // LEFT: the last batch as it came, of which tuples are left
};

}  // namespace secfwt
