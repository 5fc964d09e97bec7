// Blocking, packing and threads.
#include "ring/gemm.h"

#include <algorithm>
#include <memory>
#include <new>

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

// A term A·B of a sum of products; A may be a sum of two matrices. B is in rows, or packed: one block of inner indices
// after another, each as long as the kernel allows.
struct Term {
  Block a, b;
  bool packed = false;
};

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

Block offset(const Block& block, std::size_t row, std::size_t column) {
  const std::size_t at = row * block.stride + column;
  return {block.words + at, block.plus ? block.plus + at : nullptr, block.stride};
}

// `panels` panels of B, of which n columns are left.
void pack_panels(const GemmKernel& kernel, const Block& b, std::size_t k, std::size_t n, std::size_t panels, u64* out) {
  for (std::size_t l = 0; l < k; l += kSlice)  // a few rows across the panels: they share pages
    for (std::size_t j = 0; j < panels; ++j) {
      const std::size_t column = j * kernel.columns;
      kernel.pack_b(offset(b, l, column), std::min(kSlice, k - l), std::min(kernel.columns, n - column),
                    out + j * kernel.b_panel(k) + kernel.b_panel(l));
    }
}

// One block of the product. A is packed once; B a few panels at a time by the thread that multiplies by them, so that
// they are read from its cache.
void multiply_block(const GemmKernel& kernel, const Term& term, const Shape& s, u64* c, std::size_t ldc,
                    bool accumulate) {
  thread_local Workspace workspace_a;
  const std::size_t a_panels = blocks(s.m, kernel.rows), b_panels = blocks(s.n, kernel.columns);
  const std::size_t a_words = kernel.a_panel(s.k), b_words = kernel.b_panel(s.k);
  u64* const a = workspace_a.get(a_panels * a_words);

  parallel_for(a_panels, blocks(kParallelWork / 8, kernel.rows * s.k), [&](std::size_t lo, std::size_t hi) {
    for (std::size_t i = lo; i < hi; ++i)
      kernel.pack_a(offset(term.a, i * kernel.rows, 0), std::min(kernel.rows, s.m - i * kernel.rows), s.k,
                    a + i * a_words);
  });
  const std::size_t group = kGroup / kernel.columns;
  parallel_for(b_panels, blocks(kParallelWork, s.m * s.k * kernel.columns), [&](std::size_t lo, std::size_t hi) {
    thread_local Workspace workspace_b;
    for (; lo < hi; lo += group) {
      const std::size_t first = lo * kernel.columns, panels = std::min(group, hi - lo);
      const u64* b = term.b.words + lo * b_words;
      if (!term.packed) {
        u64* const packed = workspace_b.get(panels * b_words);
        pack_panels(kernel, offset(term.b, 0, first), s.k, s.n - first, panels, packed);
        b = packed;
      }
      for (std::size_t i = 0; i < s.m; i += kRowStrip)
        kernel.multiply(a + i / kernel.rows * a_words, b, s.k, c + i * ldc + first, ldc, std::min(kRowStrip, s.m - i),
                        std::min(panels * kernel.columns, s.n - first), accumulate);
    }
  });
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
void few_rows(const Term& term, const Shape& s, u64* c, std::size_t ldc) {
  parallel_for(s.n, blocks(kParallelWork, s.m * s.k), [&](std::size_t lo, std::size_t hi) {
    for (std::size_t l = 0; l < s.k; ++l)
      for (std::size_t i = 0; i < s.m; ++i) {
        const u64 factor = term.a.at(i, l);
        run_variant(AddMultiple{}, factor, term.b.words + l * term.b.stride + lo, hi - lo, c + i * ldc + lo);
      }
  });
}

// C (+)= A·B with one or two columns: every row of A is read once, in place.
void few_columns(const Term& term, const Shape& s, u64* c, std::size_t ldc) {
  Words columns(s.n * s.k);
  for (std::size_t l = 0; l < s.k; ++l)
    for (std::size_t j = 0; j < s.n; ++j) columns[j * s.k + l] = term.b.at(l, j);
  parallel_for(s.m, blocks(kParallelWork, s.n * s.k), [&](std::size_t lo, std::size_t hi) {
    for (std::size_t i = lo; i < hi; ++i)
      for (std::size_t j = 0; j < s.n; ++j) {
        const u64* const column = columns.data() + j * s.k;
        for (const u64* a : {term.a.words, term.a.plus})
          if (a) run_variant(AddDot{}, a + i * term.a.stride, column, s.k, c + i * ldc + j);
      }
  });
}

// Whether AMX beats the vectors on a small product; cycles as measured on Sapphire Rapids.
bool tiles_pay(const Shape& s) {
  const std::size_t tiles = blocks(s.m, 16) * blocks(s.n, 16) * (800 * blocks(s.k, 64) + 400);
  const std::size_t vectors = s.m * blocks(s.n, 8) * 8 * s.k * 2 / 9;
  return tiles < vectors;
}

const GemmKernel& kernel_for(const Shape& s) {
  const bool vectors = !required_kernel() && current_isa() == Isa::amx && !tiles_pay(s);
  return vectors ? fastest_kernel(Isa::avx512) : current_kernel();
}

void clear(u64* c, std::size_t ldc, std::size_t m, std::size_t n) {
  for (std::size_t i = 0; i < m; ++i) std::fill_n(c + i * ldc, n, 0);
}

// C = or += A·B, block by block.
void multiply_blocks(const GemmKernel& kernel, const Term& term, const Shape& s, u64* c, std::size_t ldc,
                     bool accumulate) {
  for (std::size_t l = 0; l < s.k; l += kernel.max_depth, accumulate = true) {
    const Block b = term.packed ? offset({term.b.words, nullptr, s.n}, l, 0) : offset(term.b, l, 0);
    for (std::size_t i = 0; i < s.m; i += kRowBlock)
      multiply_block(kernel, {offset(term.a, i, l), b, term.packed},
                     {std::min(kRowBlock, s.m - i), std::min(kernel.max_depth, s.k - l), s.n}, c + i * ldc, ldc,
                     accumulate);
  }
}

// C = or += the sum of the terms, none of them packed.
void multiply(const Term* terms, std::size_t count, const Shape& s, u64* c, std::size_t ldc, bool accumulate) {
  if (s.m == 0 || s.n == 0) return;
  const GemmKernel& kernel = kernel_for(s);
  const bool narrow = s.m <= 2 || s.n <= 2;
  if ((narrow || s.k == 0) && !accumulate) clear(c, ldc, s.m, s.n);
  if (s.k == 0) return;
  if (narrow) {
    for (const Term* term = terms; term != terms + count; ++term) (s.n <= 2 ? few_columns : few_rows)(*term, s, c, ldc);
    return;
  }
  for (const Term* term = terms; term != terms + count; ++term, accumulate = true)
    multiply_blocks(kernel, *term, s, c, ldc, accumulate);
}

}  // namespace

