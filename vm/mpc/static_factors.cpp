#include "mpc/static_factors.h"

#include <map>
#include <vector>

#include "mpc/local_ops.h"

namespace secfwt {
namespace {

// Of a replicated factor the sum of its components is kept, which is all that a product with another replicated value
// needs; one with a public value needs both.
bool reads_packed(const Program& program, const Node& node, std::size_t factor) {
  if (node.kind != Kind::matmul || node.inputs[1] != factor || node.inputs[0] == factor) return false;
  return program.values[factor].sharing == Sharing::pub || program.values[node.inputs[0]].sharing == Sharing::rep;
}

}  // namespace

void pack_factors(const Program& program, Environment& setup) {
  std::map<const u64*, int> holders;  // a reshaped value shares the memory of the one it was made from
  for (const Value& value : setup)
    if (value.x[0]) ++holders[value.x[0].get()];

  std::vector<bool> read(setup.size()), otherwise(setup.size());
  for (const Output& output : program.outputs) otherwise[output.value] = true;
  for (const Node& node : program.values) {
    if (node.stage == Stage::setup) continue;  // has been computed
    for (std::size_t input : node.inputs) (reads_packed(program, node, input) ? read : otherwise)[input] = true;
  }
  for (std::size_t i = 0; i < setup.size(); ++i) {
    Value& value = setup[i];
    if (value.x[0] && value.shape.size() >= 2 && read[i] && !otherwise[i] && holders[value.x[0].get()] == 1)
      pack_factor(value);
  }
}

}  // namespace secfwt
