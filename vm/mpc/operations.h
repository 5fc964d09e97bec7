// The words of ring programs (docs/program.md): stages, sharings and kinds of values, one row each.
#pragma once

#include <array>
#include <cstddef>
#include <limits>

#include "ring/named.h"

namespace secfwt {

enum class Stage { setup = 0, example = 1, candidate = 2, pair = 3 };  // a lattice: join is bitwise or
enum class Sharing { rep, add, pub };
enum class Kind {
  weight,
  example,
  candidate,
  public_,
  table,
  constant,
  state,
  kept,
  matmul,
  mul,
  add,
  sub,
  scale,
  sum,
  reshape,
  permute,
  concat,
  slice,
  window,
  append,
  reduce_examples,
  lift,
  trunc,
  reshare,
  cos_sin,
  fourier,
};

inline constexpr std::array<Named<Stage>, 4> kStages{{
    {Stage::setup, "setup"},
    {Stage::example, "example"},
    {Stage::candidate, "candidate"},
    {Stage::pair, "pair"},
}};
inline constexpr std::array<Named<Sharing>, 3> kSharings{{
    {Sharing::rep, "rep"},
    {Sharing::add, "add"},
    {Sharing::pub, "pub"},
}};

// What a kind of value is called and takes.
struct Operation {
  Kind value;
  const char* name;
  std::size_t least_inputs, most_inputs;
  bool communicates = false;  // a protocol, which stands in a group; everything else a party does alone
};
constexpr std::size_t kAnyNumber = std::numeric_limits<std::size_t>::max();
inline constexpr std::array<Operation, 26> kOperations{{
    // inputs
    {Kind::weight, "weight", 0, 0},
    {Kind::example, "example", 0, 0},
    {Kind::candidate, "candidate", 0, 0},
    {Kind::public_, "public", 0, 0},
    {Kind::table, "table", 0, 0},
    {Kind::constant, "constant", 0, 0},
    {Kind::state, "state", 0, 0},
    {Kind::kept, "kept", 0, 0},
    // arithmetic
    {Kind::matmul, "matmul", 2, 2},
    {Kind::mul, "mul", 2, 2},
    {Kind::add, "add", 2, 2},
    {Kind::sub, "sub", 2, 2},
    {Kind::scale, "scale", 1, 1},
    {Kind::sum, "sum", 1, 1},
    // moves, and the sum over examples
    {Kind::reshape, "reshape", 1, 1},
    {Kind::permute, "permute", 1, 1},
    {Kind::concat, "concat", 1, kAnyNumber},
    {Kind::slice, "slice", 1, 1},
    {Kind::window, "window", 1, 1},
    {Kind::append, "append", 2, 2},
    {Kind::reduce_examples, "reduce_examples", 1, 1},
    // protocols
    {Kind::lift, "lift", 1, 1, true},
    {Kind::trunc, "trunc", 1, 1, true},
    {Kind::reshare, "reshare", 1, 1, true},
    {Kind::cos_sin, "cos_sin", 1, 1, true},
    {Kind::fourier, "fourier", 1, 1, true},
}};

constexpr const char* name(Stage stage) { return row_of(kStages, stage).name; }
constexpr const char* name(Sharing sharing) { return row_of(kSharings, sharing).name; }
constexpr const Operation& operation(Kind kind) { return row_of(kOperations, kind); }
constexpr const char* name(Kind kind) { return operation(kind).name; }
constexpr bool is_input(Kind kind) { return operation(kind).most_inputs == 0; }
// Of an owner, who shares it: the others are public.
constexpr bool is_shared_input(Kind kind) {
  return kind == Kind::weight || kind == Kind::example || kind == Kind::candidate;
}
constexpr bool communicates(Kind kind) { return operation(kind).communicates; }

}  // namespace secfwt
