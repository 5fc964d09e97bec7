#include "mpc/fourier.h"

#include <cmath>
#include <optional>

#include "mpc/harmonics.h"
#include "ring/packing.h"

namespace secfwt {
namespace {

// Angle: u16 or u32, a phase of k bits at its top; it wraps as the turn does, so that nothing unreduced is ever sent.
// R: u32 or u64, the ring of the sums. Outputs: 1 (the real part) or 2 (real and imaginary part, in blocks of `width`).
template <class Angle, class R, int Outputs>
class Fourier : public Task {
 public:
  Fourier(const Seat& seat, TuplePool& pool, const u64* phase, std::size_t n, std::size_t width, const Fit& fit,
          int shift, int ring, Target out)
      : seat_(seat),
        blocks_(n),
        pool_(pool),
        first_(pool.take(seat.role(), n)),
        phase_(phase),
        n_(n),
        width_(width),
        fit_(fit),
        finish_(seat, Outputs * n, out, fit.ring, shift, ring) {
    if (!fit.lifts()) return;
    if (seat.role() != HELPER) tail_.resize(Outputs * n);
    lift_.emplace(seat, Outputs * n, tail_.data(), fit.tail_ring, 0, fit.lifted());
  }

  int rounds() const override { return lifted() + finish_.rounds(); }

  void send(int round) override {
    if (round >= lifted()) return finish_.send(round - lifted());
    if (round == 1) return lift_->send();
    opened_.resize(n_);
    if (seat_.role() == HELPER) {
      send_opening(std::array<Flow, 2>{{flow(LEFT), flow(RIGHT)}});
      pool_.deal_taken();
    } else {
      send_opening(std::array<Flow, 1>{{flow(seat_.role() == LEFT ? RIGHT : LEFT)}});
      if (seat_.role() == LEFT) open_sample();
    }
  }

  void recv(int round) override {
    if (round >= lifted()) return finish_.recv(round - lifted());
    if (round == 1) {
      lift_->recv();
      return add_tail();
    }
    if (seat_.role() != HELPER) {
      const Role peer = seat_.role() == LEFT ? RIGHT : LEFT;
      blocks_.recv(std::array<Flow, 2>{{flow(peer), flow(HELPER)}}, [&](std::size_t lo, std::size_t n, const auto& in) {
        for (const u8* message : in) add_angles(message, n, opened_.data() + lo);
      });
      seat_.with(peer).values.add(opened_.data(), n_ * sizeof(Angle));
      Scratch<Angle> rho;
      if (seat_.role() == RIGHT) rho = opened_sample();
      Scratch<R> sample(pool_.checked(first_, n_) * pool_.parts());
      pool_.template amplitudes<R>(
          seat_.role(), first_, n_, [&](std::size_t lo, std::size_t n, const R* re) { evaluate(lo, n, re); },
          sample.data());
      if (seat_.role() == RIGHT) pool_.expect(rho.data(), rho.size(), sample.data());
      seat_.with(peer).tuples.add(sample.data(), sample.size() * sizeof(R));
    }
    Scratch<Angle>().swap(opened_);
  }

 private:
  static constexpr int kAngleBits = 8 * static_cast<int>(sizeof(Angle));

  // Rounds until the whole sum is there.
  int lifted() const { return lift_ ? 2 : 1; }

  Flow flow(Role peer) const { return {&seat_.to(peer), static_cast<std::size_t>(fit_.k)}; }
  int unused() const { return kAngleBits - fit_.k; }  // low bits of an angle

  // The top k bits of a share, rounded.
  Angle top(u64 share) const {
    const int drop = 64 - fit_.k;
    return static_cast<Angle>((share + (u64{1} << (drop - 1))) >> drop << unused());
  }

  // Angles as they are sent: their k bits.
  void pack_angles(const Angle* angles, std::size_t n, u8* out) const {
    if (unused() == 0) return void(std::memcpy(out, angles, n * sizeof(Angle)));
    u32 bits[Blocks::kMost];
    for (std::size_t i = 0; i < n; ++i) bits[i] = static_cast<u32>(angles[i] >> unused());
    pack_bits(bits, n, fit_.k, out);
  }

  void add_angles(const u8* in, std::size_t n, Angle* sum) const {
    u32 bits[Blocks::kMost];
    unpack_bits(in, n, fit_.k, bits);
    for (std::size_t i = 0; i < n; ++i) sum[i] = static_cast<Angle>(sum[i] + (bits[i] << unused()));
  }

  // This party's message: its share of the phase, plus its pads.
  template <std::size_t N>
  void send_opening(const std::array<Flow, N>& flows) {
    blocks_.send(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
      Angle* own = opened_.data() + lo;
      pool_.pads(seat_.role(), first_ + lo, n, own);
      for (std::size_t i = 0; i < n; ++i) own[i] = static_cast<Angle>(own[i] + top(phase_[lo + i]));
      for (u8* to : message) pack_angles(own, n, to);
    });
  }

  // LEFT: its pads of the checked tuples, for RIGHT.
  void open_sample() {
    const std::size_t n = pool_.checked(first_, n_);
    Scratch<Angle> pads(n);
    pool_.checked_pads(LEFT, first_, n_, pads.data());
    Blocks(n).send(std::array<Flow, 1>{{flow(RIGHT)}}, [&](std::size_t lo, std::size_t count, const auto& message) {
      pack_angles(pads.data() + lo, count, message[0]);
    });
  }

