#include "mpc/engine.h"

#include <algorithm>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "mpc/footprint.h"
#include "mpc/local_ops.h"
#include "mpc/reshare.h"
#include "mpc/static_factors.h"
#include "mpc/tiles.h"
#include "ring/packing.h"

namespace secfwt {
namespace {

// Values of a tile's largest size that the example stage may hold at one time: more examples only make it longer.
constexpr u64 kLiveValues = 4;

// A copy that keeps no larger buffer alive.
Value compact(const Value& value) {
  Value out = make_value(value.sharing, value.candidates, value.examples, value.shape);
  for (int p = 0; p < value.parts(); ++p) std::copy_n(value.x[p].get(), value.words(), out.x[p].get());
  return out;
}

Value zero_value(Sharing sharing, std::size_t candidates, std::size_t examples, const Shape& shape) {
  Value out = make_value(sharing, candidates, examples, shape);
  for (int p = 0; p < out.parts(); ++p) std::fill_n(out.x[p].get(), out.words(), 0);
  return out;
}

std::vector<TuplePool*> all_pools(const Lanes& lanes) {
  std::vector<TuplePool*> pools;
  for (const Party& lane : lanes)
    for (const auto& pool : lane.pools) pools.push_back(pool.get());
  return pools;
}

// Additive share of a value at party `id`.
const u64* additive(const Value& value, int id, const u64* zeros) {
  return value.sharing == Sharing::pub && id != 0 ? zeros : value.x[0].get();
}

void check_length(const Program& program, Kind kind, std::size_t instances, std::size_t words, const char* what) {
  if (words != instances * program.words(kind))
    throw std::invalid_argument(std::string(what) + ": shares have " + std::to_string(words) +
                                " ring elements, the program needs " + std::to_string(instances * program.words(kind)) +
                                " for " + std::to_string(instances) + " × its " + name(kind) + " inputs");
}

// A component of the weights, read from its first word to its last. What has been read is let go.
class Component {
 public:
  Component(Words words, const std::optional<Key>& seed) : words_(std::move(words)), seed_(seed) {}

  void read(u64* out, std::size_t n) {
    if (seed_) {
      expand_words(*seed_, next_, n, out);
    } else {
      std::copy_n(words_.data() + next_, n, out);
      discard_pages(words_.data() + next_, n * sizeof(u64));
    }
    next_ += n;
  }

 private:
  Words words_;
  std::optional<Key> seed_;
  std::size_t next_ = 0;
};

}  // namespace

Engine::Engine(Program program, Lanes& lanes, std::size_t tile_words, u64 ahead, PublicWeights constants,
               bool background)
    : program_(std::move(program)),
      constants_(std::move(constants)),
      lanes_(lanes),
      main_(lanes.at(0)),
      tile_words_(std::max<std::size_t>(tile_words / lanes.size(), 1)),
      dealer_(all_pools(lanes), ahead, background) {
  Ids roots;
  for (const Output& output : program_.outputs) roots.push_back(output.value);
  const std::vector<bool> all = needed(roots);
  setup_section_ = section(all, [](const Node& node) { return node.stage == Stage::setup; });
  example_section_ = section(all, [](const Node& node) { return node.stage == Stage::example; });
  for (std::size_t i : example_section_.nodes)
    example_tile_words_ = std::max(example_tile_words_, volume(program_.values[i].shape));
  const Section passing{example_section_.nodes, std::vector<bool>(program_.values.size(), false)};
  example_tile_words_ = std::max<std::size_t>(example_tile_words_, peak_words(program_, passing) / kLiveValues);
  for (const Output& output : program_.outputs) steps_.push_back(steps(output));
}

std::vector<bool> Engine::needed(const Ids& roots) const {
  std::vector<bool> out(program_.values.size());
  for (std::size_t root : roots) out[root] = true;
  for (std::size_t i = out.size(); i-- > 0;)
    if (out[i])
      for (std::size_t input : program_.values[i].inputs) out[input] = true;
  return out;
}

Section Engine::section(const std::vector<bool>& needed, const std::function<bool(const Node&)>& belongs) const {
  Section out;
  out.keep.assign(program_.values.size(), false);
  for (std::size_t i = 0; i < program_.values.size(); ++i) {
    if (!needed[i]) continue;
    const Node& node = program_.values[i];
    const bool inside = belongs(node);
    const bool made = !is_input(node.kind) || node.kind == Kind::public_ || node.kind == Kind::table;
    if (inside && made) out.nodes.push_back(i);
    for (std::size_t input : node.inputs)
      if (!inside) out.keep[input] = true;
  }
  for (const Output& output : program_.outputs) out.keep[output.value] = true;
  return out;
}

Engine::Steps Engine::steps(const Output& output) const {
  const std::vector<bool> all = needed({output.value});
  Steps out;
  const auto in_pairs = [](const Node& node) {
    return node.stage == Stage::pair || node.kind == Kind::reduce_examples;
  };
  out.before = section(all, [](const Node& node) { return node.stage == Stage::candidate && !node.reduced; });
  out.pairs = section(all, in_pairs);
  out.after =
      section(all, [&](const Node& node) { return node.stage == Stage::candidate && node.reduced && !in_pairs(node); });
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i] && program_.values[i].kind == Kind::kept) out.kept.push_back(i);
  out.pair_words = 1;
  for (std::size_t i : out.pairs.nodes) out.pair_words = std::max(out.pair_words, volume(program_.values[i].shape));
  return out;
}

