// Three parties as threads of one process, with a C interface: the same engine and the same messages as over a network,
// but inputs arrive in the clear and are shared here. For tests, for cost calibration and for rehearsals; it protects
// nothing.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "mpc/engine.h"
#include "mpc/memory_link.h"
#include "mpc/program_limits.h"
#include "mpc/tuples.h"
#include "ring/gemm.h"
#include "ring/gemm_kernel.h"
#include "ring/packing.h"

namespace secfwt {
namespace {

// What a party receives over one link, in the order in which it is read; kept while `on`.
struct Log {
  bool on = false;
  std::mutex mutex;
  std::vector<u8> received;
};

// Passes everything on and keeps a copy of what is read.
class TapChannel : public Channel {
 public:
  TapChannel(Channel& inner, Log& log) : inner_(inner), log_(log) {}
  void send(Bytes bytes) override {
    sent_ += bytes.size();
    inner_.send(std::move(bytes));
  }
  void recv(void* out, std::size_t n) override {
    inner_.recv(out, n);
    std::lock_guard<std::mutex> lock(log_.mutex);
    if (log_.on) log_.received.insert(log_.received.end(), static_cast<u8*>(out), static_cast<u8*>(out) + n);
  }

 private:
  Channel& inner_;
  Log& log_;
};

class Tap : public Link {
 public:
  explicit Tap(std::unique_ptr<MemoryLink> inner) : inner_(std::move(inner)) {}
  Channel& channel(u32 number) override {
    std::lock_guard<std::mutex> lock(mutex_);
    return channels_.try_emplace(number, inner_->channel(number), log).first->second;
  }

  // Tells the other end that this one is gone.
  void close() {
    inner_->close();
    closed_ = true;
  }
  bool closed() const { return closed_; }

  Log log;

 private:
  std::unique_ptr<MemoryLink> inner_;
  std::atomic<bool> closed_{false};
  std::mutex mutex_;
  std::map<u32, TapChannel> channels_;
};

// One party with its links and its engine.
struct Seated {
  std::unique_ptr<Tap> prev, next;
  Lanes lanes;
  std::unique_ptr<Engine> engine;
};

class Simulator {
 public:
  Simulator(const std::string& text, std::size_t tile_words, std::size_t lanes, u64 ahead, bool background,
            Network network, const PublicWeights& constants)
      : program_(parse_program(text)) {
    if (lanes < 1 || lanes > 64) throw std::invalid_argument("lanes: 1 to 64, not " + std::to_string(lanes));
    for (int i = 0; i < 3; ++i) {
      auto ends = memory_link(network);
      seats_[i].next = std::make_unique<Tap>(std::move(ends.first));
      seats_[(i + 1) % 3].prev = std::make_unique<Tap>(std::move(ends.second));
    }
    each([&](int i) {
      Seated& seat = seats_[i];
      seat.lanes = connect_lanes(i, lanes, program_.fits, *seat.prev, *seat.next);
      seat.engine = std::make_unique<Engine>(program_, seat.lanes, tile_words, ahead, constants, background);
    });
  }

  void set_weights(const u64* x, std::size_t n) {
    auto shares = share(x, n);
    each([&](int i) { seats_[i].engine->set_weights(std::move(shares[i])); });
    examples_.clear();
  }

  void set_examples(u64 id, std::size_t count, const u64* x, std::size_t n) {
    auto shares = share(x, n);
    each([&](int i) { seats_[i].engine->set_examples(id, count, std::move(shares[i])); });
    examples_[id] = count;
  }

  void step(u64 id, std::size_t candidates, std::size_t output, std::size_t at, const u64* x, std::size_t n,
            u64* result, std::size_t n_result) {
    auto shares = share(x, n);
    Words parts[3];
    each([&](int i) { parts[i] = seats_[i].engine->step(id, candidates, output, std::move(shares[i]), {}, at); });
    if (parts[0].size() != n_result)
      throw std::invalid_argument("step: the result has " + std::to_string(parts[0].size()) + " words, room for " +
                                  std::to_string(n_result) + " was given");
    const int free = kWord - program_.values[program_.outputs[output].value].ring;
    for (std::size_t j = 0; j < n_result; ++j) {
      const u64 sum = (parts[0][j] + parts[1][j] + parts[2][j]) << free;
      result[j] = static_cast<u64>(static_cast<i64>(sum) >> free);  // the signed number
    }
  }

  void deal_ahead() {
    each([&](int i) { seats_[i].engine->deal_ahead(); });
  }

  // Length of an output; 0 where there is no such output or example set, and of what is kept.
  std::size_t result_words(u64 id, std::size_t candidates, std::size_t output) const {
    if (output >= program_.outputs.size() || program_.outputs[output].keep) return 0;
    const Node& node = program_.values[program_.outputs[output].value];
    const auto count = examples_.find(id);
    const auto depends = [&](Stage stage) { return (static_cast<int>(node.stage) & static_cast<int>(stage)) != 0; };
    const std::size_t examples = !depends(Stage::example) ? 1 : count == examples_.end() ? 0 : count->second;
    return (depends(Stage::candidate) ? candidates : 1) * examples * volume(node.shape);
  }

