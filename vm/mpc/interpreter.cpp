#include "mpc/interpreter.h"

#include "mpc/fourier.h"
#include "mpc/local_ops.h"
#include "mpc/reshare.h"
#include "mpc/truncate.h"
#include "mpc/truncate_opened.h"
#include "mpc/tuples.h"

namespace secfwt {
namespace {

// Element j: the j-th little-endian int16 of the stream, shifted down to `bits` bits.
Value public_value(const Node& node) {
  Value out = make_value(Sharing::pub, 1, 1, node.shape);
  std::vector<std::int16_t> raw(out.words());
  expand(node.seed, 0, raw.data(), raw.size() * sizeof(raw[0]));
  for (std::size_t i = 0; i < raw.size(); ++i) out.x[0][i] = static_cast<u64>(i64{raw[i]} >> (16 - node.bits));
  return out;
}

Value table_value(const Node& node) {
  Value out = make_value(Sharing::pub, 1, 1, node.shape);
  for (std::size_t i = 0; i < node.numbers.size(); ++i) out.x[0][i] = static_cast<u64>(node.numbers[i]);
  return out;
}

Value run_local(const Node& node, const Environment& values, int id, std::size_t at) {
  const auto in = [&](std::size_t i) -> const Value& { return values[node.inputs[i]]; };
  switch (node.kind) {
    case Kind::public_:
      return public_value(node);
    case Kind::table:
      return table_value(node);
    case Kind::matmul:
      return matmul(in(0), in(1), id, node.ring);
    case Kind::mul:
      return mul(in(0), in(1));
    case Kind::add:
      return add(in(0), in(1), false, id);
    case Kind::sub:
      return add(in(0), in(1), true, id);
    case Kind::scale:
      return scale(in(0), static_cast<u64>(node.by));
    case Kind::sum:
      return sum(in(0), node.axis);
    case Kind::reshape:
      return reshape(in(0), node.shape);
    case Kind::permute:
      return permute(in(0), node.axes);
    case Kind::slice:
      return slice(in(0), node.axis, node.lo, node.hi);
    case Kind::window:
      return slice(in(0), in(0).shape.size(), at, at + node.rows);
    case Kind::append:
      return append(in(0), in(1), at);
    case Kind::concat: {
      std::vector<Value> inputs;
      for (std::size_t i : node.inputs) inputs.push_back(values[i]);
      return concat(inputs, node.axis, id);
    }
    default:
      throw std::logic_error(std::string(name(node.kind)) + " is not a local operation");
  }
}

// Appends the tasks that compute `out` from `in`: thirds with the roles rotated.
void add_tasks(const Program& program, const Node& node, const Value& in, const Value& out, Party& party,
               Tasks& tasks) {
  const u64* x = in.x[0].get();  // an additive share, also of a replicated value
  const int source = program.values[node.inputs[0]].ring;
  const auto target = [&](std::size_t at) { return Target{out.x[0].get() + at, out.x[1].get() + at}; };
  const bool held = node.kind == Kind::lift || (node.kind == Kind::trunc && in.sharing == Sharing::rep);
  if (node.kind == Kind::trunc && !held && node.ring <= source - node.shift) {
    tasks.push_back(std::make_unique<Reshare>(party, x, in.words(), node.shift, node.ring, target(0)));
    return;
  }
  if (node.kind == Kind::reshare) {
    tasks.push_back(std::make_unique<Reshare>(party, x, in.words(), 0, node.ring, target(0)));
    return;
  }
  const std::size_t width = node.kind == Kind::cos_sin ? in.shape.back() : 1, items = in.words() / width;
  for (int t = 0; t < 3; ++t) {
    const Seat seat(party, t);
    const std::size_t lo = third(items, t), n = third(items, t + 1) - lo;
    if (held)
      tasks.push_back(std::make_unique<TruncateHeld>(seat, x + lo, in.x[1].get() + lo, n, source, node.shift, node.ring,
                                                     target(lo)));
    else if (node.opened)
      tasks.push_back(std::make_unique<TruncateOpened>(seat, x + lo, n, source, node.shift, node.ring, target(lo)));
    else if (node.kind == Kind::trunc)
      tasks.push_back(std::make_unique<Truncate>(seat, x + lo, n, source, node.shift, node.ring, target(lo)));
    else if (node.kind == Kind::fourier)
      tasks.push_back(make_fourier(seat, *party.pools[node.fit], x + lo, n, program.fits[node.fit], node.shift,
                                   node.ring, target(lo)));
    else
      tasks.push_back(make_cos_sin(seat, *party.pools[node.fit], x + lo * width, n, width, program.fits[node.fit],
                                   node.shift, node.ring, target(2 * lo * width)));
  }
}

}  // namespace

void run_section(const Program& program, const Section& section, Environment& values, Party& party, std::size_t at,
                 const Elsewhere& elsewhere) {
  const Ids& nodes = section.nodes;
  std::vector<std::size_t> last_use(program.values.size(), 0);
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for (std::size_t input : program.values[nodes[i]].inputs) last_use[input] = i;
  std::vector<bool> stays = section.keep;
  const auto bring = [&](const Node& node) {
    for (std::size_t input : node.inputs)
      if (elsewhere.get && values[input].empty()) {
        values[input] = elsewhere.get(input);
        stays[input] = false;
      }
  };

  for (std::size_t i = 0; i < nodes.size();) {
    const Node& first = program.values[nodes[i]];
    std::size_t end = i + 1;
    bring(first);
    if (communicates(first.kind)) {
      Tasks tasks;
      for (end = i; end < nodes.size(); ++end) {
        const Node& node = program.values[nodes[end]];
        if (!communicates(node.kind) || node.group != first.group) break;
        bring(node);
        const Value& in = values[node.inputs[0]];
        Value out = make_value(Sharing::rep, in.candidates, in.examples, node.shape);
        add_tasks(program, node, in, out, party, tasks);
        values[nodes[end]] = std::move(out);
      }
      run_tasks(tasks, party);
    } else if (first.kind == Kind::reduce_examples) {
      accumulate_examples(values[first.inputs[0]], values[nodes[i]]);
    } else {
      values[nodes[i]] = run_local(first, values, party.id, at);
    }
    for (; i < end; ++i) {
      const std::size_t made = nodes[i];
      if (elsewhere.put && stays[made]) {
        elsewhere.put(made);
        stays[made] = false;
        if (last_use[made] < end) values[made] = Value();
      }
      for (std::size_t input : program.values[made].inputs)
        if (last_use[input] < end && !stays[input]) values[input] = Value();
    }
  }
}

}  // namespace secfwt
