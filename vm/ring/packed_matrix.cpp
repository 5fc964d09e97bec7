#include "ring/packed_matrix.h"

#include <algorithm>

#include "ring/gemm_kernel.h"
#include "ring/packing.h"

namespace secfwt {
namespace {

// A row of a panel fills whole bytes: an even number of bits where it has four elements.
int stored_bits(const GemmKernel& kernel, int bits) {
  if (!kernel.plain) return 8 * static_cast<int>(kernel.b_bytes);
  return kernel.columns % 8 == 0 ? bits : bits + bits % 2;
}

}  // namespace

PackedMatrix::PackedMatrix(const GemmKernel& kernel, std::size_t k, std::size_t columns, int bits)
    : kernel_(kernel),
      k_(kernel.padded(k)),
      columns_((columns + kernel.columns - 1) / kernel.columns * kernel.columns),
      bits_(stored_bits(kernel, bits)),
      elements_(new u8[bytes()]) {}

bool PackedMatrix::suits(const GemmKernel& kernel, std::size_t k, std::size_t columns, int bits) {
  return k > 0 && columns >= kernel.columns && stored_bits(kernel, bits) <= kWord;
}

std::size_t PackedMatrix::bytes(std::size_t k, std::size_t columns, int bits) {
  const GemmKernel& kernel = current_kernel(bits);
  const std::size_t padded = (columns + kernel.columns - 1) / kernel.columns * kernel.columns;
  const auto stored = static_cast<std::size_t>(stored_bits(kernel, bits));
  return suits(kernel, k, columns, bits) ? kernel.padded(k) * padded * stored / 8 : 0;
}

std::size_t PackedMatrix::bytes() const { return k_ * columns_ * static_cast<std::size_t>(bits_) / 8; }

u8* PackedMatrix::at(std::size_t l, std::size_t length, std::size_t column) const {
  const std::size_t elements = l * columns_ + kernel_.padded(length) * column;
  return elements_.get() + elements * static_cast<std::size_t>(bits_) / 8;
}

std::shared_ptr<const PackedMatrix> PackedMatrix::make(const Block& b, std::size_t k, std::size_t columns, int bits) {
  const GemmKernel& kernel = current_kernel(bits);
  if (!suits(kernel, k, columns, bits)) return nullptr;
  const std::shared_ptr<PackedMatrix> out(new PackedMatrix(kernel, k, columns, bits));
  Words panel(kernel.b_panel(std::min(k, kernel.max_depth)));
  for (std::size_t l = 0; l < k; l += kernel.max_depth) {
    const std::size_t length = std::min(kernel.max_depth, k - l);
    for (std::size_t j = 0; j < columns; j += kernel.columns) {
      kernel.pack_b(b.from(l, j), length, std::min(kernel.columns, columns - j), panel.data());
      if (kernel.plain)
        pack_bits(panel.data(), kernel.b_panel(length), out->bits_, out->at(l, length, j));
      else
        std::copy_n(reinterpret_cast<const u8*>(panel.data()), 8 * kernel.b_panel(length), out->at(l, length, j));
    }
  }
  return out;
}

const u64* PackedMatrix::panels(std::size_t l, std::size_t length, std::size_t column, std::size_t count,
                                u64* room) const {
  const u8* const from = at(l, length, column);
  if (!kernel_.plain || bits_ == kWord) return reinterpret_cast<const u64*>(from);
  unpack_bits(from, count * kernel_.b_panel(length), bits_, room);
  return room;
}

}  // namespace secfwt
