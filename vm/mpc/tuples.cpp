#include "mpc/tuples.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "mpc/harmonics.h"
#include "ring/packing.h"
#include "ring/parallel.h"

namespace secfwt {
namespace {

constexpr std::size_t kBatchBytes = 1 << 16;  // about so many where tuples are large
constexpr std::size_t kMessage = 1 << 16;     // bytes, at most, dealt ahead at a time: what is urgent waits for one

std::size_t bits_of(const Fit& fit) {
  return 2 * (fit.head() * static_cast<std::size_t>(fit.ring) + fit.tail * static_cast<std::size_t>(fit.tail_ring));
}

// A pad of k bits, at the top of the word that an angle is: its low bits are 0.
template <class Angle>
void keep_top(Angle* pads, std::size_t n, int k) {
  const Angle mask = static_cast<Angle>(~u64{0} << (8 * static_cast<int>(sizeof(Angle)) - k));
  for (std::size_t i = 0; i < n; ++i) pads[i] &= mask;
}

// Batches that are dealt or used together: enough for all threads, few enough for the cache.
std::size_t group() { return 4 * threads(); }

std::size_t batch_of(const Fit& fit) {
  std::size_t batch = TuplePool::kMost;
  while (batch > 64 && batch * bits_of(fit) > 8 * kBatchBytes) batch /= 2;
  return batch;
}

}  // namespace

TuplePool::TuplePool(const Party& party, u64 number, const Fit& fit, Channel& prev, Channel& next)
    : fit_(fit),
      number_(number),
      tuple_bits_(bits_of(fit)),
      batch_(batch_of(fit)),
      prev_(prev),
      next_(next),
      left_pads_(stream(party.stream0, Purpose::left_pads)),
      right_pads_(stream(party.stream1, Purpose::right_pads)),
      right_amplitudes_(stream(party.stream1, Purpose::amplitudes)),
      helper_left_pads_(stream(party.stream1, Purpose::left_pads)),
      helper_right_pads_(stream(party.stream0, Purpose::right_pads)),
      helper_amplitudes_(stream(party.stream0, Purpose::amplitudes)),
      left_checks_(stream(party.stream1, Purpose::checks)),
      right_checks_(stream(party.stream0, Purpose::checks)) {}

Stream TuplePool::stream(const Stream& key, Purpose purpose) const {
  return key.numbered(1 + 4 * number_ + static_cast<u64>(purpose));
}

u64 TuplePool::take(Role role, std::size_t n) { return taken_[role].fetch_add(n); }

u64 TuplePool::ahead() const {
  const u64 taken = taken_[HELPER], dealt = dealt_;
  return dealt > taken ? dealt - taken : 0;
}

// All pads of a batch's tuples.
template <class Angle>
void TuplePool::tuple_pads(const Stream& stream, u64 batch, Angle* out) const {
  stream.fill(0, pad_index(batch, Whose::own, 0) * sizeof(Angle), out, row() * sizeof(Angle));
  keep_top(out, row(), fit_.k);
}

// Pads of HELPER's messages [i, i + n) of a batch.
template <class Angle>
void TuplePool::message_pads(const Stream& stream, u64 batch, u64 i, std::size_t n, Angle* out) const {
  const std::size_t skip = i % (16 / sizeof(Angle));  // a stream is read from the beginning of a cipher block
  Angle pads[kMost];
  stream.fill(0, pad_index(batch, Whose::helpers, i - skip) * sizeof(Angle), pads, (skip + n) * sizeof(Angle));
  std::copy_n(pads + skip, n, out);
  keep_top(out, n, fit_.k);
}

// Of each stratum's 64 tuples and its spare, uniformly: 64 is the spare. The bias of the remainder is below 2^-57.
TuplePool::Places TuplePool::places(Role role, u64 batch) const {
  u64 numbers[2 * kSpare];  // a cipher block each
  (role == LEFT ? left_checks_ : right_checks_).fill(0, batch * 16 * strata(), numbers, 16 * strata());
  Places out{};
  for (std::size_t g = 0; g < strata(); ++g) out[g] = static_cast<u8>(numbers[2 * g] % (kStratum + 1));
  return out;
}

// Puts the checked tuple of every stratum where its spare was, and the spare in its place.
template <class T>
void TuplePool::set_aside(const Places& checked, T* row) const {
  for (std::size_t g = 0; g < strata(); ++g)
    if (checked[g] < kStratum) std::swap(row[g * kStratum + checked[g]], row[batch_ + g]);
}

template <class Angle>
void TuplePool::pads(Role role, u64 first, std::size_t n, Angle* out) const {
  Angle row[kMost + kSpare], other[kMost];
  while (n > 0) {
    const u64 batch = first / batch_, i = first % batch_;
    const std::size_t count = std::min<std::size_t>(n, batch_ - i);
    if (role == HELPER) {
      message_pads(helper_left_pads_, batch, i, count, row);
      message_pads(helper_right_pads_, batch, i, count, other);
      for (std::size_t j = 0; j < count; ++j) out[j] = static_cast<Angle>(row[j] + other[j]);
    } else {
      const Stream& stream = role == LEFT ? left_pads_ : right_pads_;
      tuple_pads(stream, batch, row);
      set_aside(places(role, batch), row);
      message_pads(stream, batch, i, count, other);
      for (std::size_t j = 0; j < count; ++j) out[j] = static_cast<Angle>(row[i + j] - other[j]);
    }
    first += count;
    n -= count;
    out += count;
  }
}

template <class Angle>
void TuplePool::checked_pads(Role role, u64 first, std::size_t n, Angle* out) const {
  Angle row[kMost + kSpare];
  for (u64 s = begins(first), end = begins(first + n); s < end;) {
    const u64 batch = s / strata();
    tuple_pads(role == LEFT ? left_pads_ : right_pads_, batch, row);
    set_aside(places(role, batch), row);
    for (; s < end && s / strata() == batch; ++s) *out++ = row[batch_ + s % strata()];
  }
}

template <class R>
void TuplePool::amplitudes(Role role, u64 first, std::size_t n,
                           const std::function<void(std::size_t, std::size_t, const R*)>& body, R* sample) {
  if (n == 0) return;
  const u64 end = first + n, last_batch = (end - 1) / batch_;
  Bytes buffer;
  for (u64 start = first / batch_; start <= last_batch; start += group()) {
    const std::size_t batches = std::min<u64>(group(), last_batch + 1 - start);
    if (role == LEFT) {
      buffer.resize(batches * batch_bytes());
      std::copy(rest_.begin(), rest_.end(), buffer.begin());
      prev_.recv(buffer.data() + rest_.size(), buffer.size() - rest_.size());
      rest_.clear();
      if (start + batches > last_batch && end % batch_ != 0)
        rest_.assign(buffer.end() - static_cast<std::ptrdiff_t>(batch_bytes()), buffer.end());
    }
    parallel_for(batches, 1, [&](std::size_t lo, std::size_t hi) {
      Scratch<R> words(batch_words());
      R* const at = words.data();
      for (u64 batch = start + lo; batch < start + hi; ++batch) {
        if (role == LEFT)
          unpack(buffer.data() + (batch - start) * batch_bytes(), at);
        else
          right_amplitudes_.fill(0, amplitudes_index<R>(batch), at, batch_words() * sizeof(R));
        const Places checked = places(role, batch);
        for (std::size_t part = 0; part < parts(); ++part) set_aside(checked, at + part * row());
        const u64 from = std::max(first, batch * batch_), to = std::min(end, (batch + 1) * batch_);
        for (u64 s = begins(from); s < begins(to); ++s)
          for (std::size_t part = 0; part < parts(); ++part)
            sample[(s - begins(first)) * parts() + part] = at[part * row() + batch_ + s % strata()];
        body(from - first, to - from, at + from % batch_);
      }
    });
  }
}

// c_m = A_m · conj(e^(2πi·m·ρ/2^k)) at scale fc, for every harmonic: re and im of n tuples, `row` apart.
template <class Angle, class R>
void TuplePool::exact(const Angle* rho, std::size_t n, R* out, std::size_t row) const {
  constexpr int kPhasorBits = 30;
  i32 re[kMost + kSpare], im[kMost + kSpare];
  for (const Harmonic& harmonic : fit_.harmonics) {
    phasors(rho, harmonic.m, kPhasorBits, n, re, im);
    const double a_re = std::ldexp(harmonic.re, fit_.fc - kPhasorBits);
    const double a_im = std::ldexp(harmonic.im, fit_.fc - kPhasorBits);
    ::secfwt::amplitudes(re, im, a_re, a_im, n, out, out + row);
    out += 2 * row;
  }
}

template <class Angle, class R>
void TuplePool::expect(const Angle* rho, std::size_t count, R* sample) const {
  const R head = static_cast<R>(low_bits(fit_.ring)), tail = static_cast<R>(low_bits(std::max(1, fit_.tail_ring)));
  Scratch<R> whole(parts() * kMost);
  for (std::size_t done = 0; done < count; done += kMost) {
    const std::size_t n = std::min(kMost, count - done);
    exact(rho + done, n, whole.data(), kMost);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t part = 0; part < parts(); ++part, ++sample)
        *sample = (whole[part * kMost + i] - *sample) & (part < 2 * fit_.head() ? head : tail);
  }
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
  const bool short_angles = fit_.angle_bits() == 16;
  const auto body = [&](std::size_t lo, std::size_t hi) {
    u8* const out = message.data() + lo * batch_bytes();
    if (fit_.ring <= 32)
      short_angles ? deal_batches<u16, u32>(first + lo, hi - lo, out)
                   : deal_batches<u32, u32>(first + lo, hi - lo, out);
    else
      short_angles ? deal_batches<u16, u64>(first + lo, hi - lo, out)
                   : deal_batches<u32, u64>(first + lo, hi - lo, out);
  };
  if (threaded)
    parallel_for(batches, 1, body);
  else
    body(0, batches);
  next_.send(std::move(message));
  dealt_ += batches * batch_;
}