  // RIGHT: ρ of the checked tuples.
  Scratch<Angle> opened_sample() {
    Scratch<Angle> rho(pool_.checked(first_, n_));
    pool_.checked_pads(RIGHT, first_, n_, rho.data());
    Blocks(rho.size()).recv(std::array<Flow, 1>{{flow(LEFT)}}, [&](std::size_t lo, std::size_t n, const auto& message) {
      add_angles(message[0], n, rho.data() + lo);
    });
    return rho;
  }

  // This party's summand of the result, from its parts of the amplitudes c_m: const + Re Σ e^(2πi·m·δ/2^k)·c_m, the
  // constant at RIGHT only. The tail's sum is kept apart where it is lifted.
  void evaluate(std::size_t lo, std::size_t n, const R* amplitude) {
    R sum[Outputs][TuplePool::kMost];
    const double constant = seat_.role() == RIGHT ? fit_.constant : 0;
    std::fill_n(sum[0], n, static_cast<R>(std::llrint(std::ldexp(constant, fit_.fc + fit_.fa))));
    if constexpr (Outputs == 2) std::fill_n(sum[1], n, 0);
    add_harmonics(lo, n, 0, fit_.head(), fit_.fa, amplitude, sum);
    if (fit_.tail > 0) {
      R tail[Outputs][TuplePool::kMost] = {};
      add_harmonics(lo, n, fit_.head(), fit_.harmonics.size(), fit_.tail_fa, amplitude, tail);
      if (lift_)
        place(lo, n, tail, tail_.data());
      else
        for (int o = 0; o < Outputs; ++o)
          for (std::size_t i = 0; i < n; ++i) sum[o][i] += static_cast<R>(tail[o][i] << (fit_.fa - fit_.tail_fa));
    }
    place(lo, n, sum, finish_.summand());
  }

  // sum += Σ e^(2πi·m·δ/2^k)·c_m of some harmonics, the phasors with `fa` bits.
  void add_harmonics(std::size_t lo, std::size_t n, std::size_t first, std::size_t last, int fa, const R* amplitude,
                     R (*sum)[TuplePool::kMost]) const {
    i32 re[TuplePool::kMost], im[TuplePool::kMost];
    for (std::size_t h = first; h < last; ++h) {
      phasors(opened_.data() + lo, fit_.harmonics[h].m, fa, n, re, im);
      const R *c_re = amplitude + 2 * h * pool_.row(), *c_im = c_re + pool_.row();
      add_real(re, im, c_re, c_im, n, sum[0]);
      if constexpr (Outputs == 2) add_imag(re, im, c_re, c_im, n, sum[1]);
    }
  }

  // Values [lo, lo + n) of every output, each where its block is.
  void place(std::size_t lo, std::size_t n, const R (*values)[TuplePool::kMost], u64* out) const {
    for (int o = 0; o < Outputs; ++o) {
      std::size_t row = lo / width_, column = lo % width_;
      for (std::size_t i = 0; i < n; ++row, column = 0) {
        u64* to = out + (row * Outputs + o) * width_ + column;
        for (const std::size_t end = std::min(n, i + width_ - column); i < end; ++i) *to++ = values[o][i];
      }
    }
  }

  // The tail has a smaller scale.
  void add_tail() {
    if (u64* sum = finish_.summand())
      blocks_.each([&](std::size_t lo, std::size_t n) {
        for (std::size_t i = Outputs * lo; i < Outputs * (lo + n); ++i) sum[i] += tail_[i] << (fit_.fa - fit_.tail_fa);
      });
    Scratch<u64>().swap(tail_);
  }

  Seat seat_;
  Blocks blocks_;
  TuplePool& pool_;
  const u64 first_;  // of its tuples
  const u64* phase_;
  std::size_t n_, width_;
  const Fit& fit_;
  PairShift finish_;
  Scratch<Angle> opened_;  // this party's message, then δ
  Scratch<u64> tail_;      // LEFT's and RIGHT's summand of the tail
  std::optional<PairLift> lift_;
};

template <int Outputs>
std::unique_ptr<Task> make_series(const Seat& seat, TuplePool& pool, const u64* phase, std::size_t n, std::size_t width,
                                  const Fit& fit, int shift, int ring, Target out) {
  const auto make = [&](auto angle, auto word) -> std::unique_ptr<Task> {
    using Series = Fourier<decltype(angle), decltype(word), Outputs>;
    return std::make_unique<Series>(seat, pool, phase, n, width, fit, shift, ring, out);
  };
  if (fit.angle_bits() == 16) return fit.ring <= 32 ? make(u16{}, u32{}) : make(u16{}, u64{});
  return fit.ring <= 32 ? make(u32{}, u32{}) : make(u32{}, u64{});
}

}  // namespace

std::unique_ptr<Task> make_fourier(const Seat& seat, TuplePool& pool, const u64* phase, std::size_t n, const Fit& fit,
                                   int shift, int ring, Target out) {
  return make_series<1>(seat, pool, phase, n, n, fit, shift, ring, out);
}

std::unique_ptr<Task> make_cos_sin(const Seat& seat, TuplePool& pool, const u64* phase, std::size_t rows,
                                   std::size_t width, const Fit& precision, int shift, int ring, Target out) {
  return make_series<2>(seat, pool, phase, rows * width, width, precision, shift, ring, out);
}

}  // namespace secfwt
