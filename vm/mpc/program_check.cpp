// Meaning of ring programs: what a value's shape, sharing, stage and scale must be, given its inputs.
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "mpc/program.h"
#include "mpc/program_limits.h"

namespace secfwt {
namespace {

[[noreturn]] void fail(const Node& node, const std::string& what) {
  throw ProgramError("program line " + std::to_string(node.line) + ": " + name(node.kind) + ": " + what);
}

// Inputs of a value, by position.
class Inputs {
 public:
  Inputs(const Program& program, const Node& node) : program_(program), node_(node) {}
  const Node& operator[](std::size_t i) const { return program_.values[node_.inputs[i]]; }

  void expect_number(const Operation& of) const {
    const std::size_t n = node_.inputs.size();
    if (n < of.least_inputs || n > of.most_inputs)
      fail(node_, "has " + std::to_string(n) + " inputs, must have " + std::to_string(of.least_inputs) +
                      (of.most_inputs == of.least_inputs ? "" : " or more"));
  }

 private:
  const Program& program_;
  const Node& node_;
};

Shape broadcast_or_fail(const Node& node, const Shape& a, const Shape& b) {
  const auto shape = broadcast(a, b);
  if (!shape) fail(node, "shapes " + text(a) + " and " + text(b) + " do not broadcast");
  return *shape;
}

// numpy's rule, vectors included.
Shape matmul_shape(const Node& node, Shape a, Shape b) {
  const bool row = a.size() == 1, column = b.size() == 1;
  const std::string both = text(a) + " @ " + text(b);
  if (row) a.insert(a.begin(), 1);
  if (column) b.push_back(1);
  if (a.back() != b[b.size() - 2]) fail(node, "inner dimensions of " + both + " differ");
  Shape shape = broadcast_or_fail(node, Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2));
  if (!row) shape.push_back(a[a.size() - 2]);
  if (!column) shape.push_back(b.back());
  if (shape.empty()) shape.push_back(1);
  return shape;
}

void check_axis(const Node& node, const Shape& shape) {
  if (node.axis > shape.size())
    fail(node, "axis is -" + std::to_string(node.axis) + ", the input's shape is " + text(shape));
}

Shape expected_shape(const Node& node, const Inputs& in) {
  switch (node.kind) {
    case Kind::matmul:
      return matmul_shape(node, in[0].shape, in[1].shape);
    case Kind::mul:
    case Kind::add:
    case Kind::sub:
      return broadcast_or_fail(node, in[0].shape, in[1].shape);
    case Kind::sum: {
      Shape shape = in[0].shape;
      check_axis(node, shape);
      shape[shape.size() - node.axis] = 1;
      return shape;
    }
    case Kind::reshape:
      if (volume(node.shape) != volume(in[0].shape))
        fail(node, text(in[0].shape) + " cannot become " + text(node.shape) + ": the numbers of elements differ");
      return node.shape;
    case Kind::permute: {
      if (std::set<std::size_t>(node.axes.begin(), node.axes.end()).size() != in[0].shape.size() ||
          node.axes.size() != in[0].shape.size())
        fail(node, "axes must name each of the " + std::to_string(in[0].shape.size()) + " axes of " +
                       text(in[0].shape) + " once, from 0");
      Shape shape;
      for (std::size_t axis : node.axes) {
        if (axis >= in[0].shape.size()) fail(node, "axis " + std::to_string(axis) + " is not in " + text(in[0].shape));
        shape.push_back(in[0].shape[axis]);
      }
      return shape;
    }
    case Kind::concat: {
      Shape shape = in[0].shape;
      check_axis(node, shape);
      const std::size_t axis = shape.size() - node.axis;
      for (std::size_t i = 1; i < node.inputs.size(); ++i) {
        Shape other = in[i].shape;
        const std::size_t added = other.size() == shape.size() ? std::exchange(other[axis], shape[axis]) : 0;
        if (other != shape)
          fail(node, "shapes " + text(in[0].shape) + " and " + text(in[i].shape) + " must agree but for axis -" +
                         std::to_string(node.axis));
        shape[axis] += added;
      }
      return shape;
    }
    case Kind::slice: {
      Shape shape = in[0].shape;
      check_axis(node, shape);
      std::size_t& dim = shape[shape.size() - node.axis];
      if (node.lo >= node.hi || node.hi > dim)
        fail(node, "lo=" + std::to_string(node.lo) + " hi=" + std::to_string(node.hi) +
                       " must satisfy 0 <= lo < hi <= " + std::to_string(dim));
      dim = node.hi - node.lo;
      return shape;
    }
    case Kind::window: {
      Shape shape = in[0].shape;
      if (node.rows > shape[0])
        fail(node, "rows=" + std::to_string(node.rows) + " must be at most " + std::to_string(shape[0]));
      shape[0] = node.rows;
      return shape;
    }
    case Kind::append: {
      Shape rows = in[1].shape;
      const bool fits = rows[0] <= in[0].shape[0];
      rows[0] = in[0].shape[0];
      if (!fits || rows != in[0].shape)
        fail(node, "shape " + text(in[1].shape) + " holds no rows of " + text(in[0].shape));
      return in[0].shape;
    }
    case Kind::cos_sin: {
      Shape shape = in[0].shape;
      shape.back() *= 2;
      return shape;
    }
    default:
      return node.inputs.empty() ? node.shape : in[0].shape;
  }
}

Stage expected_stage(const Node& node, const Inputs& in) {
  switch (node.kind) {
    case Kind::weight:
    case Kind::public_:
    case Kind::table:
    case Kind::constant:
    case Kind::kept:
      return Stage::setup;
    case Kind::example:
    case Kind::state:
      return Stage::example;
    case Kind::candidate:
      return Stage::candidate;
    case Kind::window:
      if (in[0].stage != Stage::setup)
        fail(node, std::string("its input has stage ") + name(in[0].stage) + ", must have stage setup");
      return Stage::candidate;
    case Kind::append:
      if ((static_cast<int>(in[1].stage) & static_cast<int>(Stage::candidate)) == 0)
        fail(node, std::string("its rows have stage ") + name(in[1].stage) + ", must have stage candidate or pair");
      return Stage::pair;
    case Kind::reduce_examples:
      if (in[0].stage != Stage::pair)
        fail(node, std::string("its input has stage ") + name(in[0].stage) + ", must have stage pair");
      return Stage::candidate;
    default: {
      int stage = 0;
      for (std::size_t i = 0; i < node.inputs.size(); ++i) stage |= static_cast<int>(in[i].stage);
      return static_cast<Stage>(stage);
    }
  }
}

Sharing expected_sharing(const Node& node, const Inputs& in) {
  const auto any = [&](Sharing s) {
    for (std::size_t i = 0; i < node.inputs.size(); ++i)
      if (in[i].sharing == s) return true;
    return false;
  };
  switch (node.kind) {
    case Kind::weight:
    case Kind::example:
    case Kind::candidate:
    case Kind::state:
    case Kind::kept:
      return Sharing::rep;
    case Kind::public_:
    case Kind::table:
    case Kind::constant:
      return Sharing::pub;
    case Kind::matmul:
    case Kind::mul:
      if (in[0].sharing == Sharing::pub) return in[1].sharing;
      if (in[1].sharing == Sharing::pub) return in[0].sharing;
      if (any(Sharing::add)) fail(node, "an additive input can be multiplied with a public one only: reshare it first");
      return Sharing::add;
    case Kind::add:
    case Kind::sub:
    case Kind::concat:
      return any(Sharing::add) ? Sharing::add : any(Sharing::rep) ? Sharing::rep : Sharing::pub;
    case Kind::append:
      if (in[0].kind != Kind::state)
        fail(node, std::string("its first input is a ") + name(in[0].kind) + ", must be a state");
      if (in[1].sharing != Sharing::rep)
        fail(node, std::string("the sharing of its rows is ") + name(in[1].sharing) + ", must be rep");
      return Sharing::rep;
    case Kind::reshare:
      if (in[0].sharing != Sharing::add)
        fail(node, std::string("its input's sharing is ") + name(in[0].sharing) + ", must be add");
      return Sharing::rep;
    case Kind::lift:
      if (in[0].sharing != Sharing::rep)
        fail(node, std::string("its input's sharing is ") + name(in[0].sharing) + ", must be rep");
      return Sharing::rep;
    case Kind::trunc:
    case Kind::cos_sin:
    case Kind::fourier:
      if (in[0].sharing == Sharing::pub) fail(node, "its input is public, must be shared (rep or add)");
      return Sharing::rep;
    default:
      return in[0].sharing;
  }
}

void check_scale(const Program& before, const Node& node, const Inputs& in) {
  const auto expect = [&](int scale) {
    if (node.scale != scale)
      fail(node, "scale is " + std::to_string(node.scale) + ", " + std::to_string(scale) + " expected");
  };
  const auto expect_phase = [&] {
    if (in[0].scale != kPhaseScale)
      fail(node, "its input is a phase and must have scale " + std::to_string(kPhaseScale) + ", not " +
                     std::to_string(in[0].scale));
  };
  switch (node.kind) {
    case Kind::add:
    case Kind::sub:
    case Kind::append:
    case Kind::concat:
      for (std::size_t i = 1; i < node.inputs.size(); ++i)
        if (in[i].scale != in[0].scale)
          fail(node, "its inputs' scales " + std::to_string(in[0].scale) + " and " + std::to_string(in[i].scale) +
                         " must be equal");
      return expect(in[0].scale);
    case Kind::lift:
      return expect(in[0].scale);
    case Kind::cos_sin:
      expect_phase();
      return expect(node.precision.fc + node.precision.fa - node.shift);
    case Kind::fourier:
      expect_phase();
      return expect(before.fits[node.fit].fc + before.fits[node.fit].fa - node.shift);
    default:
      return;  // a scale may be reinterpreted: multiplying by 2^-n is free
  }
}

// Bits that shares of a value are right in.
int derived_ring(const Node& node, const Inputs& in) {
  if (node.inputs.empty()) return kWord;
  int ring = in[0].ring;
  for (std::size_t i = 1; i < node.inputs.size(); ++i) ring = std::min(ring, in[i].ring);
  if (node.kind != Kind::scale) return ring;
  // a multiple of 2^n is right in n bits more
  return node.by == 0 ? kWord : std::min(kWord, ring + __builtin_ctzll(static_cast<u64>(node.by)));
}

// The sum of a series whose wrap is taken away must stay below 2^(ring-2), and so must one in Z_2^64, which a
// truncation may follow: another number would come out in silence.
void check_series(const Node& node, const Fit& fit) {
  if (node.ring <= fit.ring - node.shift && node.ring < kWord) return;
  const double bits = std::log2(fit.most) + fit.fc + fit.fa;
  if (bits >= fit.ring - 2)
    fail(node, "|f|·2^(fc+fa) reaches 2^" + std::to_string(bits) + ", must be below 2^" + std::to_string(fit.ring - 2) +
                   " for a sum in a ring of " + std::to_string(fit.ring) + " bits");
}

// `rounds=2` of a truncation stands for what would take three, and its roundings need room.
void check_opened(const Node& node, const Node& input) {
  if (!node.opened) return;
  const int kept = input.ring - node.shift;
  if (input.sharing != Sharing::add)
    fail(node, std::string("rounds=2 is for an additive input, its sharing is ") + name(input.sharing));
  if (node.ring <= kept || kept < 3)
    fail(node, "rounds=2 is for a shift that leaves 3 to " + std::to_string(node.ring - 1) +
                   " bits of its input's ring, not " + std::to_string(kept));
}

void check_ring(const Program& before, const Node& node, const Inputs& in) {
  const auto bits = [](int ring) { return std::to_string(ring) + " bits"; };
  switch (node.kind) {
    case Kind::lift:
      if (node.ring <= in[0].ring)
        fail(node, "ring is " + std::to_string(node.ring) + ", must be larger than its input's, which has " +
                       bits(in[0].ring));
      return;
    case Kind::trunc:
      if (node.shift > in[0].ring - 2)
        fail(node, "shift is " + std::to_string(node.shift) + ", its input's ring has " + bits(in[0].ring));
      return check_opened(node, in[0]);
    case Kind::reshare:
      if (node.ring > in[0].ring)
        fail(node, "ring is " + std::to_string(node.ring) + ", its input's has " + bits(in[0].ring));
      return;
    case Kind::cos_sin:
    case Kind::fourier: {
      const Fit& fit = node.kind == Kind::fourier ? before.fits[node.fit] : node.precision;
      if (in[0].ring != kWord)
        fail(node, "its input is a phase and must have a ring of " + bits(kWord) + ", not " + bits(in[0].ring));
      if (node.shift > fit.ring - 2)
        fail(node, "shift is " + std::to_string(node.shift) + ", its sum's ring has " + bits(fit.ring));
      return check_series(node, fit);
    }
    default:
      return;
  }
}

}  // namespace

