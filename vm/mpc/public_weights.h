// The public tensors of a model: numbers that the program names by their hashes, and that every party reads from a file
// of its own beside the program.
#pragma once

#include <functional>
#include <string>

#include "mpc/program.h"

namespace secfwt {

class PublicWeights {
 public:
  // Reads `n` bytes from the one at `at` on; false where there are not so many.
  using Source = std::function<bool(std::size_t at, u8* out, std::size_t n)>;

  PublicWeights() = default;  // of a program that has none
  explicit PublicWeights(Source source) : source_(std::move(source)) {}
  static PublicWeights of_file(const std::string& path);

  // The numbers of `program`'s value `id`, a `constant`, as words. Throws ProgramError where they are not there, or
  // have another hash.
  void read(const Program& program, std::size_t id, u64* out) const;
  // All of them once. Throws ProgramError.
  void check(const Program& program) const;

 private:
  Source source_;
};

}  // namespace secfwt