  // What each party has sent so far.
  void counters(u64 bytes[3], u64* rounds) const {
    for (int i = 0; i < 3; ++i) bytes[i] = seats_[i].engine->bytes_sent();
    *rounds = seats_[0].engine->rounds();
  }

  // Bytes that each party keeps of the weights and what the setup stage makes of them.
  void kept(u64 bytes[3]) const {
    for (int i = 0; i < 3; ++i) bytes[i] = sizeof(u64) * seats_[i].engine->kept_setup_words();
  }

  // Bytes of tuples that lie ahead, and that steps have waited for.
  void dealt(u64 totals[2]) const {
    totals[0] = totals[1] = 0;
    for (const Seated& seat : seats_)
      for (const Party& lane : seat.lanes)
        for (const auto& pool : lane.pools) {
          totals[0] += pool->bytes(pool->ahead());
          totals[1] += pool->bytes(pool->late());
        }
  }

  void record(bool on) {
    for (Seated& seat : seats_)
      for (Tap* tap : {seat.prev.get(), seat.next.get()}) {
        tap->log.on = on;
        tap->log.received.clear();
      }
  }

  const std::vector<u8>& received(int party, bool from_next) const {
    return (from_next ? seats_[party].next : seats_[party].prev)->log.received;
  }

 private:
  // Runs body(party) in three threads. If one fails in the middle, its channels close, so that the others fail too
  // instead of waiting; the first cause is rethrown. What is refused beforehand (std::invalid_argument) all three
  // refuse.
  template <class F>
  void each(const F& body) {
    if (broken_) throw std::runtime_error("an earlier failure has ended this simulation");
    std::exception_ptr errors[3];
    std::thread threads[3];
    for (int i = 0; i < 3; ++i)
      threads[i] = std::thread([&, i] {
        try {
          body(i);
        } catch (const std::invalid_argument&) {
          errors[i] = std::current_exception();
        } catch (...) {
          errors[i] = std::current_exception();
          seats_[i].prev->close();
          seats_[i].next->close();
        }
      });
    for (std::thread& thread : threads) thread.join();
    std::exception_ptr cause;
    for (const Seated& seat : seats_) broken_ = broken_ || seat.prev->closed();
    for (const std::exception_ptr& error : errors) {
      if (!error) continue;
      try {
        std::rethrow_exception(error);
      } catch (const PeerLost&) {
        if (!cause) cause = error;
      } catch (...) {
        cause = error;
      }
    }
    if (cause) std::rethrow_exception(cause);
  }

  // x = x0 + x1 + x2 under fresh keys; party i gets (x_i, x_{i+1}).
  static std::array<Shares, 3> share(const u64* x, std::size_t n) {
    Words parts[3] = {Words(n), Words(n), Words(n)};
    expand(random_key(), 0, parts[0].data(), n * sizeof(u64));
    expand(random_key(), 0, parts[1].data(), n * sizeof(u64));
    for (std::size_t j = 0; j < n; ++j) parts[2][j] = x[j] - parts[0][j] - parts[1][j];
    std::array<Shares, 3> out;
    for (int i = 0; i < 3; ++i) out[i] = Shares{parts[i], parts[(i + 1) % 3]};
    return out;
  }

  Program program_;
  Seated seats_[3];
  std::map<u64, std::size_t> examples_;  // how many, by set
  bool broken_ = false;
};

// 0, or 1 with the message in `error`.
template <class F>
int guarded(char* error, std::size_t size, const F& body) {
  try {
    body();
    return 0;
  } catch (const std::exception& e) {
    std::snprintf(error, size, "%s", e.what());
    return 1;
  }
}

}  // namespace
}  // namespace secfwt

using secfwt::guarded;
using secfwt::Simulator;
using secfwt::u64;
using secfwt::u8;