void derive_ring(const Program& before, Node& node) { node.ring = derived_ring(node, Inputs(before, node)); }

void check_value(const Program& before, const Node& node) {
  const Inputs in(before, node);
  in.expect_number(operation(node.kind));
  const Shape shape = expected_shape(node, in);
  if (shape != node.shape) fail(node, "shape is " + text(node.shape) + ", " + text(shape) + " expected");
  const Sharing sharing = expected_sharing(node, in);
  if (sharing != node.sharing)
    fail(node, std::string("sharing is ") + name(node.sharing) + ", " + name(sharing) + " expected");
  const Stage stage = expected_stage(node, in);
  if (stage != node.stage) fail(node, std::string("stage is ") + name(node.stage) + ", " + name(stage) + " expected");
  check_scale(before, node, in);
  check_ring(before, node, in);
  // The engine runs all pairs once, then what follows the sums over examples.
  if (node.stage == Stage::pair && node.reduced)
    fail(node, "an input depends on reduce_examples: a sum over examples cannot be paired with examples again");
}

void check_groups(const Program& program) {
  std::set<u64> closed;
  for (std::size_t i = 0; i < program.values.size(); ++i) {
    const Node& node = program.values[i];
    if (!communicates(node.kind)) continue;
    std::size_t first = i;
    while (first > 0 && communicates(program.values[first - 1].kind) && program.values[first - 1].group == node.group)
      --first;
    if (first == i && !closed.insert(node.group).second)
      fail(node, "group " + std::to_string(node.group) +
                     " was used before: operations of a group must stand next to each other");
    for (std::size_t input : node.inputs)
      if (input >= first)
        fail(node, "depends on value " + std::to_string(input) + " of its own group " + std::to_string(node.group));
  }
}

