// Three parties as threads, what each receives, and statistics of it.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <thread>

#include "check.h"
#include "mpc/engine.h"
#include "mpc/fourier.h"
#include "mpc/memory_link.h"
#include "mpc/reshare.h"
#include "mpc/truncate.h"
#include "mpc/truncate_opened.h"

namespace secfwt::test {

using Keys = std::array<Key, 3>;

// Passes messages on, or noise in their place, and keeps what arrives.
class Tap : public Channel {
 public:
  Tap(Channel& inner, std::vector<u8>& view, bool noise) : inner_(inner), view_(view), noise_(noise) {}
  void send(Bytes bytes) override {
    sent_ += bytes.size();
    if (noise_) expand(random_key(), 0, bytes.data(), bytes.size());
    inner_.send(std::move(bytes));
  }
  void recv(void* out, std::size_t n) override {
    inner_.recv(out, n);
    view_.insert(view_.end(), static_cast<u8*>(out), static_cast<u8*>(out) + n);
  }

 private:
  Channel& inner_;
  std::vector<u8>& view_;
  bool noise_;
};

struct Trace {
  std::vector<u8> from_prev[3], from_next[3];
  u64 bytes = 0, rounds = 0;
};

inline Keys random_keys() { return {random_key(), random_key(), random_key()}; }

// Runs body(party) at three parties with the given keys. All that `liar` sends is noise.
inline Trace run(const Keys& keys, const std::function<void(Party&)>& body, int liar = -1) {
  Trace trace;
  std::unique_ptr<Link> links[3][2];
  std::unique_ptr<Channel> prev[3], next[3];
  for (int i = 0; i < 3; ++i) {
    auto ends = memory_link();
    const int after = (i + 1) % 3;
    next[i] = std::make_unique<Tap>(ends.first->channel(1), trace.from_next[i], i == liar);
    prev[after] = std::make_unique<Tap>(ends.second->channel(1), trace.from_prev[after], after == liar);
    links[i][0] = std::move(ends.first), links[i][1] = std::move(ends.second);
  }
  std::thread threads[3];
  u64 bytes[3], rounds[3];
  for (int i = 0; i < 3; ++i)
    threads[i] = std::thread([&, i] {
      Party party{i, Stream(keys[i]), Stream(keys[(i + 1) % 3]), prev[i].get(), next[i].get()};
      body(party);
      bytes[i] = party.bytes_sent();
      rounds[i] = party.rounds;
    });
  for (std::thread& thread : threads) thread.join();
  trace.bytes = bytes[0] + bytes[1] + bytes[2];
  trace.rounds = rounds[0];
  return trace;
}

// Changes a message on its way, or does not.
using Meddler = std::function<void(int from, int to, u32 channel, Bytes& message)>;

// A link whose messages pass through a meddler.
class MeddledLink : public Link {
 public:
  MeddledLink(std::unique_ptr<Link> inner, std::function<void(u32, Bytes&)> meddle)
      : inner_(std::move(inner)), meddle_(std::move(meddle)) {}
  Channel& channel(u32 number) override {
    return channels_.try_emplace(number, inner_->channel(number), number, meddle_).first->second;
  }

 private:
  class Meddled : public Channel {
   public:
    Meddled(Channel& inner, u32 number, const std::function<void(u32, Bytes&)>& meddle)
        : inner_(inner), number_(number), meddle_(meddle) {}
    void send(Bytes bytes) override {
      sent_ += bytes.size();
      meddle_(number_, bytes);
      inner_.send(std::move(bytes));
    }
    void recv(void* out, std::size_t n) override { inner_.recv(out, n); }

   private:
    Channel& inner_;
    u32 number_;
    const std::function<void(u32, Bytes&)>& meddle_;
  };