extern "C" {

// `ahead`: bytes of tuples that may be dealt before a step needs them; `background`: by threads, else at the end of a
// step and by secfwt_deal. Between the parties lies a network with a latency in seconds, one way, and bytes a second in
// each direction (0: any number). `constants`: the public weights, as their file has them. nullptr on failure.
Simulator* secfwt_create(const char* program, std::size_t tile_words, std::size_t lanes, u64 ahead, int background,
                         double latency, double bytes_per_second, const u8* constants, std::size_t n_constants,
                         char* error, std::size_t error_size) {
  Simulator* out = nullptr;
  const auto kept = std::make_shared<const std::vector<u8>>(constants, constants + n_constants);
  const secfwt::PublicWeights weights([kept](std::size_t at, u8* to, std::size_t n) {
    if (at + n > kept->size()) return false;
    std::copy_n(kept->data() + at, n, to);
    return true;
  });
  const secfwt::Network network{std::chrono::duration<double>(latency), bytes_per_second};
  guarded(error, error_size,
          [&] { out = new Simulator(program, tile_words, lanes, ahead, background != 0, network, weights); });
  return out;
}

void secfwt_free(Simulator* simulator) { delete simulator; }

int secfwt_weights(Simulator* simulator, const u64* x, std::size_t n, char* error, std::size_t error_size) {
  return guarded(error, error_size, [&] { simulator->set_weights(x, n); });
}

int secfwt_examples(Simulator* simulator, u64 id, std::size_t count, const u64* x, std::size_t n, char* error,
                    std::size_t error_size) {
  return guarded(error, error_size, [&] { simulator->set_examples(id, count, x, n); });
}

// Length of a step's result; 0 where there is no such output or example set, and of what is kept.
std::size_t secfwt_result_words(const Simulator* simulator, u64 id, std::size_t candidates, std::size_t output) {
  return simulator->result_words(id, candidates, output);
}

int secfwt_step(Simulator* simulator, u64 id, std::size_t candidates, std::size_t output, std::size_t at, const u64* x,
                std::size_t n, u64* result, std::size_t n_result, char* error, std::size_t error_size) {
  return guarded(error, error_size, [&] { simulator->step(id, candidates, output, at, x, n, result, n_result); });
}

void secfwt_counters(const Simulator* simulator, u64 bytes[3], u64* rounds) { simulator->counters(bytes, rounds); }

void secfwt_kept(const Simulator* simulator, u64 bytes[3]) { simulator->kept(bytes); }

// Where no threads deal: all that the next step should find.
int secfwt_deal(Simulator* simulator, char* error, std::size_t error_size) {
  return guarded(error, error_size, [&] { simulator->deal_ahead(); });
}

void secfwt_dealt(const Simulator* simulator, u64 totals[2]) { simulator->dealt(totals); }

// Starts (and clears) or ends the record of what parties receive.
void secfwt_record(Simulator* simulator, int on) { simulator->record(on != 0); }

// What `party` received from the party before it (from_next = 0) or after it (1): its length; copied to `out` unless
// that is nullptr.
std::size_t secfwt_received(const Simulator* simulator, int party, int from_next, u8* out) {
  const auto& bytes = simulator->received(party, from_next != 0);
  if (out && !bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
  return bytes.size();
}

// c (m×n) = a (m×k) · b (k×n) mod 2^64, contiguous.
void secfwt_gemm(const u64* a, const u64* b, u64* c, std::size_t m, std::size_t k, std::size_t n) {
  secfwt::gemm(a, b, c, m, k, n, false);
}

// Name of the best instruction set of the ring kernels that this processor has.
const char* secfwt_isa() { return secfwt::isa_name(secfwt::best_isa()); }

// The kernel that large matrix products run on in a ring of so many bits.
const char* secfwt_kernel(int bits) { return secfwt::current_kernel(bits).name; }

// The i-th kernel that this processor has, measured: 10^9 multiply-accumulates per second of one core, of blocks in the
// cache, and of its multiplications alone; and the bits of the widest ring that it is for. nullptr behind the last.
const char* secfwt_kernel_rates(std::size_t i, double rates[2], int* bits) {
  if (i >= secfwt::kernels().size()) return nullptr;
  const secfwt::GemmKernel& kernel = *secfwt::kernels()[i];
  const secfwt::KernelRate rate = secfwt::measure(kernel);
  rates[0] = rate.multiply;
  rates[1] = rate.peak;
  *bits = kernel.bits;
  return kernel.name;
}

// Words packed to so many bits, unpacked, and copied: 10^9 bytes of words per second of one core, more of them than
// caches hold.
void secfwt_packing_rates(int bits, double rates[3]) {
  constexpr std::size_t words = 4 << 20;
  constexpr int runs = 8;
  const secfwt::Words from(words, 0x123456789abcdef);
  secfwt::Words to(words);
  u8* const bytes = reinterpret_cast<u8*>(to.data());
  std::vector<u8> packed(bytes, bytes + 8 * words);
  const auto rate = [](const auto& body) {
    double best = 0;
    for (int run = 0; run < runs; ++run) {
      const auto begin = std::chrono::steady_clock::now();
      body();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      best = std::max(best, 8e-9 * static_cast<double>(words) / seconds.count());
    }
    return best;
  };
  rates[0] = rate([&] { secfwt::pack_bits(from.data(), words, bits, packed.data()); });
  rates[1] = rate([&] { secfwt::unpack_bits(packed.data(), words, bits, to.data()); });
  rates[2] = rate([&] { std::memcpy(packed.data(), from.data(), 8 * words); });
}

}  // extern "C"