// Views of the inputs of a kind; each is [candidates, examples, shape], one after another.
void Engine::bind_inputs(Kind kind, std::size_t candidates, std::size_t examples, Shares shares, const char* what,
                         Environment& values) const {
  for (const Words* x : {&shares.x0, &shares.x1}) check_length(program_, kind, candidates * examples, x->size(), what);
  const auto owner = std::make_shared<Shares>(std::move(shares));
  std::size_t at = 0;
  for (std::size_t i = 0; i < program_.values.size(); ++i) {
    const Node& node = program_.values[i];
    if (node.kind != kind) continue;
    Value value;
    value.sharing = Sharing::rep;
    value.candidates = candidates;
    value.examples = examples;
    value.shape = node.shape;
    value.x[0] = Buffer(owner, owner->x0.data() + at);
    value.x[1] = Buffer(owner, owner->x1.data() + at);
    at += value.words();
    values[i] = std::move(value);
  }
}

// One weight after another: those that products alone read are packed, and never there as words all at once.
void Engine::bind_weights(Shares shares, Environment& values) const {
  for (const auto& [x, seed] : {std::tie(shares.x0, shares.seed0), std::tie(shares.x1, shares.seed1)})
    if (!seed) check_length(program_, Kind::weight, 1, x.size(), "weights");
  Component x0(std::move(shares.x0), shares.seed0), x1(std::move(shares.x1), shares.seed1);
  const std::vector<int> rings = packed_rings(program_);
  for (std::size_t i = 0; i < program_.values.size(); ++i) {
    const Node& node = program_.values[i];
    if (node.kind != Kind::weight && node.kind != Kind::constant) continue;
    values[i] = make_value(node.sharing, 1, 1, node.shape);
    if (node.kind == Kind::constant) {
      constants_.read(program_, i, values[i].x[0].get());
    } else {
      x0.read(values[i].x[0].get(), values[i].words());
      x1.read(values[i].x[1].get(), values[i].words());
    }
    if (rings[i] > 0) pack_factor(values[i], main_.id, rings[i]);
  }
}

void Engine::set_weights(Shares weights) {
  loaded_ = false;
  examples_.clear();
  setup_.clear();  // before the new ones take as much again
  Environment values(program_.values.size());
  bind_weights(std::move(weights), values);
  run_section(program_, setup_section_, values, main_);
  const std::vector<int> rings = packed_rings(program_);
  for (std::size_t i : setup_section_.nodes)
    if (!values[i].empty() && rings[i] > 0) pack_factor(values[i], main_.id, rings[i]);
  setup_ = std::move(values);
  parts_.assign(program_.values.size(), 0);
  loaded_ = true;
  trim_memory();
}

