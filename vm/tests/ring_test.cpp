// Matrix products of every kernel against the textbook loop; streams, phasors and parallel loops.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "amx_arithmetic.h"
#include "check.h"
#include "ring/gemm.h"
#include "ring/gemm_kernel.h"
#include "ring/host_memory.h"
#include "ring/memory.h"
#include "ring/packing.h"
#include "ring/parallel.h"
#include "ring/phasor.h"
#include "ring/prg.h"

namespace secfwt {
namespace {

using Rng = std::mt19937_64;  // public test data

struct Matrix {
  std::size_t rows, columns;
  Words words;

  Matrix(std::size_t m, std::size_t n) : rows(m), columns(n), words(m * n) {}
  u64& at(std::size_t i, std::size_t j) { return words[i * columns + j]; }
  u64 at(std::size_t i, std::size_t j) const { return words[i * columns + j]; }
};

enum class Fill { random, extreme, ones };

Matrix filled(std::size_t m, std::size_t n, Fill fill, Rng& rng) {
  static const u64 extremes[] = {0,
                                 1,
                                 ~u64{0},
                                 u64{1} << 63,
                                 (u64{1} << 63) - 1,
                                 (u64{1} << 52) - 1,
                                 u64{1} << 52,
                                 0xffffffff,
                                 u64{1} << 32,
                                 0x8000800080008000,
                                 0x7fff7fff7fff7fff};
  Matrix matrix(m, n);
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < n; ++j)
      matrix.at(i, j) = fill == Fill::random ? rng() : fill == Fill::ones ? ~u64{0} : extremes[rng() % 11];
  return matrix;
}

void add_product(const Matrix& a, const Matrix& b, Matrix& c) {
  for (std::size_t i = 0; i < a.rows; ++i)
    for (std::size_t l = 0; l < a.columns; ++l)
      for (std::size_t j = 0; j < b.columns; ++j) c.at(i, j) += a.at(i, l) * b.at(l, j);
}

Matrix sum(Matrix a, const Matrix& b) {
  for (std::size_t i = 0; i < a.words.size(); ++i) a.words[i] += b.words[i];
  return a;
}

bool equal(const Matrix& a, const Matrix& b, int bits) {
  bool all = a.words.size() == b.words.size();
  for (std::size_t i = 0; all && i < a.words.size(); ++i) all = ((a.words[i] ^ b.words[i]) & low_bits(bits)) == 0;
  return all;
}

// Runs body(bits) with each kernel that this processor has, in its widest ring, then with the one that is chosen.
template <class Body>
void for_each_kernel(const Body& body) {
  const Isa before = current_isa();
  for (const GemmKernel* kernel : kernels()) {
    require_kernel(*kernel);
    const int failures = test::failures();
    body(kernel->bits);
    if (test::failures() > failures) std::cerr << "with kernel " << kernel->name << "\n";
  }
  set_isa(before);
  body(kWord);
}

// (A + A')·(B + B') and, in the columns from the middle on, + A·B'.
struct Sums {
  Matrix a, a_plus, b, b_plus, expected;

  Sums(std::size_t m, std::size_t k, std::size_t n, Fill fill, Rng& rng)
      : a(filled(m, k, fill, rng)),
        a_plus(filled(m, k, fill, rng)),
        b(filled(k, n, fill, rng)),
        b_plus(filled(k, n, fill, rng)),
        expected(m, n) {
    Matrix right = b_plus;
    for (std::size_t l = 0; l < k; ++l) std::fill_n(right.words.data() + l * n, n / 2, 0);
    add_product(sum(a, a_plus), sum(b, b_plus), expected);
    add_product(a, right, expected);
  }