// LEFT's part of a batch: c_m − RIGHT's part, which is a pad.
template <class Angle, class R>
void TuplePool::deal_batches(u64 first, std::size_t n, u8* out) const {
  Angle rho[kMost + kSpare], other[kMost + kSpare];
  Scratch<R> words(batch_words()), pads(batch_words());
  for (u64 batch = first; batch < first + n; ++batch, out += batch_bytes()) {
    tuple_pads(helper_left_pads_, batch, rho);
    tuple_pads(helper_right_pads_, batch, other);
    for (std::size_t i = 0; i < row(); ++i) rho[i] = static_cast<Angle>(rho[i] + other[i]);
    exact(rho, row(), words.data(), row());
    helper_amplitudes_.fill(0, amplitudes_index<R>(batch), pads.data(), pads.size() * sizeof(R));
    for (std::size_t i = 0; i < words.size(); ++i) words[i] -= pads[i];
    pack(words.data(), out);
  }
}

template <class R>
void TuplePool::pack(const R* words, u8* out) const {
  pack_bits(words, head_words(), fit_.ring, out);
  if (fit_.tail > 0) pack_bits(words + head_words(), tail_words(), fit_.tail_ring, out + head_bytes());
}

template <class R>
void TuplePool::unpack(const u8* in, R* words) const {
  unpack_bits(in, head_words(), fit_.ring, words);
  if (fit_.tail > 0) unpack_bits(in + head_bytes(), tail_words(), fit_.tail_ring, words + head_words());
}

template void TuplePool::pads(Role, u64, std::size_t, u16*) const;
template void TuplePool::pads(Role, u64, std::size_t, u32*) const;
template void TuplePool::checked_pads(Role, u64, std::size_t, u16*) const;
template void TuplePool::checked_pads(Role, u64, std::size_t, u32*) const;
template void TuplePool::amplitudes(Role, u64, std::size_t,
                                    const std::function<void(std::size_t, std::size_t, const u32*)>&, u32*);
template void TuplePool::amplitudes(Role, u64, std::size_t,
                                    const std::function<void(std::size_t, std::size_t, const u64*)>&, u64*);
template void TuplePool::expect(const u16*, std::size_t, u32*) const;
template void TuplePool::expect(const u16*, std::size_t, u64*) const;
template void TuplePool::expect(const u32*, std::size_t, u32*) const;
template void TuplePool::expect(const u32*, std::size_t, u64*) const;

}  // namespace secfwt
