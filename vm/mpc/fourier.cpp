#include "mpc/fourier.h"

#include <cmath>
#include <type_traits>

#include "mpc/harmonics.h"

namespace secfwt {
namespace {

std::size_t cipher_blocks(std::size_t n) { return (n + 15) / 16 * 16; }

// Angle: u16 or u32, a phase of k bits; it wraps as the turn does, so that nothing unreduced is ever sent. R: u32 or
// u64, the ring of the sum. Outputs: 1 (the real part) or 2 (real and imaginary part, in blocks of `width`).
template <class Angle, class R, int Outputs>
class Fourier : public Task {
 public:
  using Finish = std::conditional_t<sizeof(R) == 4, PairShift, PairReshare>;

  Fourier(const Seat& seat, const u64* phase, std::size_t n, std::size_t width, const Fit& fit, Target out)
      : seat_(seat),
        blocks_(n, 2 * sizeof(R) * fit.harmonics.size()),
        phase_(phase),
        n_(n),
        width_(width),
        fit_(fit),
        mask_left_(seat.pad(0, n * sizeof(Angle))),
        mask_right_(seat.pad(2, n * sizeof(Angle))),
        mask_helper0_(seat.pad(0, n * sizeof(Angle))),
        mask_helper2_(seat.pad(2, n * sizeof(Angle))),
        amplitudes_(seat.pad(2, 2 * sizeof(R) * fit.harmonics.size() * cipher_blocks(n))),
        finish_(make_finish(seat, n, out)) {}

  int rounds() const override { return sizeof(R) == 4 ? 3 : 2; }

  void send(int round) override {
    if (round > 0) return finish_send(round - 1);
    if (seat_.role() == HELPER) return deal();
    own_.resize(n_);
    const bool left = seat_.role() == LEFT;
    const std::array<Lane, 1> lanes{{{&seat_.to(left ? RIGHT : LEFT), 8 * sizeof(Angle)}}};
    blocks_.send(lanes, [&](std::size_t lo, std::size_t n, const auto& message) {
      (left ? mask_left_ : mask_right_).fill(lo, own_.data() + lo, n);
      for (std::size_t i = lo; i < lo + n; ++i) own_[i] = static_cast<Angle>(own_[i] + top(phase_[i]));
      std::memcpy(message[0], own_.data() + lo, n * sizeof(Angle));
    });
  }

  void recv(int round) override {
    if (round > 0) return finish_recv(round - 1);
    if (seat_.role() == LEFT) {
      const std::array<Lane, 3> lanes{
          {{&seat_.to(RIGHT), kAngleBits}, {&seat_.to(HELPER), kAngleBits}, {&seat_.to(HELPER), amplitude_bits()}}};
      blocks_.recv(lanes, [&](std::size_t lo, std::size_t n, const auto& message) {
        open(lo, n, message[0], message[1]);
        const R* share = reinterpret_cast<const R*>(message[2]);
        evaluate(lo, n, 0, [&](std::size_t h) { return std::make_pair(share + 2 * h * n, share + (2 * h + 1) * n); });
      });
    } else if (seat_.role() == RIGHT) {
      const R constant = static_cast<R>(std::llrint(std::ldexp(fit_.constant, fit_.fc + fit_.fa)));
      const std::array<Lane, 2> lanes{{{&seat_.to(LEFT), kAngleBits}, {&seat_.to(HELPER), kAngleBits}}};
      blocks_.recv(lanes, [&](std::size_t lo, std::size_t n, const auto& message) {
        open(lo, n, message[0], message[1]);
        R share[2 * Blocks::kMost];
        evaluate(lo, n, constant, [&](std::size_t h) { return amplitude_pad(lo, n, h, share); });
      });
    }
    std::vector<Angle>().swap(own_);
  }

 private:
  static constexpr std::size_t kAngleBits = 8 * sizeof(Angle);

  std::size_t amplitude_bits() const { return 16 * sizeof(R) * fit_.harmonics.size(); }

  // The top k bits of a share, rounded.
  static Angle top(u64 share) {
    constexpr int drop = 64 - 8 * static_cast<int>(sizeof(Angle));
    return static_cast<Angle>((share + (u64{1} << (drop - 1))) >> drop);
  }

  // RIGHT's part of harmonic h's amplitude, real and imaginary.
  std::pair<R*, R*> amplitude_pad(std::size_t lo, std::size_t n, std::size_t h, R* share) const {
    const std::size_t row = cipher_blocks(n);
    amplitudes_.fill(2 * (lo * fit_.harmonics.size() + h * row), share, 2 * row);
    return {share, share + row};
  }