  std::vector<Term> terms() const {
    const std::size_t n = b.columns, half = n / 2;
    return {{a.words.data(), a_plus.words.data(), b.words.data(), b_plus.words.data(), nullptr, 0, n, false},
            {a.words.data(), nullptr, b_plus.words.data(), nullptr, nullptr, half, n - half, true}};
  }
  Matrix multiply(const std::vector<Term>& terms, int bits) const {
    Matrix c(a.rows, b.columns);
    std::fill(c.words.begin(), c.words.end(), 0x5ec0ffee5ec0ffee);
    gemm_terms(terms.data(), terms.size(), c.words.data(), {1, a.rows, a.columns, b.columns, 0, 0, 0}, bits);
    return c;
  }
};

void check_gemm(std::size_t m, std::size_t k, std::size_t n, Fill fill, Rng& rng) {
  const Sums sums(m, k, n, fill, rng);
  for_each_kernel([&](int bits) {
    CHECK(equal(sums.multiply(sums.terms(), bits), sums.expected, bits));
    if (test::failures() > 0) std::cerr << "shape " << m << "x" << k << "x" << n << "\n";
  });
}

TEST(gemm_random_shapes) {
  Rng rng(1);
  for (int i = 0; i < 150; ++i) {
    const auto size = [&](std::size_t limit) { return rng() % 4 == 0 ? rng() % 4 : rng() % limit; };
    check_gemm(size(70), size(150), size(70), static_cast<Fill>(rng() % 3), rng);
  }
}

TEST(gemm_every_kernel_in_every_ring) {
  Rng rng(8);
  const Sums sums(19, 70, 35, Fill::random, rng);
  const Isa before = current_isa();
  for (const GemmKernel* kernel : kernels()) {
    require_kernel(*kernel);
    for (int bits = 1; bits <= kWord; ++bits) {
      CHECK_EQ(&current_kernel(bits) == kernel, bits <= kernel->bits);
      CHECK(equal(sums.multiply(sums.terms(), bits), sums.expected, bits));
    }
  }
  set_isa(before);
}

// On a processor without AMX as well: all but the instructions.
TEST(gemm_amx_by_arithmetic) {
  Rng rng(9);
  const Isa before = current_isa();
  for (Fill fill : {Fill::random, Fill::ones})
    for (const auto& [m, k, n] : {std::array<std::size_t, 3>{1, 1, 1}, {17, 65, 33}, {35, 70, 19}, {16, 1025, 17}}) {
      const Sums sums(m, k, n, fill, rng);
      for (const GemmKernel* kernel : kernels_without_tiles()) {
        require_kernel(*kernel);
        for (int bits : {1, kernel->bits - 7, kernel->bits})
          CHECK(equal(sums.multiply(sums.terms(), bits), sums.expected, bits));
      }
    }
  set_isa(before);
}

TEST(gemm_edges_of_tiles_and_blocks) {
  Rng rng(2);
  for (std::size_t m : {1, 3, 6, 16, 17})
    for (std::size_t n : {1, 2, 7, 8, 9, 16, 33})
      for (std::size_t k : {1, 2, 63, 64, 65}) check_gemm(m, k, n, Fill::random, rng);
  check_gemm(241, 33, 65, Fill::random, rng);
  check_gemm(7, 65, 967, Fill::random, rng);
  for (std::size_t k : {383, 384, 385, 511, 513, 1023, 1024, 1025, 2100}) check_gemm(17, k, 17, Fill::random, rng);
}

// All bytes 255: the fullest accumulators there are.
TEST(gemm_largest_values) {
  Rng rng(3);
  check_gemm(16, 4096, 16, Fill::ones, rng);
  check_gemm(5, 5000, 9, Fill::extreme, rng);
}

TEST(gemm_contiguous_and_shares) {
  Rng rng(9);
  for (std::size_t m : {1, 5, 40}) {
    const Sums x(m, 70, 24, Fill::random, rng);
    Matrix product(m, 24), shares(m, 24);
    add_product(x.a, x.b, product);
    add_product(sum(x.a, x.a_plus), x.b, shares);
    add_product(x.a, x.b_plus, shares);
    Matrix c(m, 24);
    gemm(x.a.words.data(), x.b.words.data(), c.words.data(), m, 70, 24, false);
    CHECK(c.words == product.words);
    gemm(x.a.words.data(), x.b.words.data(), c.words.data(), m, 70, 24, true);
    CHECK(c.words == sum(product, product).words);
    gemm_shares(x.a.words.data(), x.a_plus.words.data(), x.b.words.data(), x.b_plus.words.data(), c.words.data(), m, 70,
                24);
    CHECK(c.words == shares.words);
  }
}

TEST(gemm_batches) {
  Rng rng(4);
  const std::size_t batch = 5;
  for (std::size_t m : {1, 6, 19})
    for (std::size_t k : {0, 24, 65})
      for (std::size_t n : {1, 8, 33})
        for (bool shared_a : {false, true})
          for (bool shared_b : {false, true}) {
            const std::size_t stride_a = shared_a ? 0 : m * k, stride_b = shared_b ? 0 : k * n;
            const Matrix a = filled(batch * m, k, Fill::random, rng), b = filled(batch * k, n, Fill::random, rng);
            Matrix product(batch * m, n);
            for (std::size_t q = 0; q < batch; ++q)
              for (std::size_t i = 0; i < m; ++i)
                for (std::size_t l = 0; l < k; ++l)
                  for (std::size_t j = 0; j < n; ++j)
                    product.at(q * m + i, j) += a.words[q * stride_a + i * k + l] * b.words[q * stride_b + l * n + j];
            const Term term{a.words.data(), nullptr, b.words.data(), nullptr, nullptr, 0, n, false};
            for_each_kernel([&](int bits) {
              Matrix c(batch * m, n);
              gemm_terms(&term, 1, c.words.data(), {batch, m, k, n, stride_a, stride_b, m * n}, bits);
              CHECK(equal(c, product, bits));
            });
          }
}

// Whole panels and parts of them, more inner indices than a block of any kernel has, every way to keep an element.
TEST(gemm_packed_once) {
  Rng rng(7);
  for (std::size_t m : {1, 5, 50})
    for (std::size_t k : {63, 64, 576})
      for (std::size_t n : {32, 90}) {
        const Sums sums(m, k, n, Fill::random, rng);
        for_each_kernel([&](int widest) {
          for (int bits : {8, 29, 38, 52, 64}) {
            if (bits > widest) continue;
            std::vector<Term> terms = sums.terms();
            std::vector<std::shared_ptr<const PackedMatrix>> matrices;
            for (Term& term : terms) {
              const Block b{term.b, term.b_plus, n};
              matrices.push_back(PackedMatrix::make(b.from(0, term.first), k, term.columns, bits));
              term.b = term.b_plus = nullptr;
              term.packed = matrices.back().get();
            }
            if (!terms[0].packed) {
              CHECK_EQ(std::string(current_kernel(bits).name), "avx512-ifma");
              continue;
            }
            CHECK(equal(sums.multiply(terms, bits), sums.expected, bits));
          }
        });
      }
}

TEST(gemm_packed_takes_the_rings_bits) {
  Rng rng(10);
  const Matrix b = filled(64, 32, Fill::random, rng);
  const Block block{b.words.data(), nullptr, 32};
  const Isa before = current_isa();
  for (const GemmKernel* kernel : kernels()) {
    require_kernel(*kernel);
    CHECK(PackedMatrix::make(block, 64, kernel->columns - 1, kernel->bits) == nullptr);
    CHECK(PackedMatrix::make(block, 0, 32, kernel->bits) == nullptr);
    const auto packed = PackedMatrix::make(block, 64, 32, 32);
    if (kernel->b_bytes > 8) CHECK(packed == nullptr);
    if (packed) CHECK_EQ(packed->bytes(), 64 * 32 * (kernel->plain ? 4 : kernel->b_bytes));
  }
  set_isa(before);
}

TEST(gemm_fastest_kernel_is_chosen) {
  // By rates made up: measured ones are another time's, on a busy machine.
  const auto of = [](int bits) {
    GemmKernel kernel{};
    kernel.bits = bits;
    return kernel;
  };
  const GemmKernel wide = of(64), narrow = of(40), slow = of(52);
  for (const std::vector<Measured>& rates : {std::vector<Measured>{{&wide, 10}, {&narrow, 30}, {&slow, 9}},
                                             std::vector<Measured>{{&slow, 9}, {&narrow, 30}, {&wide, 10}}}) {
    const KernelChoices chosen = choose_kernels(rates);
    for (int bits = 1; bits <= kWord; ++bits)
      CHECK(chosen[static_cast<std::size_t>(bits)].kernel == (bits <= 40 ? &narrow : &wide));
  }
  for (int bits : {32, 40, 52, 64}) {
    const Measured& chosen = fastest_kernel(current_isa(), bits);
    CHECK_EQ(isa_name(chosen.kernel->isa), isa_name(current_isa()));
    CHECK(chosen.kernel->bits >= bits);
    CHECK(chosen.rate > 0);
  }
}

TEST(gemm_threads) {
  Rng rng(5);
  const unsigned before = threads();
  for (unsigned n : {1u, 2u, 5u}) {
    set_threads(n);
    CHECK_EQ(threads(), n);
    check_gemm(250, 40, 1000, Fill::random, rng);
    check_gemm(1, 700, 900, Fill::random, rng);
    check_gemm(900, 700, 1, Fill::random, rng);
  }
  set_threads(before);
}

// Bit by bit.
std::vector<u8> packed_slowly(const Words& words, int bits) {
  std::vector<u8> out((words.size() * static_cast<std::size_t>(bits) + 7) / 8);
  std::size_t at = 0;
  for (u64 word : words)
    for (int bit = 0; bit < bits; ++bit, ++at) out[at / 8] |= static_cast<u8>((word >> bit & 1) << at % 8);
  return out;
}

template <class R>
void check_packing(const Words& words, int bits) {
  const std::vector<u8> expected = packed_slowly(words, bits);
  const std::vector<R> in(words.begin(), words.end());
  std::vector<u8> packed(expected.size() + 1, 0xab);
  pack_bits(in.data(), in.size(), bits, packed.data());
  CHECK(std::equal(expected.begin(), expected.end(), packed.begin()));
  CHECK_EQ(packed.back(), 0xab);  // nothing behind is written
  std::vector<R> back(in.size() + 1, 7);
  unpack_bits(expected.data(), in.size(), bits, back.data());
  bool same = back.back() == 7;
  for (std::size_t i = 0; i < in.size(); ++i) same = same && back[i] == (in[i] & low_bits(bits));
  CHECK(same);
  if (test::failures() > 0) std::cerr << in.size() << " words of " << bits << " bits\n";
}

TEST(packing_every_width_and_length) {
  Rng rng(11);
  const Isa before = current_isa();
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, before}) {
    if (isa > best_isa()) continue;
    set_isa(isa);
    for (int bits = 1; bits <= kWord; ++bits)
      for (std::size_t n : {0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 128, 1000}) {
        Words words(n);
        for (u64& word : words) word = rng() % 8 == 0 ? ~u64{0} : rng();
        check_packing<u64>(words, bits);
        if (bits <= 32) check_packing<u32>(words, bits);
      }
  }
  set_isa(before);
}

