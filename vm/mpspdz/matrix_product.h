// MP-SPDZ's product of secret matrices in memory (its MATMULSM instruction) with our ring kernels: the shares are taken
// apart, one ring matrix a component, multiplied, and the protocol gets the sums it would have got from its own loop.
// What it sends is therefore the same, and a party built with this works with parties that are not.
#pragma once

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>
#include <vector>

#include "Processor/Processor.h"
#include "ring/gemm.h"

namespace secfwt::mpspdz {

struct Sizes {
  std::size_t rows, inner, columns;
};

// One ring matrix for every component of a share.
template <class T>
using Components = std::array<Words, T::vector_length>;

// Rows and columns of a matrix in memory; they need not be neighbours.
struct Selection {
  std::size_t base, stride;
  std::vector<std::size_t> rows, columns;

  // The element behind the last one that is read, if indices and base are addresses below `limit`.
  std::size_t end(std::size_t limit) const {
    if (rows.empty() || columns.empty()) return 0;
    const std::size_t row = *std::max_element(rows.begin(), rows.end());
    const std::size_t column = *std::max_element(columns.begin(), columns.end());
    return std::max({row, column, base}) < limit ? base + row * stride + column + 1 : limit + 1;
  }
};

template <class T>
Components<T> gather(const MemoryPart<T>& memory, const Selection& from) {
  static_assert(sizeof(T) == T::vector_length * sizeof(u64));
  if (from.end(memory.size()) > memory.size())
    throw std::out_of_range("matrix product: a factor at address " + std::to_string(from.base) +
                            " reaches beyond the memory of " + std::to_string(memory.size()) + " secret values");
  Components<T> words;
  for (Words& component : words) component.resize(from.rows.size() * from.columns.size());
  std::size_t i = 0;
  for (std::size_t row : from.rows) {
    const T* const first = memory.data() + from.base + row * from.stride;
    for (std::size_t column : from.columns) {
      for (std::size_t c = 0; c < words.size(); ++c) words[c][i] = first[column][c].get_limb(0);
      ++i;
    }
  }
  return words;
}

// One product: twelve arguments of the instruction.
struct Product {
  std::size_t destination;  // register of the first result
  Sizes sizes;
  Selection left, right;

  template <class T>
  Product(SubProcessor<T>& processor, std::vector<int>::const_iterator a)
      : destination(a[0]), sizes{size(a[3]), size(a[4]), size(a[5])} {
    auto& registers = processor.Proc->get_Ci();
    const auto numbers = [&registers](int first, std::size_t count) {
      std::vector<std::size_t> result(count);
      for (std::size_t i = 0; i < count; ++i) result[i] = registers.at(first + i).get();
      return result;
    };
    left = {numbers(a[1], 1)[0], size(a[10]), numbers(a[6], sizes.rows), numbers(a[7], sizes.inner)};
    right = {numbers(a[2], 1)[0], size(a[11]), numbers(a[8], sizes.inner), numbers(a[9], sizes.columns)};
    if (destination + results() > processor.get_S().size())
      throw std::out_of_range("matrix product: the result reaches beyond the registers");
  }

  std::size_t results() const { return sizes.rows * sizes.columns; }

 private:
  static std::size_t size(int n) {
    if (n < 0) throw std::out_of_range("matrix product: size " + std::to_string(n));
    return n;
  }
};

// All products of an instruction in one round. `Local` holds what one party computes of one product:
// Local(left, right, sizes), then give(protocol, i) hands over what belongs to result i.
template <class Local, class T>
void multiply_in_memory(SubProcessor<T>& processor, const MemoryPart<T>& memory, const std::vector<int>& arguments) {
  constexpr int kArguments = 12;
  std::vector<Product> products;
  for (auto a = arguments.begin(); a != arguments.end(); a += kArguments) products.emplace_back(processor, a);

  auto& protocol = processor.protocol;
  protocol.init_dotprod();
  for (const Product& product : products) {
    const Local local(gather(memory, product.left), gather(memory, product.right), product.sizes);
    for (std::size_t i = 0; i < product.results(); ++i) local.give(protocol, i);
  }
  protocol.exchange();
  for (const Product& product : products) {
    auto result = processor.get_S().begin() + product.destination;
    for (std::size_t i = 0; i < product.results(); ++i)
      *result++ = protocol.finalize_dotprod(static_cast<int>(product.sizes.inner));
  }
}

}  // namespace secfwt::mpspdz
