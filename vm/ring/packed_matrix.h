// A right-hand factor that many products share, packed once.
#pragma once

#include <memory>

#include "ring/ring.h"

namespace secfwt {

struct Block;
struct GemmKernel;

// Some columns of a matrix, in the order in which the kernel of large products reads them, and as many bits an element
// as their ring has (for AMX: bytes).
class PackedMatrix {
 public:
  // Null where columns are too few for the kernel, or its layout takes more room than words. k rows.
  static std::shared_ptr<const PackedMatrix> make(const Block& b, std::size_t k, std::size_t columns, int bits);
  // Of what `make` returns: 0 where that is null.
  static std::size_t bytes(std::size_t k, std::size_t columns, int bits);

  const GemmKernel& kernel() const { return kernel_; }
  std::size_t bytes() const;

  // `count` panels from the one at `column` on, for inner indices [l, l + length), a block as the kernel's max_depth
  // cuts them. They are unpacked to `room` unless they can be read where they are.
  const u64* panels(std::size_t l, std::size_t length, std::size_t column, std::size_t count, u64* room) const;

 private:
  PackedMatrix(const GemmKernel& kernel, std::size_t k, std::size_t columns, int bits);
  static bool suits(const GemmKernel& kernel, std::size_t k, std::size_t columns, int bits);
  u8* at(std::size_t l, std::size_t length, std::size_t column) const;

  const GemmKernel& kernel_;
  const std::size_t k_, columns_;  // padded
  const int bits_;                 // of an element
  const std::unique_ptr<u8[]> elements_;
};

}  // namespace secfwt