  std::unique_ptr<Link> inner_;
  std::function<void(u32, Bytes&)> meddle_;
  std::map<u32, Meddled> channels_;
};

// Runs body(lanes) at three parties.
inline void run_lanes(
    std::size_t count, const std::function<void(Lanes&)>& body, const std::vector<Fit>& fits = {},
    const Meddler& meddle = [](int, int, u32, Bytes&) {}) {
  std::unique_ptr<Link> prev[3], next[3];
  for (int i = 0; i < 3; ++i) {
    const int j = (i + 1) % 3;
    auto ends = memory_link();
    next[i] = std::make_unique<MeddledLink>(std::move(ends.first), [=](u32 c, Bytes& m) { meddle(i, j, c, m); });
    prev[j] = std::make_unique<MeddledLink>(std::move(ends.second), [=](u32 c, Bytes& m) { meddle(j, i, c, m); });
  }
  std::thread threads[3];
  for (int i = 0; i < 3; ++i)
    threads[i] = std::thread([&, i] {
      Lanes lanes = connect_lanes(i, count, fits, *prev[i], *next[i]);
      body(lanes);
    });
  for (std::thread& thread : threads) thread.join();
}

// A random additive sharing of z.
inline std::array<Words, 3> additive(const Words& z) {
  std::array<Words, 3> x{Words(z.size()), Words(z.size()), Words(z.size())};
  for (int i = 0; i < 2; ++i) expand(random_key(), 0, x[i].data(), z.size() * 8);
  for (std::size_t j = 0; j < z.size(); ++j) x[2][j] = z[j] - x[0][j] - x[1][j];
  return x;
}

// A protocol that takes n additive values to `outputs`·n replicated ones.
using Protocol = std::function<std::unique_ptr<Task>(Party&, int rotation, const u64*, std::size_t, Target)>;

struct Result {
  Words z;
  Trace trace;
};

inline Result apply(const Protocol& protocol, const std::array<Words, 3>& x, std::size_t outputs, const Keys& keys) {
  const std::size_t n = x[0].size();
  Words x0[3], x1[3];
  Result result;
  result.trace = run(keys, [&](Party& party) {
    Words &y0 = x0[party.id], &y1 = x1[party.id];
    y0.resize(outputs * n);
    y1.resize(outputs * n);
    Tasks tasks;
    for (int t = 0; t < 3; ++t) {
      const std::size_t lo = third(n, t), length = third(n, t + 1) - lo;
      tasks.push_back(protocol(party, t, x[party.id].data() + lo, length,
                               Target{y0.data() + outputs * lo, y1.data() + outputs * lo}));
    }
    run_tasks(tasks, party);
  });
  for (int i = 0; i < 3; ++i) CHECK(x1[i] == x0[(i + 1) % 3]);
  for (std::size_t j = 0; j < outputs * n; ++j) result.z.push_back(x0[0][j] + x0[1][j] + x0[2][j]);
  return result;
}

inline Protocol truncation(int shift, int source = 64, int ring = 64) {
  return [=](Party& party, int rotation, const u64* z, std::size_t n, Target out) {
    return std::make_unique<Truncate>(Seat(party, rotation), z, n, source, shift, ring, out);
  };
}

inline Protocol opened_truncation(int shift, int source = 64, int ring = 64) {
  return [=](Party& party, int rotation, const u64* z, std::size_t n, Target out) {
    return std::make_unique<TruncateOpened>(Seat(party, rotation), z, n, source, shift, ring, out);
  };
}

// Of replicated values: party i has components i and i+1 of `x`.
inline Protocol held_truncation(const std::array<Words, 3>& x, int shift, int source, int ring) {
  return [=, &x](Party& party, int rotation, const u64* z, std::size_t n, Target out) {
    const std::size_t lo = static_cast<std::size_t>(z - x[party.id].data());
    return std::make_unique<TruncateHeld>(Seat(party, rotation), z, x[(party.id + 1) % 3].data() + lo, n, source, shift,
                                          ring, out);
  };
}

// Symmetric: the parties have no roles.
inline Protocol resharing(int shift, int ring) {
  return [=](Party& party, int, const u64* z, std::size_t n, Target out) {
    return std::make_unique<Reshare>(party, z, n, shift, ring, out);
  };
}

inline Fit example_fit(int k, int ring) {
  Fit fit;
  fit.k = k;
  fit.ring = ring;
  fit.fc = fit.fa = 13;
  fit.constant = 0.75;
  fit.harmonics = {{1, 0.5, -0.25}, {2, -1.0, 0.0}, {7, 0.0, 0.75}};
  return fit;
}

// With harmonics 2 and 7 in a ring of their own: one that their sum is lifted from, or has the room of the others'.
inline Fit tailed_fit(int k, int ring, bool lifts) {
  Fit fit = example_fit(k, ring);
  fit.tail = 2;
  fit.tail_fa = 10;
  fit.tail_ring = lifts ? 26 : fit.lifted();
  return fit;
}

// The tuples of the only series a party evaluates, dealt over its ordinary channels.
inline TuplePool& pool_of(Party& party, const Fit& fit) {
  if (party.pools.empty()) party.pools.push_back(std::make_shared<TuplePool>(party, 0, fit, *party.prev, *party.next));
  return *party.pools[0];
}

inline Protocol series(const Fit& fit, int shift = 0, int ring = 64) {
  return [=, &fit](Party& party, int rotation, const u64* z, std::size_t n, Target out) {
    return make_fourier(Seat(party, rotation), pool_of(party, fit), z, n, fit, shift, ring, out);
  };
}

inline Fit unit_fit() {
  Fit fit;
  fit.fc = fit.fa = 14;
  fit.harmonics = {{1, 1.0, 0.0}};
  return fit;
}

inline double evaluate(const Fit& fit, double turns) {
  double f = fit.constant;
  for (const Harmonic& h : fit.harmonics) {
    const double angle = 2 * M_PI * std::fmod(h.m * turns, 1.0);
    f += h.re * std::cos(angle) - h.im * std::sin(angle);
  }
  return f;
}

inline Words random_words(std::size_t n) {
  Words out(n);
  expand(random_key(), 0, out.data(), n * 8);
  return out;
}

// The signed number of Z_2^ring.
inline i64 number(u64 word, int ring) { return static_cast<i64>(word << (64 - ring)) >> (64 - ring); }

// Chi-square of bytes against uniform, 255 degrees of freedom: above 450 with probability below 10^-12.
inline bool uniform(const std::vector<u8>& bytes) {
  std::array<double, 256> count{};
  for (u8 b : bytes) ++count[b];
  const double expected = static_cast<double>(bytes.size()) / 256;
  double chi2 = 0;
  for (double c : count) chi2 += (c - expected) * (c - expected) / expected;
  return bytes.size() >= 4096 && chi2 < 450;
}

inline std::vector<u8> difference(const std::vector<u8>& a, const std::vector<u8>& b) {
  std::vector<u8> out;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) out.push_back(static_cast<u8>(a[i] ^ b[i]));
  return out;
}