TEST(gemm_refuses_unknown_kernel) {
  CHECK_THROWS(set_isa(static_cast<Isa>(99)), std::invalid_argument);
  CHECK_EQ(std::string(isa_name(Isa::avx512)), "avx512");
}

std::vector<u8> from_hex(const std::string& hex) {
  std::vector<u8> bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<u8>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

// AES of the counters 0 and 1 under key 0: H and the first tag mask of the GCM specification's test case 1.
TEST(prg_known_answers) {
  Key key{};
  std::vector<u8> out(16);
  expand(key, 0, out.data(), out.size());
  CHECK(out == from_hex("66e94bd4ef8a2c3b884cfa59ca342b2e"));
  expand(key, 1, out.data(), out.size());
  CHECK(out == from_hex("58e2fccefa7e3061367f1d57a4e7455a"));
  // The key of NIST SP 800-38A, F.5.1, at counters 0, 2^64 − 1 and 2^64: blocks from an independent AES.
  const std::vector<u8> bytes = from_hex("2b7e151628aed2a6abf7158809cf4f3c");
  std::copy(bytes.begin(), bytes.end(), key.begin());
  expand(key, 0, out.data(), out.size());
  CHECK(out == from_hex("7df76b0c1ab899b33e42f047b91b546f"));
  out.resize(32);
  expand(key, ~u64{0}, out.data(), out.size());
  CHECK(out == from_hex("ef8737b783c4fa88e687ee9467073f6edc0a3bc38609c26f6f2a63a39cf7ee93"));
}

TEST(prg_any_part_in_any_order) {
  const Key key = random_key(), other = random_key();
  CHECK(key != other);
  std::vector<u8> all(3 << 20);
  expand(key, 7, all.data(), all.size());
  Rng rng(6);
  for (int i = 0; i < 200; ++i) {
    const std::size_t block = rng() % (all.size() / 16);
    const std::size_t bytes = std::min(all.size() - 16 * block, rng() % 5 == 0 ? rng() % (2 << 20) : rng() % 100);
    std::vector<u8> part(bytes + 1, 0xab), noise(16);
    expand(other, i, noise.data(), noise.size());  // another key in between
    expand(key, 7 + block, part.data(), bytes);
    CHECK(std::equal(part.begin(), part.begin() + static_cast<std::ptrdiff_t>(bytes), all.data() + 16 * block));
    CHECK_EQ(part[bytes], 0xab);
  }
}

TEST(prg_words_from_anywhere) {
  const Key key = random_key();
  Words all(100);
  expand(key, 0, all.data(), all.size() * sizeof(u64));
  for (std::size_t first : {0, 1, 2, 7, 40})
    for (std::size_t n : {0, 1, 2, 3, 8, 59}) {
      Words part(n + 1, 7);
      expand_words(key, first, n, part.data());
      CHECK(std::equal(part.begin(), part.end() - 1, all.begin() + static_cast<std::ptrdiff_t>(first)));
      CHECK_EQ(part[n], u64{7});
    }
}

TEST(discarded_pages_leave_their_neighbours) {
  Words words(10000, 7);
  discard_pages(words.data() + 1, 8 * 9000);
  CHECK_EQ(words[0], u64{7});
  CHECK(std::all_of(words.begin() + 9001, words.end(), [](u64 word) { return word == 7; }));
  discard_pages(words.data(), 0);
}

TEST(memory_that_is_not_in_use_is_bounded) {
  constexpr std::size_t block = kMostIdle / 2;
  std::array<void*, 6> blocks;
  const auto take_all = [&] {
    for (void*& each : blocks) std::memset(each = acquire(block), 1, block);
  };
  const auto still_there = [&] {
    unsigned char resident;
    return std::count_if(blocks.begin(), blocks.end(), [&](void* each) { return mincore(each, 1, &resident) == 0; });
  };
  trim_memory();
  void* const ample = acquire(kAmple);  // never touched
  take_all();
  CHECK_EQ(still_there(), 6);
  for (void* each : blocks) release(each, block);
  CHECK_EQ(still_there(), 2);
  CHECK(acquire(block) == blocks.back());  // the one that was used last
  release(blocks.back(), block);
  release(ample, kAmple);
  trim_memory();
  take_all();
  for (void* each : blocks) release(each, block);
  CHECK_EQ(still_there(), 6);  // as long as there is little in all
  trim_memory();
  CHECK_EQ(still_there(), 0);
}

TEST(prg_stream_reserves_whole_blocks) {
  const Key key = random_key();
  Stream one(key), two(key);
  CHECK_EQ(one.reserve(1), u64{0});
  CHECK_EQ(one.reserve(16), u64{1});
  CHECK_EQ(one.reserve(0), u64{2});
  CHECK_EQ(one.reserve(33), u64{2});
  CHECK_EQ(one.reserve(8), u64{5});
  u64 a[4], b[2];
  one.fill(two.reserve(32), 0, a, 32);
  two.fill(0, 16, b, 16);
  CHECK(std::memcmp(a + 2, b, 16) == 0);
}

// More keys than a thread keeps contexts, on several threads.
TEST(prg_many_keys_and_threads) {
  std::vector<Key> keys(9);
  std::vector<u64> first(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    keys[i] = random_key();
    expand(keys[i], 3, &first[i], 8);
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> workers;
  for (unsigned t = 0; t < 4; ++t)
    workers.emplace_back([&, t] {
      Rng rng(t);
      for (int round = 0; round < 500; ++round) {
        const std::size_t i = rng() % keys.size();
        u64 word;
        expand(keys[i], 3, &word, 8);
        wrong += word != first[i];
      }
    });
  for (std::thread& worker : workers) worker.join();
  CHECK_EQ(wrong.load(), 0);
}

const long double kTurn = 2 * std::acos(-1.0L);

long double error(const Phasor& p, long double turns, int bits) {
  const long double re = std::ldexp(std::cos(kTurn * turns), bits), im = std::ldexp(std::sin(kTurn * turns), bits);
  return std::max(std::fabs(static_cast<long double>(p.re) - re), std::fabs(static_cast<long double>(p.im) - im));
}

TEST(phasor_table_error_and_symmetry) {
  for (int bits : {0, 1, 14, 20, 28, 30}) {
    const Phasor* table = phasor_table(bits);
    CHECK(table == phasor_table(bits));
    long double worst = 0;
    bool symmetric = true;
    for (u32 j = 0; j < 65536; ++j) {
      const Phasor p = table[j], quarter = table[(j + 16384) & 0xffff], mirror = table[(65536 - j) & 0xffff];
      worst = std::max(worst, error(p, j / 65536.0L, bits));
      symmetric &= quarter.re == -p.im && quarter.im == p.re && mirror.re == p.re && mirror.im == -p.im;
    }
    CHECK(worst <= 0.5001L);  // stated: 1
    CHECK(symmetric);
  }
  CHECK_EQ(phasor_table(30)[0].re, 1 << 30);
  CHECK_EQ(phasor_table(30)[8192].re, 759250125);  // 2^30/√2
}

TEST(phasor32_error) {
  Rng rng(7);
  for (int bits : {0, 8, 20, 28, 30}) {
    long double worst = 0;
    for (int i = 0; i < 50000; ++i) {
      const u32 angle = i < 64 ? u32{1} << (i / 2) : static_cast<u32>(rng());
      worst = std::max(
          worst, error(phasor32(i % 2 ? angle : ~angle + 1, bits), (i % 2 ? angle : ~angle + 1) / 4294967296.0L, bits));
    }
    CHECK(worst <= 2);
  }
  for (u32 j = 0; j < 65536; j += 257) {
    const Phasor p = phasor32(j << 16, 24), q = phasor_table(24)[j];
    CHECK(std::abs(p.re - q.re) <= 1 && std::abs(p.im - q.im) <= 1);
  }
  CHECK_THROWS(phasor_table(31), std::invalid_argument);
  CHECK_THROWS(phasor32(0, -1), std::invalid_argument);
}

// The same bits on every machine: FNV-1a of all entries.
TEST(phasor_bits_are_pinned) {
  u64 hash = 0xcbf29ce484222325;
  const auto mix = [&](const Phasor& p) {
    for (i32 part : {p.re, p.im}) hash = (hash ^ static_cast<u32>(part)) * 0x100000001b3;
  };
  for (u32 j = 0; j < 65536; ++j) mix(phasor_table(30)[j]);
  for (u32 j = 0; j < 65536; ++j) mix(phasor32(j * 65537u * 257u, 28));
  CHECK_EQ(hash, u64{4661165910005149863u});
}

TEST(parallel_for_covers_once) {
  const unsigned before = threads();
  for (unsigned count : {1u, 2u, 4u}) {
    set_threads(count);
    for (std::size_t n : {0, 1, 7, 100, 4097})
      for (std::size_t grain : {0, 1, 10, 5000}) {
        std::vector<std::atomic<int>> seen(n);
        std::atomic<int> short_ranges{0};
        parallel_for(n, grain, [&](std::size_t lo, std::size_t hi) {
          short_ranges += hi - lo < grain && hi != n;
          for (std::size_t i = lo; i < hi; ++i) ++seen[i];
        });
        CHECK(std::all_of(seen.begin(), seen.end(), [](const std::atomic<int>& times) { return times == 1; }));
        CHECK_EQ(short_ranges.load(), 0);
      }
  }
  set_threads(before);
}

TEST(parallel_for_serves_several_threads) {
  const unsigned before = threads();
  set_threads(3);
  std::atomic<std::size_t> sum{0}, inner{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int i = 0; i < 2000; ++i)
        parallel_for(64, 1, [&](std::size_t lo, std::size_t hi) {
          sum += hi - lo;
          parallel_for(2, 1, [&](std::size_t l, std::size_t h) { inner += h - l; });
        });
    });
  for (std::thread& caller : callers) caller.join();
  CHECK_EQ(sum.load(), std::size_t{4 * 2000 * 64});
  CHECK(inner >= 4 * 2000 * 2);
  set_threads(before);
}

