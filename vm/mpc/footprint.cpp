#include "mpc/footprint.h"

#include <algorithm>

#include "mpc/example_sets.h"

namespace secfwt {

u64 instance_words(const Node& node) { return (node.sharing == Sharing::rep ? 2 : 1) * volume(node.shape); }

u64 peak_words(const Program& program, const Section& section) {
  const Ids& nodes = section.nodes;
  std::vector<std::size_t> last_use(program.values.size(), 0);
  std::vector<bool> made(program.values.size(), false);
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for (std::size_t input : program.values[nodes[i]].inputs) last_use[input] = i;
  u64 now = 0, peak = 0;
  for (std::size_t i = 0; i < nodes.size();) {
    const Node& first = program.values[nodes[i]];
    std::size_t end = i;  // those of a group are there together
    do {
      now += instance_words(program.values[nodes[end]]);
      made[nodes[end++]] = true;
    } while (end < nodes.size() && communicates(first.kind) && communicates(program.values[nodes[end]].kind) &&
             program.values[nodes[end]].group == first.group);
    peak = std::max(peak, now);
    for (; i < end; ++i)
      for (std::size_t input : program.values[nodes[i]].inputs)
        if (made[input] && last_use[input] < end && !section.keep[input]) {
          now -= instance_words(program.values[input]);
          made[input] = false;
        }
  }
  return peak;
}

u64 kept_words(const Program& program, const Section& section) {
  u64 words = 0;
  for (std::size_t i : section.nodes)
    if (section.keep[i]) words += kept_words(program.values[i]);
  return words;
}

}  // namespace secfwt