  void deal() const {
    const std::array<Lane, 3> lanes{
        {{&seat_.to(LEFT), kAngleBits}, {&seat_.to(LEFT), amplitude_bits()}, {&seat_.to(RIGHT), kAngleBits}}};
    blocks_.send(lanes, [&](std::size_t lo, std::size_t n, const auto& message) {
      Angle rho[Blocks::kMost], mask[Blocks::kMost], opening[Blocks::kMost];
      mask_helper0_.fill(lo, rho, n);
      mask_helper2_.fill(lo, mask, n);
      for (std::size_t i = 0; i < n; ++i) {
        rho[i] = static_cast<Angle>(rho[i] + mask[i]);
        opening[i] = static_cast<Angle>(rho[i] + top(phase_[lo + i]));
      }
      std::memcpy(message[0], opening, n * sizeof(Angle));
      std::memcpy(message[2], opening, n * sizeof(Angle));
      for (const Pad* pad : {&mask_left_, &mask_right_}) {
        pad->fill(lo, mask, n);
        for (std::size_t i = 0; i < n; ++i) rho[i] = static_cast<Angle>(rho[i] + mask[i]);
      }

      constexpr int kPhasorBits = 30;
      i32 re[Blocks::kMost], im[Blocks::kMost];
      R share[2 * Blocks::kMost];
      R* out = reinterpret_cast<R*>(message[1]);
      for (std::size_t h = 0; h < fit_.harmonics.size(); ++h, out += 2 * n) {
        const Harmonic& harmonic = fit_.harmonics[h];
        phasors(rho, harmonic.m, kPhasorBits, n, re, im);
        amplitudes(re, im, std::ldexp(harmonic.re, fit_.fc - kPhasorBits),
                   std::ldexp(harmonic.im, fit_.fc - kPhasorBits), n, out, out + n);
        const auto [share_re, share_im] = amplitude_pad(lo, n, h, share);
        for (std::size_t i = 0; i < n; ++i) out[i] -= share_re[i];
        for (std::size_t i = 0; i < n; ++i) out[n + i] -= share_im[i];
      }
    });
  }

  // own_ becomes δ.
  void open(std::size_t lo, std::size_t n, const u8* other, const u8* helper) {
    const Angle *x = reinterpret_cast<const Angle*>(other), *y = reinterpret_cast<const Angle*>(helper);
    for (std::size_t i = 0; i < n; ++i) own_[lo + i] = static_cast<Angle>(own_[lo + i] + x[i] + y[i]);
  }

  // This party's summand of the result; `share(h)` are its parts of amplitude h.
  template <class Share>
  void evaluate(std::size_t lo, std::size_t n, R constant, const Share& share) {
    i32 re[Blocks::kMost], im[Blocks::kMost];
    R sum[Outputs][Blocks::kMost];
    std::fill_n(sum[0], n, constant);
    if constexpr (Outputs == 2) std::fill_n(sum[1], n, 0);
    for (std::size_t h = 0; h < fit_.harmonics.size(); ++h) {
      phasors(own_.data() + lo, fit_.harmonics[h].m, fit_.fa, n, re, im);
      const auto [c_re, c_im] = share(h);
      add_real(re, im, c_re, c_im, n, sum[0]);
      if constexpr (Outputs == 2) add_imag(re, im, c_re, c_im, n, sum[1]);
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

  static Finish make_finish(const Seat& seat, std::size_t n, Target out) {
    if constexpr (sizeof(R) == 4)
      return PairShift(seat, Outputs * n, out, 32, 0);
    else
      return PairReshare(seat, Outputs * n, out);
  }

  void finish_send(int round) const {
    if constexpr (sizeof(R) == 4)
      finish_.send(round);
    else
      finish_.send();
  }

  void finish_recv(int round) const {
    if constexpr (sizeof(R) == 4)
      finish_.recv(round);
    else
      finish_.recv();
  }

  Seat seat_;
  Blocks blocks_;
  const u64* phase_;
  std::size_t n_, width_;
  const Fit& fit_;
  Pad mask_left_, mask_right_, mask_helper0_, mask_helper2_;  // of the three messages of the opening
  Pad amplitudes_;                                            // RIGHT's part of the harmonics' amplitudes
  Finish finish_;
  std::vector<Angle> own_;  // this party's message, then δ
};

}  // namespace

std::unique_ptr<Task> make_fourier(const Seat& seat, const u64* phase, std::size_t n, const Fit& fit, Target out) {
  if (fit.k == 16 && fit.ring == 32) return std::make_unique<Fourier<u16, u32, 1>>(seat, phase, n, n, fit, out);
  if (fit.k == 16) return std::make_unique<Fourier<u16, u64, 1>>(seat, phase, n, n, fit, out);
  if (fit.ring == 32) return std::make_unique<Fourier<u32, u32, 1>>(seat, phase, n, n, fit, out);
  return std::make_unique<Fourier<u32, u64, 1>>(seat, phase, n, n, fit, out);
}

std::unique_ptr<Task> make_cos_sin(const Seat& seat, const u64* phase, std::size_t rows, std::size_t width,
                                   const Fit& precision, Target out) {
  const std::size_t n = rows * width;
  if (precision.k == 16) return std::make_unique<Fourier<u16, u64, 2>>(seat, phase, n, width, precision, out);
  return std::make_unique<Fourier<u32, u64, 2>>(seat, phase, n, width, precision, out);
}

}  // namespace secfwt
