#include "mpc/tuples.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "mpc/harmonics.h"
#include "ring/parallel.h"

namespace secfwt {
namespace {

constexpr std::size_t kBatchBytes = 1 << 16;  // about so many where tuples are large
constexpr std::size_t kMessage = 1 << 16;     // bytes, at most, dealt ahead at a time: what is urgent waits for one

std::size_t bytes_of(const Fit& fit) { return 2 * fit.harmonics.size() * static_cast<std::size_t>(fit.ring) / 8; }

// Batches that are dealt or used together: enough for all threads, few enough for the cache.
std::size_t group() { return 4 * threads(); }

std::size_t batch_of(const Fit& fit) {
  std::size_t batch = TuplePool::kMost;
  while (batch > 64 && batch * bytes_of(fit) > kBatchBytes) batch /= 2;
  return batch;
}

}  // namespace

TuplePool::TuplePool(const Party& party, u64 number, const Fit& fit, Channel& prev, Channel& next)
    : fit_(fit),
      number_(number),
      tuple_bytes_(bytes_of(fit)),
      batch_(batch_of(fit)),
      prev_(prev),
      next_(next),
      left_pads_(stream(party.stream0, Purpose::left_pads)),
      right_pads_(stream(party.stream1, Purpose::right_pads)),
      right_amplitudes_(stream(party.stream1, Purpose::amplitudes)),
      helper_left_pads_(stream(party.stream1, Purpose::left_pads)),
      helper_right_pads_(stream(party.stream0, Purpose::right_pads)),
      helper_amplitudes_(stream(party.stream0, Purpose::amplitudes)) {}

Stream TuplePool::stream(const Stream& key, Purpose purpose) const {
  return key.numbered(1 + 3 * number_ + static_cast<u64>(purpose));
}

u64 TuplePool::take(Role role, std::size_t n) { return taken_[role].fetch_add(n); }

u64 TuplePool::ahead() const {
  const u64 taken = taken_[HELPER], dealt = dealt_;
  return dealt > taken ? dealt - taken : 0;
}

// out += the pads of tuples [first, first + n), batch by batch.
template <class Angle>
void TuplePool::add_pads(const Stream& stream, Whose whose, u64 first, std::size_t n, Angle* out) const {
  constexpr u64 kCipherBlock = 16 / sizeof(Angle);  // in pads: a stream is read from the beginning of one
  Angle pads[kMost];
  while (n > 0) {
    const u64 batch = first / batch_, i = first % batch_, skip = i % kCipherBlock;
    const std::size_t count = std::min(n, batch_ - i);
    stream.fill(0, pad_index(batch, whose, i - skip) * sizeof(Angle), pads, (skip + count) * sizeof(Angle));
    for (std::size_t j = 0; j < count; ++j) out[j] = static_cast<Angle>(out[j] + pads[skip + j]);
    first += count;
    n -= count;
    out += count;
  }
}

template <class Angle>
void TuplePool::pads(Role role, u64 first, std::size_t n, Angle* out) const {
  std::fill_n(out, n, Angle{0});
  if (role == LEFT) return add_pads(left_pads_, Whose::own, first, n, out);
  if (role == RIGHT) return add_pads(right_pads_, Whose::own, first, n, out);
  add_pads(helper_left_pads_, Whose::helpers, first, n, out);
  add_pads(helper_right_pads_, Whose::helpers, first, n, out);
}

template <class R>
void TuplePool::amplitudes(Role role, u64 first, std::size_t n,
                           const std::function<void(std::size_t, std::size_t, const R*)>& body) {
  if (n == 0) return;
  const u64 end = first + n, last_batch = (end - 1) / batch_;
  Bytes buffer;
  for (u64 start = first / batch_; start <= last_batch; start += group()) {
    const std::size_t batches = std::min<u64>(group(), last_batch + 1 - start);
    buffer.resize(batches * batch_bytes());
    if (role == LEFT) {
      std::copy(rest_.begin(), rest_.end(), buffer.begin());
      prev_.recv(buffer.data() + rest_.size(), buffer.size() - rest_.size());
      rest_.clear();
    }
    parallel_for(batches, 1, [&](std::size_t lo, std::size_t hi) {
      for (u64 batch = start + lo; batch < start + hi; ++batch) {
        u8* const at = buffer.data() + (batch - start) * batch_bytes();
        if (role == RIGHT) right_amplitudes_.fill(0, batch * batch_bytes(), at, batch_bytes());
        const u64 from = std::max(first, batch * batch_), to = std::min(end, (batch + 1) * batch_);
        body(from - first, to - from, reinterpret_cast<const R*>(at) + from % batch_);
      }
    });
  }
  if (role == LEFT && end % batch_ != 0)
    rest_.assign(buffer.end() - static_cast<std::ptrdiff_t>(batch_bytes()), buffer.end());
}

void TuplePool::deal_taken() {
  std::lock_guard<std::mutex> lock(dealing_);
  while (dealt_ < taken_[HELPER]) {
    const std::size_t missing = (taken_[HELPER] - dealt_ + batch_ - 1) / batch_, batches = std::min(missing, group());
    late_ += batches * batch_;
    deal(batches, true);
  }
}

void TuplePool::deal_ahead(u64 most) {
  std::lock_guard<std::mutex> lock(dealing_);
  const std::size_t batches = (most + batch_ - 1) / batch_;
  deal(std::min(batches, std::max<std::size_t>(1, kMessage / batch_bytes())), false);
}

void TuplePool::deal(std::size_t batches, bool threaded) {
  Bytes message(batches * batch_bytes());
  const u64 first = dealt_ / batch_;
  const auto body = [&](std::size_t lo, std::size_t hi) {
    for (; lo < hi; ++lo) {
      u8* const out = message.data() + lo * batch_bytes();
      if (fit_.ring == 32)
        fit_.k == 16 ? deal_batch<u16>(first + lo, reinterpret_cast<u32*>(out))
                     : deal_batch<u32>(first + lo, reinterpret_cast<u32*>(out));
      else
        fit_.k == 16 ? deal_batch<u16>(first + lo, reinterpret_cast<u64*>(out))
                     : deal_batch<u32>(first + lo, reinterpret_cast<u64*>(out));
    }
  };
  if (threaded)
    parallel_for(batches, 1, body);
  else
    body(0, batches);
  next_.send(std::move(message));
  dealt_ += batches * batch_;
}

// LEFT's part of a batch: c_m − RIGHT's part, c_m = A_m e^(-2πi·m·ρ/2^k) at scale fc.
template <class Angle, class R>
void TuplePool::deal_batch(u64 batch, R* out) const {
  constexpr int kPhasorBits = 30;
  // 1. ρ, the sum of all four pads.
  Angle rho[kMost] = {};
  for (const Whose whose : {Whose::own, Whose::helpers}) {
    add_pads(helper_left_pads_, whose, batch * batch_, batch_, rho);
    add_pads(helper_right_pads_, whose, batch * batch_, batch_, rho);
  }
  // 2. c_m = A_m · conj(e^(2πi·m·ρ/2^k)) for every harmonic.
  i32 re[kMost], im[kMost];
  R* at = out;
  for (const Harmonic& harmonic : fit_.harmonics) {
    phasors(rho, harmonic.m, kPhasorBits, batch_, re, im);
    const double a_re = std::ldexp(harmonic.re, fit_.fc - kPhasorBits);
    const double a_im = std::ldexp(harmonic.im, fit_.fc - kPhasorBits);
    ::secfwt::amplitudes(re, im, a_re, a_im, batch_, at, at + batch_);
    at += 2 * batch_;
  }
  // 3. RIGHT's part is a pad.
  Bytes pads(batch_bytes());
  helper_amplitudes_.fill(0, batch * batch_bytes(), pads.data(), pads.size());
  const R* const pad = reinterpret_cast<const R*>(pads.data());
  for (std::size_t i = 0; i < batch_bytes() / sizeof(R); ++i) out[i] -= pad[i];
}

template void TuplePool::pads(Role, u64, std::size_t, u16*) const;
template void TuplePool::pads(Role, u64, std::size_t, u32*) const;
template void TuplePool::amplitudes(Role, u64, std::size_t,
                                    const std::function<void(std::size_t, std::size_t, const u32*)>&);
template void TuplePool::amplitudes(Role, u64, std::size_t,
                                    const std::function<void(std::size_t, std::size_t, const u64*)>&);

}  // namespace secfwt