std::size_t Engine::example_count(u64 id) const { return examples_.at(id).count(); }

std::string Engine::refusal(std::size_t output, std::size_t at) const {
  const Output& wanted = program_.outputs.at(output);
  if (const std::size_t last = program_.last_place(wanted); at > last)
    return "a step cannot begin at place " + std::to_string(at) + "; the last one is " + std::to_string(last);
  for (std::size_t i : steps_[output].kept)
    if (setup_[i].empty())
      return "output " + wanted.name + " reads " + program_.values[i].name +
             ", which no step has made yet: ask for the output that is kept as it first";
  // a sum of any number of parts would not be as small as the program takes it to be
  if (wanted.keep && at > 0 && parts_[*wanted.keep] != at)
    return "output " + wanted.name + " is added to one part, and there are " + std::to_string(parts_[*wanted.keep]);
  return {};
}

// Public weights, and shares that are kept from step to step.
u64 Engine::held_setup_words() const { return program_.words(Kind::constant) + 2 * program_.words(Kind::kept); }

// Weights are packed one after another, and what has been read of the component that came is let go.
u64 Engine::setup_words() const {
  const std::vector<int> rings = packed_rings(program_);
  u64 came = program_.words(Kind::weight), kept = held_setup_words(), most = came + kept;
  for (std::size_t i = 0; i < program_.values.size(); ++i) {
    const Node& node = program_.values[i];
    if (node.kind != Kind::weight) continue;
    most = std::max(most, came + kept + instance_words(node) + static_words(node, rings[i], main_.id));
    kept += static_words(node, rings[i], main_.id);
    came -= volume(node.shape);
  }
  return std::max(most, kept + peak_words(program_, setup_section_));
}

u64 Engine::kept_setup_words() const {
  const std::vector<int> rings = packed_rings(program_);
  u64 kept = held_setup_words();
  for (std::size_t i = 0; i < program_.values.size(); ++i) {
    const Node& node = program_.values[i];
    if (node.stage != Stage::setup || node.kind == Kind::constant || node.kind == Kind::kept) continue;
    if (node.kind == Kind::weight || setup_section_.keep[i]) kept += static_words(node, rings[i], main_.id);
  }
  return kept;
}

u64 Engine::example_words() const {
  // as they came, and what is kept
  return 4 * program_.words(Kind::example) + kept_words(program_, example_section_) + state_words();
}

u64 Engine::held_words(std::optional<u64> replaced) const {
  u64 words = 0;
  for (const auto& [id, set] : examples_)
    if (id != replaced) words += held_words_of(id);
  return words;
}

u64 Engine::held_words_of(u64 id) const {
  const u64 each = 2 * program_.words(Kind::example) + kept_words(program_, example_section_) + state_words();
  return example_count(id) * each;
}

u64 Engine::candidate_words(std::size_t output, std::size_t examples) const {
  const Steps& steps = steps_[output];
  u64 words = 2 * program_.words(Kind::candidate) + peak_words(program_, steps.before);
  for (std::size_t i : steps.pairs.nodes)  // sums over examples, of every lane and of all
    if (program_.values[i].kind == Kind::reduce_examples)
      words += (lanes_.size() + 1) * instance_words(program_.values[i]);
  const Node& opened = program_.values[program_.outputs[output].value];
  return words + peak_words(program_, steps.after) +
         (program_.outputs[output].noise ? 3 : 2) * volume(opened.shape) * (opened.stage == Stage::pair ? examples : 1);
}

