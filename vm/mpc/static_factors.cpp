#include "mpc/static_factors.h"

#include <algorithm>

#include "mpc/footprint.h"
#include "mpc/replicated_product.h"

namespace secfwt {
namespace {

// Of a replicated factor sums of its components are kept, which suffice for products with other replicated values; one
// with a public value needs each by itself.
bool reads_packed(const Program& program, const Node& node, std::size_t factor) {
  if (node.kind != Kind::matmul || node.stage == Stage::setup) return false;
  if (node.inputs[1] != factor || node.inputs[0] == factor) return false;
  return program.values[factor].sharing == Sharing::pub || program.values[node.inputs[0]].sharing == Sharing::rep;
}

}  // namespace

std::vector<int> packed_rings(const Program& program) {
  std::vector<int> rings(program.values.size());
  std::vector<bool> otherwise(program.values.size());
  for (const Output& output : program.outputs) otherwise[output.value] = true;
  for (const Node& node : program.values)
    for (std::size_t input : node.inputs)
      if (reads_packed(program, node, input))
        rings[input] = std::max(rings[input], node.ring);
      else
        otherwise[input] = true;
  for (std::size_t i = 0; i < rings.size(); ++i) {
    const Node& node = program.values[i];
    if (otherwise[i] || node.stage != Stage::setup || node.shape.size() < 2) rings[i] = 0;
  }
  return rings;
}

u64 static_words(const Node& node, int ring, int party) {
  if (ring == 0) return instance_words(node);
  const std::size_t k = node.shape[node.shape.size() - 2], n = node.shape.back();
  const std::size_t bytes = packed_bytes(node.sharing == Sharing::rep, k, n, party, ring);
  return bytes == 0 ? instance_words(node) : (volume(node.shape) / (k * n) * bytes + sizeof(u64) - 1) / sizeof(u64);
}

}  // namespace secfwt