TEST(parallel_for_passes_exceptions_on) {
  const unsigned before = threads();
  set_threads(3);
  for (int round = 0; round < 50; ++round)
    CHECK_THROWS(parallel_for(100, 1,
                              [](std::size_t lo, std::size_t hi) {
                                if (lo <= 50 && 50 < hi) throw std::runtime_error("stop");
                              }),
                 std::runtime_error);
  std::atomic<std::size_t> sum{0};
  parallel_for(100, 1, [&](std::size_t lo, std::size_t hi) { sum += hi - lo; });
  CHECK_EQ(sum.load(), std::size_t{100});
  set_threads(before);
}

TEST(parallel_for_nested_and_concurrent) {
  const unsigned before = threads();
  set_threads(3);
  std::atomic<std::size_t> sum{0};
  const auto loops = [&] {
    for (int round = 0; round < 20; ++round)
      parallel_for(10, 1, [&](std::size_t lo, std::size_t hi) {
        for (std::size_t i = lo; i < hi; ++i)
          parallel_for(10, 1, [&](std::size_t low, std::size_t high) { sum += high - low; });
      });
  };
  std::thread one(loops), two(loops);
  loops();
  one.join();
  two.join();
  CHECK_EQ(sum.load(), std::size_t{3 * 20 * 100});
  set_threads(before);
}