void Engine::set_examples(u64 id, std::size_t count, Shares examples, const Progress& progress) {
  if (!loaded_) throw std::invalid_argument("examples: the weights must be loaded first");
  if (count == 0) throw std::invalid_argument("examples: a set must have at least 1 example");
  Environment inputs(program_.values.size());
  bind_inputs(Kind::example, 1, count, std::move(examples), "examples", inputs);
  forget_examples(id);

  const Ranges tiles(count, tile_items(count, example_tile_words_));
  ExampleSet set(program_, example_section_.keep, count);
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (!inputs[i].empty() && set.has(i)) set.put(i, inputs[i], 0);
  Counted counted(progress, tiles.count());
  in_lanes(lanes_, tiles.count(), [&](std::size_t lane, std::size_t t) {
    const std::size_t e0 = tiles.begin(t), e1 = tiles.end(t);
    Environment values = setup_;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (!inputs[i].empty()) values[i] = inputs[i].slice(0, 1, e0, e1);
    run_section(program_, example_section_, values, lanes_[lane], 0,
                {[&](std::size_t i) { set.put(i, values[i], e0); }, {}});
    counted.one_done();
  });
  examples_.insert_or_assign(id, std::move(set));
  trim_memory();  // steps need other sizes
}

void Engine::forget_examples(u64 id) {
  examples_.erase(id);
  trim_memory();
}

// Empty where the output needs no examples and there are none.
SideBySide Engine::side_by_side(const std::vector<u64>& ids, std::size_t output) const {
  const Output& wanted = program_.outputs[output];
  const Stage stage = program_.values[wanted.value].stage;
  std::vector<const ExampleSet*> sets;
  for (const u64 id : ids) {
    const auto found = examples_.find(id);
    if (found != examples_.end())
      sets.push_back(&found->second);
    else if (stage == Stage::example || !steps_[output].pairs.nodes.empty())
      throw std::invalid_argument("step: there is no example set " + std::to_string(id));
  }
  const bool states = std::any_of(program_.values.begin(), program_.values.end(),
                                  [](const Node& node) { return node.kind == Kind::state; });
  if (sets.size() > 1 && (stage != Stage::candidate || wanted.keep || states))
    throw std::invalid_argument("step: output '" + wanted.name + "' is of one set of examples, not of " +
                                std::to_string(sets.size()));
  return SideBySide(std::move(sets));
}

Words Engine::step(const std::vector<u64>& ids, std::size_t candidates, std::size_t output, Shares inputs,
                   const Progress& progress, std::size_t at) {
  if (!loaded_) throw std::invalid_argument("step: the weights must be loaded first");
  if (output >= program_.outputs.size())
    throw std::invalid_argument("step: output " + std::to_string(output) + " asked for, the program has " +
                                std::to_string(program_.outputs.size()));
  const Output& wanted = program_.outputs[output];
  const bool opens_examples = program_.values[wanted.value].stage == Stage::example;
  if (candidates == 0 && !opens_examples) throw std::invalid_argument("step: at least 1 candidate is needed");
  if (candidates > wanted.max_candidates.value_or(candidates))
    throw std::invalid_argument("step: " + std::to_string(candidates) + " candidates asked for, output '" +
                                wanted.name + "' allows " + std::to_string(*wanted.max_candidates));
  if (const std::string why = refusal(output, at); !why.empty()) throw std::invalid_argument("step: " + why);
  const Steps& steps = steps_[output];
  const SideBySide set = side_by_side(ids, output);
  const std::size_t row = wanted.keep ? 0 : at;

  const Node& opened = program_.values[wanted.value];
  const std::size_t instances =
      (opens_examples ? 1 : candidates) * (opened.stage == Stage::candidate ? 1 : set.count());
  const Words noise = wanted.noise ? noise_.take(*wanted.noise, instances * volume(opened.shape)) : Words();
  Environment values = setup_;
  bind_inputs(Kind::candidate, candidates, 1, std::move(inputs), "step", values);
  dealer_.step_begins();
  run_section(program_, steps.before, values, main_, row);

  Words result;
  if (!steps.pairs.nodes.empty()) run_pairs(steps, set, candidates, wanted.value, row, progress, values, result);
  run_section(program_, steps.after, values, main_, row);
  if (wanted.keep) {
    Value& kept = setup_[*wanted.keep];
    kept = at > 0 ? add(kept, values[wanted.value], false, main_.id) : compact(values[wanted.value]);
    parts_[*wanted.keep] = at + 1;
  } else if (result.empty()) {
    const Value value = opens_examples ? set.slice(wanted.value, 0, set.count()) : values[wanted.value];
    const Words zeros(value.words());
    const u64* share = additive(value, main_.id, zeros.data());
    result.assign(share, share + value.words());
  }
  if (wanted.noise)
    for (std::size_t i = 0; i < result.size(); ++i) result[i] += noise.at(i);
  add_zero_share(main_, result.data(), result.size());
  const u64 mask = low_bits(opened.ring);
  for (u64& share : result) share &= mask;
  compare_transcripts(lanes_);
  dealer_.step_done();
  return result;
}

