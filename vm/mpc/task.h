// What a protocol is made of: a role, pads, and rounds.
//
// The two-party computations inside the protocols have three roles. LEFT and RIGHT hold the two summands of a value and
// compute; HELPER knows what masks them and deals correlated randomness. In terms of components: LEFT holds 0 and 1,
// RIGHT 1 and 2, HELPER 2 and 0, and the keys alike. So LEFT and RIGHT meet in component 1, and HELPER shares key 0
// with LEFT and key 2 with RIGHT. An operation on many values is split into thirds with the roles rotated, so that the
// three parties send and compute equally much.
#pragma once

#include <cstddef>

#include "mpc/party.h"
#include "mpc/value.h"

namespace secfwt {

enum Role { LEFT = 0, RIGHT = 1, HELPER = 2 };

// A range of a stream that two parties hold: masks for one purpose, used once. Empty at the party that does not hold
// the key.
class Pad {
 public:
  Pad() = default;
  Pad(const Stream* stream, u64 block) : stream_(stream), block_(block) {}
  // Elements [lo, lo+n) of type T; lo·sizeof(T) must be a multiple of 16.
  template <class T>
  void fill(std::size_t lo, T* out, std::size_t n) const {
    stream_->fill(block_, lo * sizeof(T), out, n * sizeof(T));
  }

 private:
  const Stream* stream_ = nullptr;
  u64 block_ = 0;
};

// A party in a role.
class Seat {
 public:
  // `rotation` is the number of the party that is LEFT.
  Seat(Party& party, int rotation) : party_(&party), role_((party.id - rotation + 3) % 3) {}

  Role role() const { return static_cast<Role>(role_); }
  Channel& to(Role role) const { return role == (role_ + 1) % 3 ? *party_->next : *party_->prev; }

  // What this party holds in common with that role.
  Common& with(Role role) const { return role == (role_ + 1) % 3 ? party_->with_next : party_->with_prev; }

  // Reserves a pad under key j (of the roles' numbering). All three parties call it in the same order.
  Pad pad(int j, std::size_t bytes) const {
    Stream* stream = role_ == j ? &party_->stream0 : (role_ + 1) % 3 == j ? &party_->stream1 : nullptr;
    return stream ? Pad(stream, stream->reserve(bytes)) : Pad();
  }

  // This party's word of a value that holds component j (of the roles' numbering): 0, 1, or -1.
  int word(int j) const { return role_ == j ? 0 : (role_ + 1) % 3 == j ? 1 : -1; }

 private:
  Party* party_;
  int role_;
};

// One protocol on one range of values. In each round all tasks send, then all receive.
class Task {
 public:
  virtual ~Task() = default;
  virtual int rounds() const = 0;
  virtual void send(int round) = 0;
  virtual void recv(int round) = 0;
};

using Tasks = std::vector<std::unique_ptr<Task>>;

// Runs tasks together; adds the rounds they took.
void run_tasks(const Tasks& tasks, Party& party);

// Where third t of n items begins.
inline std::size_t third(std::size_t n, int t) { return n * static_cast<std::size_t>(t) / 3; }

}  // namespace secfwt