// Whether no 64-bit word occurs twice; by chance one would with probability below 10^-8.
inline bool distinct_words(const std::vector<const std::vector<u8>*>& streams) {
  Words words;
  for (const auto* stream : streams) {
    CHECK_EQ(stream->size() % 8, std::size_t{0});
    const std::size_t at = words.size();
    words.resize(at + stream->size() / 8);
    std::memcpy(words.data() + at, stream->data(), stream->size());
  }
  std::sort(words.begin(), words.end());
  return words.size() > 1000 && std::adjacent_find(words.begin(), words.end()) == words.end();
}

// The same shares with other bits above `ring`: what a party may hold of a value of Z_2^ring.
inline std::array<Words, 3> with_noise_above(std::array<Words, 3> x, int ring) {
  if (ring < 64)
    for (Words& share : x) {
      const Words noise = random_words(share.size());
      for (std::size_t i = 0; i < share.size(); ++i) share[i] ^= noise[i] << ring;
    }
  return x;
}

// With the keys party i holds and all inputs unchanged, but another third key, all that i receives changes by a uniform
// amount: every message to it is masked by the key it does not hold.
inline void check_hiding(const Protocol& protocol, const Words& z) {
  const auto x = additive(z);
  for (int i = 0; i < 3; ++i) {
    Keys keys = random_keys();
    const Trace first = apply(protocol, x, 2, keys).trace;
    CHECK(uniform(first.from_prev[i]));
    CHECK(uniform(first.from_next[i]));
    keys[(i + 2) % 3] = random_key();
    const Trace second = apply(protocol, x, 2, keys).trace;
    CHECK(uniform(difference(first.from_prev[i], second.from_prev[i])));
    CHECK(uniform(difference(first.from_next[i], second.from_next[i])));
  }
}

}  // namespace secfwt::test
