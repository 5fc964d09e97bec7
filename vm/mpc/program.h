// A ring program in memory (docs/program.md): parsed, and checked so that the engine need not check again.
#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "mpc/operations.h"
#include "mpc/shape.h"
#include "ring/hash.h"
#include "ring/prg.h"
#include "ring/ring.h"

namespace secfwt {

// A program that cannot be run; the message names the line, what is there and what would be accepted.
struct ProgramError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// f(θ) = constant + Re Σ_m (re + i·im) e^(2πi·m·θ), θ in turns, and the precision it is computed with.
struct Harmonic {
  u32 m;
  double re, im;
};
struct Fit {
  int k = 16;            // bits of the opened phase
  int fc = 0;            // fraction bits of the harmonics' amplitudes
  int fa = 0;            // fraction bits of the phasors
  int ring = 64;         // bits of the ring that the harmonics are added up in
  std::size_t tail = 0;  // how many of the last harmonics are small, and added up on their own first
  int tail_fa = 0;       // fraction bits of their phasors: at most fa
  int tail_ring = 0;     // bits of the ring that they are added up in
  double constant = 0;
  std::vector<Harmonic> harmonics;
  double most = 1;  // a bound on |f|

  std::size_t head() const { return harmonics.size() - tail; }
  // Bits of the ring that the tail's sum is lifted into, to be added to the rest's.
  int lifted() const { return ring - (fa - tail_fa); }
  bool lifts() const { return tail > 0 && tail_ring < lifted(); }
  int angle_bits() const { return k <= 16 ? 16 : 32; }  // of the words that phases are kept in, k bits at their top
};

// One value and the operation that makes it. Which of the attributes mean anything depends on `kind`.
struct Node {
  Stage stage;
  Sharing sharing;
  int scale;
  Shape shape;  // of one instance
  Kind kind;
  std::vector<std::size_t> inputs;
  std::size_t line;  // in the program's text
  bool reduced;      // depends on a sum over examples
  int ring;          // its shares add up mod 2^ring

  std::string name;               // inputs
  Key seed{};                     // public
  int bits = 0;                   // public
  std::vector<i64> numbers;       // table
  int bytes = 0;                  // constant: of each number in its file
  Hash hash{};                    // constant: SHA-256 of those bytes
  i64 by = 0;                     // scale
  std::size_t axis = 0;           // sum, concat, slice: counted from the right, 1 is the last
  std::size_t lo = 0, hi = 0;     // slice
  std::size_t rows = 0;           // window
  std::vector<std::size_t> axes;  // permute
  int shift = 0;                  // trunc, cos_sin, fourier
  bool opened = false;            // trunc: by an opening, in two rounds
  std::size_t fit = 0;            // fourier, cos_sin
  Fit precision;                  // cos_sin: k, fc, fa, and its sum's ring
  u64 group = 0;                  // lift, trunc, reshare, cos_sin, fourier
};

// What is opened of a value: all of it in its ring, and nothing that stands above; or its sum with noise.
struct Output {
  std::string name;
  std::size_t value;
  std::optional<std::size_t> max_candidates;  // of one step
  // Instances of the value that are opened in all since the weights arrived: one per candidate, or pair.
  std::optional<std::size_t> max_opened;
  // Standard deviation of the discrete Gaussian that each party adds to every number, in units of the ring.
  std::optional<u64> noise;
  std::optional<std::size_t> keep;  // a `kept` value: nothing is opened, it becomes what that one holds
  // Data owners besides whoever asks whose examples must be in the sum that is opened. Without it, the value is opened
  // of a data owner's own examples, to that owner.
  std::optional<std::size_t> min_owners;
};

struct Program {
  std::vector<Node> values;
  std::vector<Fit> fits;  // those of the text, then the precisions of cos_sin
  std::vector<Output> outputs;

  // Whether an output is a sum over several data owners' examples.
  bool sums_owners() const;
  // Ring elements of all inputs of a kind, for one instance.
  std::size_t words(Kind input) const;
  // The last place at which a step may begin. Of an output that is kept: 1, behind what is kept. Else the last row: its
  // windows and what it appends end inside what they are taken of; 0 where there are none.
  std::size_t last_place(const Output& output) const;
  // Bytes of `count` instances of all inputs of a kind, as clients send them: one input after another, each packed to
  // its ring (ring/packing.h) and ending with a whole byte.
  std::size_t packed_bytes(Kind input, std::size_t count) const;
};

// The first line of a program.
constexpr const char* kFirstLine = "secfwt-program 4";

// Throws ProgramError.
Program parse_program(const std::string& text);

// The checks that are about meaning: shape, sharing, scale and stage of a value follow from its inputs and attributes;
// groups are independent; a state is read by one `append`, in steps of one candidate; a kept value is made by one
// output and read in steps alone; what is opened of several owners' examples is a sum over them. Called by
// parse_program for each value in turn and once at the end. derive_ring before: where no key says the ring, it follows
// from the inputs'.
void derive_ring(const Program& before, Node& node);
void check_value(const Program& before, const Node& node);
void check_groups(const Program& program);
void check_states(const Program& program);
void check_kept(const Program& program);
void check_owners(const Program& program);

}  // namespace secfwt