void gemm(const u64* a, std::size_t lda, const u64* b, std::size_t ldb, u64* c, std::size_t ldc, std::size_t m,
          std::size_t k, std::size_t n, bool accumulate) {
  const Term term{{a, nullptr, lda}, {b, nullptr, ldb}};
  multiply(&term, 1, {m, k, n}, c, ldc, accumulate);
}

namespace {

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

// With one B for all and nothing between the A's, a batch is one tall product.
void flatten(std::size_t& batch, std::size_t stride_a, std::size_t stride_b, std::size_t stride_c, Shape& s) {
  if (stride_b != 0 || stride_a != s.m * s.k || stride_c != s.m * s.n) return;
  s.m *= batch;
  batch = std::min<std::size_t>(batch, 1);
}

}  // namespace

void gemm_batch(const u64* a, std::size_t stride_a, const u64* b, std::size_t stride_b, u64* c, std::size_t stride_c,
                std::size_t batch, std::size_t m, std::size_t k, std::size_t n, bool accumulate) {
  Shape s{m, k, n};
  flatten(batch, stride_a, stride_b, stride_c, s);
  for_batch(batch, s, [&](std::size_t i) {
    const Term term{{a + i * stride_a, nullptr, k}, {b + i * stride_b, nullptr, n}};
    multiply(&term, 1, s, c + i * stride_c, n, accumulate);
  });
}

void gemm_shares(const u64* a0, const u64* a1, std::size_t stride_a, const u64* b0, const u64* b1, std::size_t stride_b,
                 u64* c, std::size_t stride_c, std::size_t batch, std::size_t m, std::size_t k, std::size_t n) {
  Shape s{m, k, n};
  flatten(batch, stride_a, stride_b, stride_c, s);
  for_batch(batch, s, [&](std::size_t i) {
    const u64 *x0 = a0 + i * stride_a, *x1 = a1 + i * stride_a, *y0 = b0 + i * stride_b, *y1 = b1 + i * stride_b;
    const Term terms[] = {{{x0, x1, k}, {y0, nullptr, n}}, {{x0, nullptr, k}, {y1, nullptr, n}}};
    multiply(terms, 2, s, c + i * stride_c, n, false);
  });
}

const GemmKernel* packed_layout(std::size_t k, std::size_t n) {
  const GemmKernel& kernel = current_kernel();
  const bool whole = k > 0 && n > 0 && k % kernel.depth == 0 && n % kernel.columns == 0;
  return whole && kernel.b_words == 2 ? &kernel : nullptr;
}

void pack_in_place(const GemmKernel& layout, u64* b, std::size_t k, std::size_t n) {
  const Words rows(b, b + k * n);
  for (std::size_t l = 0; l < k; l += layout.max_depth)
    pack_panels(layout, {rows.data() + l * n, nullptr, n}, std::min(layout.max_depth, k - l), n, n / layout.columns,
                b + l * n);
}

void gemm_packed(const GemmKernel& layout, const u64* a, std::size_t stride_a, const u64* b, std::size_t stride_b,
                 u64* c, std::size_t stride_c, std::size_t batch, std::size_t m, std::size_t k, std::size_t n,
                 bool accumulate) {
  Shape s{m, k, n};
  flatten(batch, stride_a, stride_b, stride_c, s);
  for_batch(batch, s, [&](std::size_t i) {
    const Term term{{a + i * stride_a, nullptr, k}, {b + i * stride_b, nullptr, n}, true};
    multiply_blocks(layout, term, s, c + i * stride_c, n, accumulate);
  });
}

}  // namespace secfwt