void Engine::run_pairs(const Steps& steps, const SideBySide& set, std::size_t candidates, std::size_t output,
                       std::size_t at, const Progress& progress, Environment& values, Words& result) {
  const std::size_t count = set.count();
  const bool opens_pairs = program_.values[output].stage == Stage::pair;
  const std::size_t words = volume(program_.values[output].shape);
  if (opens_pairs) result.resize(candidates * count * words);
  // Sums over examples, by lane.
  std::vector<Environment> totals(lanes_.size(), Environment(values.size()));
  for (Environment& total : totals)
    for (std::size_t i : steps.pairs.nodes)
      if (program_.values[i].kind == Kind::reduce_examples)
        total[i] = zero_value(program_.values[i].sharing, candidates, 1, program_.values[i].shape);

  const std::size_t most = tile_items(candidates * count, steps.pair_words);
  const Cut tiles = cut(candidates, count, most, lanes_.size());
  const Ranges &batches = tiles.candidates, &examples = tiles.examples;
  Counted counted(progress, tiles.count());
  in_lanes(lanes_, tiles.count(), [&](std::size_t lane, std::size_t t) {
    const std::size_t b = t / examples.count(), e = t % examples.count();
    const std::size_t c0 = batches.begin(b), c1 = batches.end(b), e0 = examples.begin(e), e1 = examples.end(e);
    Environment tile(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!values[i].empty()) tile[i] = values[i].slice(c0, c1, e0, e1);
      if (!totals[lane][i].empty()) tile[i] = totals[lane][i].slice(c0, c1, e0, e1);
    }
    run_section(program_, steps.pairs, tile, lanes_[lane], at,
                {{}, [&](std::size_t i) { return set.slice(i, e0, e1); }});
    if (opens_pairs) {
      const Value& value = tile[output];
      const Words zero(value.words());
      const u64* share = additive(value, main_.id, zero.data());
      for (std::size_t c = c0; c < c1; ++c, share += value.examples * words)
        std::copy_n(share, value.examples * words, result.data() + (c * count + e0) * words);
    }
    counted.one_done();
  });

  for (std::size_t i : steps.pairs.nodes)
    if (program_.values[i].kind == Kind::reduce_examples) {
      values[i] = totals[0][i];
      for (std::size_t lane = 1; lane < totals.size(); ++lane) accumulate_examples(totals[lane][i], values[i]);
    }
}

// How many of `count` instances, each with values of up to `words` words, a tile may hold: every lane gets something.
std::size_t Engine::tile_items(std::size_t count, std::size_t words) const {
  const std::size_t share = (count + lanes_.size() - 1) / lanes_.size();
  return std::max<std::size_t>(1, std::min(tile_words_ / words, share));
}

u64 Engine::bytes_sent() const {
  u64 sum = 0;
  for (const Party& lane : lanes_) sum += lane.bytes_sent();
  return sum;
}

}  // namespace secfwt