// What a state holds was written by one operation, so that its ring is that one's, and by one candidate.
void check_states(const Program& program) {
  std::vector<bool> written(program.values.size()), appends(program.values.size());
  for (std::size_t i = 0; i < program.values.size(); ++i) {
    const Node& node = program.values[i];
    appends[i] = node.kind == Kind::append;
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      const std::size_t input = node.inputs[k];
      appends[i] = appends[i] || appends[input];
      if (program.values[input].kind != Kind::state) continue;
      if (node.kind != Kind::append || k != 0) fail(node, "reads a state, which only append may");
      if (written[input]) fail(node, "its state has another append");
      written[input] = true;
    }
  }
  for (const Output& output : program.outputs)
    if (appends[output.value] && output.max_candidates != std::size_t{1})
      fail(program.values[output.value],
           "output '" + output.name + "' depends on append: it must have max_candidates=1");
}

// What is kept was made by one output, for one candidate, and is what the kept value says it is. Values that are
// computed when weights or examples arrive must not depend on it: it changes later.
void check_kept(const Program& program) {
  std::vector<std::size_t> makers(program.values.size());
  for (const Output& output : program.outputs) {
    if (!output.keep) continue;
    const Node &made = program.values[output.value], &kept = program.values[*output.keep];
    if (kept.kind != Kind::kept) fail(kept, std::string("an output is to be kept in a ") + name(kept.kind));
    if (made.stage != Stage::candidate || made.sharing != Sharing::rep || made.shape != kept.shape ||
        made.scale != kept.scale || made.ring != kept.ring)
      fail(made, "is to be kept in value " + std::to_string(*output.keep) +
                     ": it must be a rep of stage candidate with the same shape, scale and ring");
    if (output.max_candidates != std::size_t{1} || output.max_opened)
      fail(made, "output '" + output.name + "' is kept: it must have max_candidates=1, and no max_opened");
    if (output.noise) fail(made, "output '" + output.name + "' is kept: it must have no noise, as nothing is opened");
    ++makers[*output.keep];
  }
  for (std::size_t i = 0; i < program.values.size(); ++i) {
    const Node& node = program.values[i];
    if (node.kind == Kind::kept && makers[i] != 1)
      fail(node, "is made by " + std::to_string(makers[i]) + " outputs, must be made by one");
    for (std::size_t input : node.inputs)
      if (program.values[input].kind == Kind::kept &&
          !(static_cast<int>(node.stage) & static_cast<int>(Stage::candidate)))
        fail(node, std::string("reads a kept value in stage ") + name(node.stage) + ", must be candidate or pair");
  }
}

// Whatever else one owner's step left behind would reach what another's opens.
void check_owners(const Program& program) {
  bool several = false;
  for (const Output& output : program.outputs) {
    if (!output.min_owners) continue;
    several = true;
    const Node& node = program.values[output.value];
    if (!node.reduced || node.stage != Stage::candidate)
      fail(node, "output '" + output.name + "' has min_owners: it must be a sum over examples, one per candidate");
  }
  for (const Node& node : program.values)
    if (several && (node.kind == Kind::kept || node.kind == Kind::state))
      fail(node, std::string("a ") + name(node.kind) + " is kept from step to step, in a program with min_owners");
}

}  // namespace secfwt
