// Blocking, packing and threads.
#include "ring/gemm.h"

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include "ring/gemm_kernel.h"
#include "ring/parallel.h"
#include "ring/variants.h"

namespace secfwt {
namespace {

constexpr std::size_t kRowBlock = 2016;  // of A, packed at a time: so often B is packed again
constexpr std::size_t kRowStrip = 48;    // of A, multiplied at a time: stays in the cache with a group of B
static_assert(kRowBlock % kRowStrip == 0, "both are multiples of every kernel's rows");
constexpr std::size_t kGroup = 64, kSlice = 64;  // columns and rows of B packed at a time; multiples of every kernel's
constexpr std::size_t kParallelWork = 1 << 18;   // products worth waking a thread for

std::size_t blocks(std::size_t n, std::size_t size) { return (n + size - 1) / size; }

struct Shape {
  std::size_t m, k, n;
};

// Panels are kept from call to call, one set a thread.
class Workspace {
 public:
  u64* get(std::size_t words) {
    if (words > words_) {
      memory_.reset(static_cast<u64*>(::operator new[](words * sizeof(u64), std::align_val_t{64})));
      words_ = words;
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(u64* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  std::unique_ptr<u64[], Free> memory_;
  std::size_t words_ = 0;
};

// `panels` panels of B, of which n columns are left.
void pack_panels(const GemmKernel& kernel, const Block& b, std::size_t k, std::size_t n, std::size_t panels, u64* out) {
  for (std::size_t l = 0; l < k; l += kSlice)  // a few rows across the panels: they share pages
    for (std::size_t j = 0; j < panels; ++j) {
      const std::size_t column = j * kernel.columns;
      kernel.pack_b(b.from(l, column), std::min(kSlice, k - l), std::min(kernel.columns, n - column),
                    out + j * kernel.b_panel(k) + kernel.b_panel(l));
    }
}

Block left(const Term& term, const Shape& s) { return {term.a, term.a_plus, s.k}; }
Block right(const Term& term, const Shape& s) { return Block{term.b, term.b_plus, s.n}.from(0, term.first); }

// One block of the products of one A. It is packed once; B a few panels at a time by the thread that multiplies by
// them, so that they are read from its cache.
void multiply_block(const GemmKernel& kernel, const Term* terms, const Term* end, const Shape& s, std::size_t row,
                    std::size_t l, u64* c) {
  thread_local Workspace workspace_a;
  const std::size_t m = std::min(kRowBlock, s.m - row), k = std::min(kernel.max_depth, s.k - l);
  const std::size_t a_panels = blocks(m, kernel.rows), a_words = kernel.a_panel(k), b_words = kernel.b_panel(k);
  u64* const a = workspace_a.get(a_panels * a_words);

  parallel_for(a_panels, blocks(kParallelWork / 8, kernel.rows * k), [&](std::size_t lo, std::size_t hi) {
    for (std::size_t i = lo * kernel.rows; lo < hi; ++lo, i += kernel.rows)
      kernel.pack_a(left(*terms, s).from(row + i, l), std::min(kernel.rows, m - i), k, a + lo * a_words);
  });
  const std::size_t group = kGroup / kernel.columns;
  for (const Term* term = terms; term != end; ++term) {
    const std::size_t b_panels = blocks(term->columns, kernel.columns);
    parallel_for(b_panels, blocks(kParallelWork, m * k * kernel.columns), [&](std::size_t lo, std::size_t hi) {
      thread_local Workspace workspace_b;
      for (; lo < hi; lo += group) {
        const std::size_t first = lo * kernel.columns, panels = std::min(group, hi - lo), left = term->columns - first;
        u64* const room = workspace_b.get(panels * b_words);
        const u64* b = room;
        if (term->packed)
          b = term->packed->panels(l, k, first, panels, room);
        else
          pack_panels(kernel, right(*term, s).from(l, first), k, left, panels, room);
        u64* const to = c + row * s.n + term->first + first;
        for (std::size_t i = 0; i < m; i += kRowStrip)
          kernel.multiply(a + i / kernel.rows * a_words, b, k, to + i * s.n, s.n, std::min(kRowStrip, m - i),
                          std::min(panels * kernel.columns, left), term->add || l > 0);
      }
    });
  }
}

// Products with a vector are bound by memory, packing would only add to it: y += s·x and Σ a[i]·b[i] instead.
struct AddMultiple {
  SECFWT_INLINE void operator()(u64 s, const u64* x, std::size_t n, u64* y) const {
    for (std::size_t i = 0; i < n; ++i) y[i] += s * x[i];
  }
};
struct AddDot {
  SECFWT_INLINE void operator()(const u64* a, const u64* b, std::size_t n, u64* result) const {
    u64 sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += a[i] * b[i];
    *result += sum;
  }
};

// C (+)= A·B with one or two rows: every row of B is read once, in place.
void few_rows(const Term& term, const Shape& s, u64* c) {
  const Block a = left(term, s), b = right(term, s);
  parallel_for(term.columns, blocks(kParallelWork, s.m * s.k), [&](std::size_t lo, std::size_t hi) {
    for (std::size_t l = 0; l < s.k; ++l)
      for (std::size_t i = 0; i < s.m; ++i) {
        const u64 factor = a.at(i, l);
        for (const u64* words : {b.words, b.plus})
          if (words) run_variant(AddMultiple{}, factor, words + l * b.stride + lo, hi - lo, c + i * s.n + lo);
      }
  });
}

// C (+)= A·B with one or two columns: every row of A is read once, in place.
void few_columns(const Term& term, const Shape& s, u64* c) {
  const Block a = left(term, s), b = right(term, s);
  Words columns(term.columns * s.k);
  for (std::size_t l = 0; l < s.k; ++l)
    for (std::size_t j = 0; j < term.columns; ++j) columns[j * s.k + l] = b.at(l, j);
  parallel_for(s.m, blocks(kParallelWork, term.columns * s.k), [&](std::size_t lo, std::size_t hi) {
    for (std::size_t i = lo; i < hi; ++i)
      for (std::size_t j = 0; j < term.columns; ++j)
        for (const u64* words : {a.words, a.plus})
          if (words) run_variant(AddDot{}, words + i * a.stride, columns.data() + j * s.k, s.k, c + i * s.n + j);
  });
}

void clear(u64* c, std::size_t stride, std::size_t m, std::size_t n) {
  for (std::size_t i = 0; i < m; ++i) std::fill_n(c + i * stride, n, 0);
}

// How long a kernel takes, by its rate; a tile of AMX costs as much as half a step in itself.
double duration(const Measured& measured, const Shape& s) {
  const GemmKernel& kernel = *measured.kernel;
  const std::size_t tile = kernel.isa == Isa::amx ? kernel.rows : 1;  // vectors have tiles of fewer rows, too
  const std::size_t rows = blocks(s.m, tile) * tile, columns = blocks(s.n, kernel.columns) * kernel.columns;
  const std::size_t depth = kernel.padded(s.k) + kernel.depth / 2;
  return static_cast<double>(rows * columns * depth) / measured.rate;
}

// AMX does not beat the vectors on every small product.
const GemmKernel& kernel_for(const Shape& s, int bits) {
  if (required_kernel() || current_isa() != Isa::amx) return current_kernel(bits);
  const Measured &tiles = fastest_kernel(Isa::amx, bits), &vectors = fastest_kernel(Isa::avx512, bits);
  return *(duration(tiles, s) < duration(vectors, s) ? tiles : vectors).kernel;
}

// C = the sum of the terms.
void multiply(const Term* terms, const Term* end, const Shape& s, u64* c, int bits) {
  if (s.m == 0 || s.n == 0) return;
  const bool few = s.n <= 2 || (s.m <= 2 && !terms->packed);
  if (few || s.k == 0) {
    for (const Term* term = terms; term != end; ++term) {
      u64* const to = c + term->first;
      if (!term->add) clear(to, s.n, s.m, term->columns);
      if (s.k > 0) (s.n <= 2 ? few_columns : few_rows)(*term, s, to);
    }
    return;
  }
  const GemmKernel& kernel = terms->packed ? terms->packed->kernel() : kernel_for(s, bits);
  const auto other = [&](const Term& term) { return term.a != terms->a || term.a_plus != terms->a_plus; };
  while (terms != end) {
    const Term* const next = std::find_if(terms, end, other);
    for (std::size_t l = 0; l < s.k; l += kernel.max_depth)
      for (std::size_t row = 0; row < s.m; row += kRowBlock) multiply_block(kernel, terms, next, s, row, l, c);
    terms = next;
  }
}

// Threads share one product if it is large, else each takes whole products.
template <class Product>
void for_batch(std::size_t batch, const Shape& s, const Product& product) {
  const std::size_t work = s.m * s.k * s.n;
  if (batch < threads() && work > 4 * kParallelWork) {
    for (std::size_t i = 0; i < batch; ++i) product(i);
  } else {
    parallel_for(batch, blocks(kParallelWork, work + 1), [&](std::size_t lo, std::size_t hi) {
      for (std::size_t i = lo; i < hi; ++i) product(i);
    });
  }
}

}  // namespace

void gemm(const u64* a, const u64* b, u64* c, std::size_t m, std::size_t k, std::size_t n, bool accumulate) {
  const Term term{a, nullptr, b, nullptr, nullptr, 0, n, accumulate};
  multiply(&term, &term + 1, {m, k, n}, c, kWord);
}

void gemm_shares(const u64* a0, const u64* a1, const u64* b0, const u64* b1, u64* c, std::size_t m, std::size_t k,
                 std::size_t n) {
  const Term terms[] = {{a0, a1, b0, nullptr, nullptr, 0, n, false}, {a0, nullptr, b1, nullptr, nullptr, 0, n, true}};
  multiply(terms, terms + 2, {m, k, n}, c, kWord);
}

void gemm_terms(const Term* terms, std::size_t count, u64* c, const Batch& batch, int bits) {
  Shape s{batch.m, batch.k, batch.n};
  std::size_t products = batch.count;
  // With one B for all and nothing between the A's, a batch is one tall product.
  if (batch.stride_b == 0 && batch.stride_a == s.m * s.k && batch.stride_c == s.m * s.n) {
    s.m *= products;
    products = std::min<std::size_t>(products, 1);
  }
  for_batch(products, s, [&](std::size_t i) {
    std::vector<Term> moved(terms, terms + count);
    for (Term& term : moved) {
      term.a += i * batch.stride_a;
      if (term.a_plus) term.a_plus += i * batch.stride_a;
      if (term.b) term.b += i * batch.stride_b;
      if (term.b_plus) term.b_plus += i * batch.stride_b;
    }
    multiply(moved.data(), moved.data() + count, s, c + i * batch.stride_c, bits);
  });
}

}  // namespace secfwt
