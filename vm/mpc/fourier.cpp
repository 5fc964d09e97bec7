#include "mpc/fourier.h"

#include <cmath>

#include "mpc/harmonics.h"

namespace secfwt {
namespace {

// Angle: u16 or u32, a phase of k bits; it wraps as the turn does, so that nothing unreduced is ever sent. R: u32 or
// u64, the ring of the sum. Outputs: 1 (the real part) or 2 (real and imaginary part, in blocks of `width`).
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
        finish_(seat, Outputs * n, out, fit.ring, shift, ring) {}

  int rounds() const override { return 1 + finish_.rounds(); }

  void send(int round) override {
    if (round > 0) return finish_.send(round - 1);
    opened_.resize(n_);
    if (seat_.role() == HELPER) {
      send_opening(std::array<Flow, 2>{{{&seat_.to(LEFT), kAngleBits}, {&seat_.to(RIGHT), kAngleBits}}});
      pool_.deal_taken();
    } else {
      send_opening(std::array<Flow, 1>{{{&seat_.to(seat_.role() == LEFT ? RIGHT : LEFT), kAngleBits}}});
      if (seat_.role() == LEFT) open_sample();
    }
  }

  void recv(int round) override {
    if (round > 0) return finish_.recv(round - 1);
    if (seat_.role() != HELPER) {
      const Role peer = seat_.role() == LEFT ? RIGHT : LEFT;
      const std::array<Flow, 2> flows{{{&seat_.to(peer), kAngleBits}, {&seat_.to(HELPER), kAngleBits}}};
      blocks_.recv(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
        const Angle* of_peer = reinterpret_cast<const Angle*>(message[0]);
        const Angle* of_helper = reinterpret_cast<const Angle*>(message[1]);
        Angle* delta = opened_.data() + lo;
        for (std::size_t i = 0; i < n; ++i) delta[i] = static_cast<Angle>(delta[i] + of_peer[i] + of_helper[i]);
      });
      seat_.with(peer).values.add(opened_.data(), n_ * sizeof(Angle));
      std::vector<Angle> rho;
      if (seat_.role() == RIGHT) rho = opened_sample();
      std::vector<R> sample(pool_.checked(first_, n_) * pool_.parts());
      pool_.template amplitudes<R>(
          seat_.role(), first_, n_, [&](std::size_t lo, std::size_t n, const R* re) { evaluate(lo, n, re); },
          sample.data());
      if (seat_.role() == RIGHT) pool_.expect(rho.data(), rho.size(), sample.data());
      seat_.with(peer).tuples.add(sample.data(), sample.size() * sizeof(R));
    }
    std::vector<Angle>().swap(opened_);
  }

 private:
  static constexpr std::size_t kAngleBits = 8 * sizeof(Angle);

  // The top k bits of a share, rounded.
  static Angle top(u64 share) {
    constexpr int drop = 64 - 8 * static_cast<int>(sizeof(Angle));
    return static_cast<Angle>((share + (u64{1} << (drop - 1))) >> drop);
  }

  // This party's message: its share of the phase, plus its pads.
  template <std::size_t N>
  void send_opening(const std::array<Flow, N>& flows) {
    blocks_.send(flows, [&](std::size_t lo, std::size_t n, const auto& message) {
      Angle* own = opened_.data() + lo;
      pool_.pads(seat_.role(), first_ + lo, n, own);
      for (std::size_t i = 0; i < n; ++i) own[i] = static_cast<Angle>(own[i] + top(phase_[lo + i]));
      for (u8* to : message) std::memcpy(to, own, n * sizeof(Angle));
    });
  }

  // LEFT: its pads of the checked tuples, for RIGHT.
  void open_sample() {
    Bytes message(pool_.checked(first_, n_) * sizeof(Angle));
    pool_.checked_pads(LEFT, first_, n_, reinterpret_cast<Angle*>(message.data()));
    if (!message.empty()) seat_.to(RIGHT).send(std::move(message));
  }

  // RIGHT: ρ of the checked tuples.
  std::vector<Angle> opened_sample() {
    std::vector<Angle> rho(pool_.checked(first_, n_)), own(rho.size());
    if (!rho.empty()) seat_.to(LEFT).recv(rho.data(), rho.size() * sizeof(Angle));
    pool_.checked_pads(RIGHT, first_, n_, own.data());
    for (std::size_t i = 0; i < rho.size(); ++i) rho[i] = static_cast<Angle>(rho[i] + own[i]);
    return rho;
  }

  // This party's summand of the result, from its parts of the amplitudes c_m: const + Re Σ e^(2πi·m·δ/2^k)·c_m, the
  // constant at RIGHT only.
  void evaluate(std::size_t lo, std::size_t n, const R* amplitude) {
    i32 re[TuplePool::kMost], im[TuplePool::kMost];
    R sum[Outputs][TuplePool::kMost];
    const double constant = seat_.role() == RIGHT ? fit_.constant : 0;
    std::fill_n(sum[0], n, static_cast<R>(std::llrint(std::ldexp(constant, fit_.fc + fit_.fa))));
    if constexpr (Outputs == 2) std::fill_n(sum[1], n, 0);
    for (const Harmonic& harmonic : fit_.harmonics) {
      phasors(opened_.data() + lo, harmonic.m, fit_.fa, n, re, im);
      const R *c_re = amplitude, *c_im = amplitude + pool_.row();
      add_real(re, im, c_re, c_im, n, sum[0]);
      if constexpr (Outputs == 2) add_imag(re, im, c_re, c_im, n, sum[1]);
      amplitude += 2 * pool_.row();
    }
    u64* out = finish_.summand();
    for (int o = 0; o < Outputs; ++o) {
      std::size_t row = lo / width_, column = lo % width_;
      for (std::size_t i = 0; i < n; ++row, column = 0) {
        u64* to = out + (row * Outputs + o) * width_ + column;
        for (const std::size_t end = std::min(n, i + width_ - column); i < end; ++i) *to++ = sum[o][i];
      }
    }
  }

  Seat seat_;
  Blocks blocks_;
  TuplePool& pool_;
  const u64 first_;  // of its tuples
  const u64* phase_;
  std::size_t n_, width_;
  const Fit& fit_;
  PairShift finish_;
  std::vector<Angle> opened_;  // this party's message, then δ
};

template <int Outputs>
std::unique_ptr<Task> make_series(const Seat& seat, TuplePool& pool, const u64* phase, std::size_t n, std::size_t width,
                                  const Fit& fit, int shift, int ring, Target out) {
  const auto make = [&](auto angle, auto word) -> std::unique_ptr<Task> {
    using Series = Fourier<decltype(angle), decltype(word), Outputs>;
    return std::make_unique<Series>(seat, pool, phase, n, width, fit, shift, ring, out);
  };
  if (fit.k == 16) return fit.ring <= 32 ? make(u16{}, u32{}) : make(u16{}, u64{});
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
