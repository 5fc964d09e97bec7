#include "mpc/example_sets.h"

#include <algorithm>
#include <cstring>

#include "ring/packing.h"
#include "ring/parallel.h"

namespace secfwt {
namespace {

// Of one component of an example. Words stay words where they are written one by one, or fill their bits.
std::size_t kept_bytes(const Node& node) {
  const std::size_t bytes = packed_bytes(volume(node.shape), node.kind == Kind::state ? kWord : node.ring);
  return (bytes + sizeof(u64) - 1) / sizeof(u64) * sizeof(u64);
}

std::size_t grain_of(std::size_t bytes) { return std::max<std::size_t>(1, (1 << 16) / bytes); }

}  // namespace

u64 kept_words(const Node& node) { return (node.sharing == Sharing::rep ? 2 : 1) * kept_bytes(node) / sizeof(u64); }

ExampleSet::ExampleSet(const Program& program, const std::vector<bool>& keep, std::size_t count)
    : count_(count), kept_(program.values.size()) {
  u64 words = 0;
  for (std::size_t i = 0; i < kept_.size(); ++i) {
    const Node& node = program.values[i];
    if (!keep[i] || node.stage != Stage::example) continue;
    Kept& kept = kept_[i];
    kept.state = node.kind == Kind::state;
    kept.bits = kept.state ? kWord : node.ring;
    kept.form.sharing = node.sharing;
    kept.form.shape = node.shape;
    kept.bytes = kept_bytes(node);
    words += count * kept_words(node);
  }
  memory_ = allocate(words);
  u8* next = reinterpret_cast<u8*>(memory_.get());
  for (Kept& kept : kept_)
    for (int p = 0; p < kept.form.parts() && kept.bits > 0; ++p) {
      kept.x[p] = next;
      next += count * kept.bytes;
      if (kept.state) std::memset(kept.x[p], 0, count * kept.bytes);
    }
}

void ExampleSet::put(std::size_t value, const Value& part, std::size_t first) {
  const Kept& kept = kept_[value];
  const std::size_t words = part.instance();
  for (int p = 0; p < part.parts(); ++p)
    parallel_for(part.examples, grain_of(kept.bytes), [&](std::size_t lo, std::size_t hi) {
      for (std::size_t e = lo; e < hi; ++e)
        pack_bits(part.x[p].get() + e * words, words, kept.bits, kept.x[p] + (first + e) * kept.bytes);
    });
}

Value ExampleSet::room(std::size_t value, std::size_t examples) const {
  const Value& form = kept_[value].form;
  return make_value(form.sharing, 1, examples, form.shape);
}

Value ExampleSet::get(std::size_t value, std::size_t e0, std::size_t e1) const {
  const Kept& kept = kept_[value];
  if (!kept.state) {
    const Value out = room(value, e1 - e0);
    get(value, e0, e1, out, 0);
    return out;
  }
  Value out = kept.form;
  out.examples = e1 - e0;
  for (int p = 0; p < out.parts(); ++p) out.x[p] = Buffer(memory_, reinterpret_cast<u64*>(kept.x[p] + e0 * kept.bytes));
  return out;
}

void ExampleSet::get(std::size_t value, std::size_t e0, std::size_t e1, const Value& out, std::size_t first) const {
  const Kept& kept = kept_[value];
  const std::size_t words = out.instance();
  for (int p = 0; p < out.parts(); ++p)
    parallel_for(e1 - e0, grain_of(kept.bytes), [&](std::size_t lo, std::size_t hi) {
      for (std::size_t e = lo; e < hi; ++e)
        unpack_bits(kept.x[p] + (e0 + e) * kept.bytes, words, kept.bits, out.x[p].get() + (first + e) * words);
    });
}

std::size_t SideBySide::count() const {
  std::size_t n = 0;
  for (const ExampleSet* set : sets_) n += set->count();
  return n;
}

Value SideBySide::slice(std::size_t value, std::size_t e0, std::size_t e1) const {
  Value out;
  std::size_t begin = 0;  // of a set, among all examples
  for (const ExampleSet* set : sets_) {
    const std::size_t lo = std::max(e0, begin), hi = std::min(e1, begin + set->count());
    if (lo == e0 && hi == e1) return set->get(value, lo - begin, hi - begin);
    if (lo < hi) {
      if (out.empty()) out = set->room(value, e1 - e0);
      set->get(value, lo - begin, hi - begin, out, lo - e0);
    }
    begin += set->count();
  }
  return out;
}

}  // namespace secfwt
