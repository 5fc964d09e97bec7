#include "mpc/public_weights.h"

#include <openssl/evp.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <utility>

namespace secfwt {
namespace {

std::size_t stored_bytes(const Node& node) { return volume(node.shape) * static_cast<std::size_t>(node.bytes); }

}  // namespace

PublicWeights PublicWeights::of_file(const std::string& path) {
  const auto file = std::make_shared<std::ifstream>(path, std::ios::binary);
  if (!*file) throw ProgramError("cannot read public weights " + path);
  return PublicWeights([file](std::size_t at, u8* out, std::size_t n) {
    file->clear();
    file->seekg(static_cast<std::streamoff>(at));
    file->read(reinterpret_cast<char*>(out), static_cast<std::streamsize>(n));
    return static_cast<bool>(*file);
  });
}

void PublicWeights::read(const Program& program, std::size_t id, u64* out) const {
  const Node& node = program.values[id];
  std::size_t at = 0;
  for (std::size_t i = 0; i < id; ++i)
    if (program.values[i].kind == Kind::constant) at += stored_bytes(program.values[i]);
  std::vector<u8> stored(stored_bytes(node));
  const auto fail = [&](const std::string& what) {
    throw ProgramError("public weights: " + node.name + " (program line " + std::to_string(node.line) + ") " + what);
  };
  if (!source_) fail("is needed, no file is given");
  if (!source_(at, stored.data(), stored.size())) fail("lies beyond the end of the file");
  Hash hash;
  if (EVP_Digest(stored.data(), stored.size(), hash.data(), nullptr, EVP_sha256(), nullptr) != 1)
    throw std::runtime_error("SHA-256 failed");
  if (hash != node.hash) fail("has another hash than the program says");
  const std::size_t bytes = static_cast<std::size_t>(node.bytes);
  const int free = kWord - 8 * node.bytes;
  for (std::size_t i = 0; i < volume(node.shape); ++i) {
    u64 word = 0;
    std::memcpy(&word, stored.data() + i * bytes, bytes);
    out[i] = static_cast<u64>(static_cast<i64>(word << free) >> free);
  }
}

void PublicWeights::check(const Program& program) const {
  for (std::size_t id = 0; id < program.values.size(); ++id) {
    if (program.values[id].kind != Kind::constant) continue;
    const std::unique_ptr<u64[]> words(new u64[volume(program.values[id].shape)]);
    read(program, id, words.get());
  }
}

}  // namespace secfwt
