// Messages about many values, produced and consumed block by block: a block stays in the cache, a chunk of blocks is
// one message, and nothing of the whole's size is ever built.
#pragma once

#include <array>
#include <cstring>
#include <vector>

#include "mpc/channel.h"
#include "ring/parallel.h"

namespace secfwt {

// One message of an exchange, to or from one party: `bits` per value.
struct Flow {
  Channel* channel;
  std::size_t bits;
};

// How n values are cut. The same at sender and receiver: it depends on n and on the widest thing kept of a value only.
class Blocks {
 public:
  static constexpr std::size_t kMost = 4096;  // values in a block

  // Blocks hold a power of two of values (so that packed bits end on bytes and pads on cipher blocks), at most about
  // 128 KiB.
  explicit Blocks(std::size_t n, std::size_t bytes_per_value = 8) : n_(n) {
    while (block_ < kMost && 2 * block_ * bytes_per_value <= 131072) block_ *= 2;
  }

  std::size_t block() const { return block_; }

  // body(lo, n) for every block. Threaded.
  template <class F>
  void each(const F& body) const {
    parallel_for(count(0, n_), 1, [&](std::size_t first, std::size_t last) {
      for (std::size_t b = first; b < last; ++b) body(b * block_, length(b));
    });
  }

  // body(lo, n, out) fills out[flow] for every block; messages leave as they are complete.
  template <std::size_t N, class F>
  void send(const std::array<Flow, N>& flows, const F& body) const {
    for (std::size_t start = 0; start < n_; start += chunk()) {
      std::array<Bytes, N> messages;
      for (std::size_t f = 0; f < N; ++f) messages[f].resize(bytes(flows[f], start));
      each_of_chunk(flows, messages, start, body);
      for (std::size_t f = 0; f < N; ++f) flows[f].channel->send(std::move(messages[f]));
    }
  }

  // body(lo, n, in) reads in[flow] for every block.
  template <std::size_t N, class F>
  void recv(const std::array<Flow, N>& flows, const F& body) const {
    std::array<Bytes, N> messages;
    for (std::size_t start = 0; start < n_; start += chunk()) {
      for (std::size_t f = 0; f < N; ++f) {
        messages[f].resize(bytes(flows[f], start));
        flows[f].channel->recv(messages[f].data(), messages[f].size());
      }
      each_of_chunk(flows, messages, start, body);
    }
  }

 private:
  std::size_t chunk() const { return 32 * block_; }
  std::size_t count(std::size_t lo, std::size_t hi) const { return (hi - lo + block_ - 1) / block_; }
  std::size_t length(std::size_t b) const { return std::min(block_, n_ - b * block_); }
  std::size_t bytes(const Flow& flow, std::size_t start) const {
    return (std::min(chunk(), n_ - start) * flow.bits + 7) / 8;
  }

  template <std::size_t N, class F>
  void each_of_chunk(const std::array<Flow, N>& flows, std::array<Bytes, N>& messages, std::size_t start,
                     const F& body) const {
    parallel_for(count(start, std::min(n_, start + chunk())), 1, [&](std::size_t first, std::size_t last) {
      for (std::size_t b = first; b < last; ++b) {
        std::array<u8*, N> at;
        for (std::size_t f = 0; f < N; ++f) at[f] = messages[f].data() + b * block_ * flows[f].bits / 8;
        body(start + b * block_, length(start / block_ + b), at);
      }
    });
  }

  std::size_t n_;
  std::size_t block_ = 128;
};

}  // namespace secfwt