TEST(memory_is_that_of_the_tightest_control_group) {
  namespace fs = std::filesystem;
  const fs::path root = fs::temp_directory_path() / ("secfwt-groups-" + std::to_string(std::random_device()()));
  const auto write = [&](const char* name, const char* text) {
    fs::create_directories((root / name).parent_path());
    std::ofstream(root / name) << text;
    return (root / name).string();
  };
  const std::string none = write("none", ""), two = write("two", "0::/a/b\n");
  const std::string one = write("one", "12:pids:/a\n4:cpu,memory:/a/b\n");
  const u64 host = usable_memory(none, root.string());
  const auto found = [&](const std::string& groups) { return usable_memory(groups, root.string()); };
  CHECK(host > (1 << 20));
  CHECK_EQ(found((root / "missing").string()), host);
  CHECK_EQ(found(two), host);  // no limits anywhere
  write("a/b/memory.max", "max\n");
  CHECK_EQ(found(two), host);
  write("a/memory.max", "2000000\n");
  CHECK_EQ(found(two), u64{2000000});
  write("a/b/memory.max", "1000000\n");
  CHECK_EQ(found(two), u64{1000000});
  CHECK_EQ(found(one), host);
  write("memory/memory.limit_in_bytes", "3000000\n");  // a container that does not see its own path
  CHECK_EQ(found(one), u64{3000000});
  write("memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK_EQ(found(one), u64{3000000});
  fs::remove_all(root);
}

}  // namespace
}  // namespace secfwt
