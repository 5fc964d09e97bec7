// The protocols and the interpreter, three parties as threads: exactness, traffic, and what a single party gets to see.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <string>
#include <thread>

#include "mpc/bits.h"
#include "mpc/harmonics.h"
#include "mpc/reshare.h"
#include "mpc/tiles.h"
#include "parties.h"
#include "ring/isa.h"

using namespace secfwt;
using namespace secfwt::test;

// What the block kernels make of random inputs, as one sequence of bytes.
std::vector<u8> kernels(std::size_t n) {
  std::vector<u8> out;
  const auto take = [&](const auto& values) {
    const u8* bytes = reinterpret_cast<const u8*>(values.data());
    out.insert(out.end(), bytes, bytes + values.size() * sizeof(values[0]));
  };
  Words words(4 * n);
  expand(Key{1}, 0, words.data(), words.size() * 8);
  std::vector<u32> angles(n), sum(n);
  std::vector<u16> coarse(n);
  std::memcpy(angles.data(), words.data(), 4 * n);
  std::memcpy(coarse.data(), words.data(), 2 * n);
  std::vector<i32> re(n), im(n);
  for (int bits : {13, 14, 15, 30})
    for (u32 m : {1u, 7u, 511u}) {
      phasors(coarse.data(), m, bits, n, re.data(), im.data());
      take(re), take(im);
      phasors(angles.data(), m, bits, n, re.data(), im.data());
      take(re), take(im);
      add_real(re.data(), im.data(), words.data(), words.data() + n, n, words.data() + 2 * n);
      add_imag(re.data(), im.data(), angles.data(), angles.data(), n, sum.data());
      take(words), take(sum);
      amplitudes(re.data(), im.data(), 0.7, -1.3, n, words.data(), words.data() + n);
      amplitudes(re.data(), im.data(), 1.0 / 3, 1e-5, n, angles.data(), sum.data());
      take(words), take(angles), take(sum);
    }
  const u8* bits = reinterpret_cast<const u8*>(angles.data());
  std::vector<u8> packed(8 * n);
  masked_top_bits(words.data(), n, 64, u64{1} << 62, bits, packed.data());
  shift_left_summand(words.data(), n, 64, 20, bits, packed.data(), words.data() + n);
  shift_right_summand(words.data() + 2 * n, n, 32, 0, bits, packed.data(), words.data() + n);
  take(words), take(packed);
  return out;
}

TEST(kernels_give_the_same_bits_for_every_instruction_set) {
  const Isa before = current_isa();
  for (std::size_t n : {1, 63, 64, 200, 1000}) {
    set_isa(Isa::portable);
    const std::vector<u8> expected = kernels(n);
    for (Isa isa : {Isa::avx2, Isa::avx512, Isa::amx}) {
      try {
        set_isa(isa);
      } catch (const std::invalid_argument&) {
        continue;
      }
      CHECK(kernels(n) == expected);
    }
    set_isa(before);
  }
}

TEST(truncation_is_exact_to_one_unit_for_every_shift) {
  constexpr i64 limit = (i64{1} << 62) - 1;
  for (int shift = 1; shift <= 62; ++shift) {
    Words z = random_words(300);
    for (u64& x : z) x = static_cast<u64>(static_cast<i64>(x) >> (1 + x % 60));
    for (i64 x : {i64{0}, i64{1}, i64{-1}, limit, -limit, limit - 1, (i64{1} << shift) - 1, -(i64{1} << (shift - 1))})
      z.push_back(static_cast<u64>(x));
    const Result r = apply(truncation(shift), additive(z), 1, random_keys());
    for (std::size_t i = 0; i < z.size(); ++i) {
      const i64 error = static_cast<i64>(r.z[i]) - (static_cast<i64>(z[i]) >> shift);
      CHECK(error == 0 || error == 1);
    }
    CHECK_EQ(r.trace.rounds, u64{3});
  }
}

TEST(truncation_sends_what_is_documented) {
  for (int shift : {1, 16, 33, 62}) {
    const std::size_t n = 3 * 20000;
    const u64 bytes = apply(truncation(shift), additive(random_words(n)), 1, random_keys()).trace.bytes;
    CHECK_EQ(bytes, 3 * (20000 * 24 + 2 * 2500 + u64{2500} * static_cast<u64>(shift)));
  }
}

// From a ring into a smaller one, where wraps vanish, and into a larger one, where they are taken away.
TEST(truncation_from_every_ring_into_every_ring) {
  for (int source : {33, 40, 52, 64})
    for (int shift : {1, 7, 16, 30})
      for (int ring : {8, 21, 36, 57, 64}) {
        const bool wide = ring > source - shift;
        Words z = random_words(400);
        for (u64& x : z) x = static_cast<u64>(number(x, source) >> (wide ? 1 + x % 20 : 0));
        if (wide)
          for (u64& x : z) x = static_cast<u64>(number(x, source - 1));  // |z| < 2^(source-2)
        const auto x = with_noise_above(additive(z), source);
        const Result r = apply(wide ? truncation(shift, source, ring) : resharing(shift, ring), x, 1, random_keys());
        for (std::size_t i = 0; i < z.size(); ++i) {
          const i64 whole = static_cast<i64>(z[i]) >> shift;
          const i64 error = number(r.z[i] - static_cast<u64>(whole), ring);
          CHECK(wide ? error == 0 || error == 1 : error >= -1 && error <= 2);
        }
        CHECK_EQ(r.trace.rounds, wide ? u64{3} : u64{1});
      }
}

// To one and a half units, and as much inside the range that a wrap can be told in.
TEST(opened_truncation_from_every_ring_into_every_ring) {
  for (int source : {12, 33, 40, 52, 64})
    for (int shift : {1, 2, 7, 16, 30, source - 4, source - 3})
      for (int ring : {8, 21, 36, 57, 64}) {
        const int kept = source - shift;
        if (kept < 3 || ring <= kept) continue;
        const i64 limit = (i64{1} << (source - 2)) - (i64{3} << (shift - 1)) - 1;
        Words z;
        for (u64 x : random_words(300)) z.push_back(static_cast<u64>((number(x, source - 1) % (limit + 1)) >> x % 20));
        for (i64 x : {i64{0}, i64{1}, limit, limit - 1, (i64{1} << shift) - 1, i64{1} << (shift - 1)})
          for (i64 signed_x : {x, -x})
            if (std::abs(x) <= limit) z.push_back(static_cast<u64>(signed_x));
        const auto x = with_noise_above(additive(z), source);
        const Result r = apply(opened_truncation(shift, source, ring), x, 1, random_keys());
        double sum = 0;
        for (std::size_t i = 0; i < z.size(); ++i) {
          const i64 whole = static_cast<i64>(z[i]) >> shift;
          const double part = std::ldexp(static_cast<double>(z[i] & low_bits(shift)), -shift);
          const double error = static_cast<double>(number(r.z[i] - static_cast<u64>(whole), ring)) - part;
          CHECK(error > -1.5 && error <= 1.5);
          sum += error;
        }
        // Three roundings of shares, each 1/2 − 2^-(shift+1) on average: nine standard deviations.
        CHECK(std::abs(sum / static_cast<double>(z.size()) - std::ldexp(1.5, -shift)) < 0.3);
        CHECK_EQ(r.trace.rounds, u64{2});
      }
}

// Every opened δ and every wrap: eight upper bits, whose mask takes all values.
TEST(opened_truncation_is_right_for_every_mask) {
  const int source = 10, shift = 2, ring = 12;  // |z| < 250
  for (i64 value : {-249, -248, -3, 0, 1, 100, 249}) {
    const Words z(3 * 4096, static_cast<u64>(value));
    const Result r = apply(opened_truncation(shift, source, ring), additive(z), 1, random_keys());
    for (u64 y : r.z) CHECK(std::abs(static_cast<double>(number(y, ring)) - static_cast<double>(value) / 4) <= 1.5);
  }
}

// Whatever the number, at most three quarters of the small ring: what bounds prompt rows.
TEST(opened_truncation_bounds_what_it_makes) {
  const Result r = apply(opened_truncation(27, 36, 37), additive(random_words(9000)), 1, random_keys());
  for (u64 y : r.z) CHECK(std::abs(number(y, 37)) <= 3 * (i64{1} << (36 - 2 - 27)));
}

TEST(opened_truncation_sends_what_is_documented) {
  for (auto [source, shift, ring] : {std::array{64, 1, 64}, {50, 20, 36}, {64, 61, 64}, {38, 12, 64}}) {
    const int kept = source - shift, wide = ring - kept;
    const u64 bytes =
        apply(opened_truncation(shift, source, ring), additive(random_words(24000)), 1, random_keys()).trace.bytes;
    CHECK_EQ(bytes, u64{3000} * static_cast<u64>(2 * kept + ring + 3 * wide));
    CHECK_EQ(bytes, u64{3000} * static_cast<u64>(4 * ring - kept));
  }
}

TEST(a_replicated_value_is_truncated_without_being_handed_over) {
  for (int ring : {8, 28, 36, 64}) {
    const bool wide = ring > 40 - 12;
    Words z = random_words(3000);
    for (u64& x : z) x = static_cast<u64>(number(x, 39));
    const auto x = with_noise_above(additive(z), 40);
    const Result r = apply(held_truncation(x, 12, 40, ring), x, 1, random_keys());
    for (std::size_t i = 0; i < z.size(); ++i) {
      const i64 error = number(r.z[i] - static_cast<u64>(static_cast<i64>(z[i]) >> 12), ring);
      CHECK(error == 0 || error == 1);
    }
    CHECK_EQ(r.trace.rounds, wide ? u64{2} : u64{1});
    const int sent = 2 * ring + (wide ? 2 + ring - 28 : 0);
    CHECK_EQ(r.trace.bytes, 3 * 1000 * static_cast<u64>(sent) / 8);
  }
}

TEST(truncation_into_a_small_ring_is_centred_and_packed) {
  const std::size_t n = 3 * 20000;
  const Words z = random_words(n);
  const Result r = apply(resharing(20, 37), additive(z), 1, random_keys());
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double part = std::ldexp(static_cast<double>(z[i] & ((1 << 20) - 1)), -20);
    const double error = static_cast<double>(number(r.z[i] - (z[i] >> 20), 37)) - part;
    CHECK(std::abs(error) < 1.5);
    sum += error;
  }
  CHECK(std::abs(sum / static_cast<double>(n)) < 0.02);  // a deviation of 1/2: nine standard deviations
  CHECK_EQ(r.trace.bytes, 3 * n * 37 / 8);
}

TEST(series_in_every_ring) {
  for (int k : {16, 32})
    for (int sum : {30, 32, 41, 64})
      for (int shift : {0, 5, 13})
        for (int ring : {12, 25, 38, 64}) {
          const Fit fit = example_fit(k, sum);
          const bool wide = ring > sum - shift;
          const Words z = random_words(300);
          const Result r = apply(series(fit, shift, ring), additive(z), 1, random_keys());
          const double unit = std::ldexp(1.0, shift - 26);
          double bound = 2e-8 + (shift > 0 ? unit : 0);
          for (const Harmonic& h : fit.harmonics) {
            const double amplitude = std::hypot(h.re, h.im);
            bound += amplitude * 2 * M_PI * h.m * 1.5 * std::ldexp(1.0, -k) + std::ldexp(0.75 + 3 * amplitude, -13);
          }
          for (std::size_t i = 0; i < z.size(); ++i) {
            const double f = evaluate(fit, std::ldexp(static_cast<double>(z[i]), -64));
            const i64 expected = std::llrint(f / unit);
            CHECK(std::abs(static_cast<double>(number(r.z[i] - static_cast<u64>(expected), ring))) * unit <
                  bound + unit);
          }
          CHECK_EQ(r.trace.rounds, wide ? u64{3} : u64{2});
        }
}

TEST(series_with_a_tail) {
  for (int k : {8, 13, 16, 25, 32})
    for (int sum : {30, 41, 64})
      for (bool lifts : {false, true})
        for (int ring : {12, 38, 64}) {
          const Fit fit = tailed_fit(k, sum, lifts);
          const int shift = 5;
          const Words z = random_words(700);
          const Result r = apply(series(fit, shift, ring), additive(z), 1, random_keys());
          const double unit = std::ldexp(1.0, shift - 26);
          double bound = unit;
          for (const Harmonic& h : fit.harmonics) {
            const double amplitude = std::hypot(h.re, h.im);
            bound += amplitude * 2 * M_PI * h.m * 1.5 * std::ldexp(1.0, -k) + std::ldexp(0.75, -13) +
                     std::ldexp(3 * amplitude, h.m == 1 ? -13 : -10);
          }
          for (std::size_t i = 0; i < z.size(); ++i) {
            const double f = evaluate(fit, std::ldexp(static_cast<double>(z[i]), -64));
            const i64 expected = std::llrint(f / unit);
            CHECK(std::abs(static_cast<double>(number(r.z[i] - static_cast<u64>(expected), ring))) * unit <
                  bound + unit);
          }
          const u64 wide = ring > sum - shift;
          CHECK_EQ(r.trace.rounds, 2 + wide + lifts);
        }
}

TEST(fourier_meets_its_bound) {
  for (int k : {16, 32})
    for (int ring : {32, 64}) {
      const Fit fit = example_fit(k, ring);
      const Words z = random_words(5000);
      const Result r = apply(series(fit), additive(z), 1, random_keys());
      double bound = 2e-8;
      for (const Harmonic& h : fit.harmonics) {
        const double amplitude = std::hypot(h.re, h.im);
        bound += amplitude * 2 * M_PI * h.m * 1.5 * std::ldexp(1.0, -k) + std::ldexp(0.75 + 3 * amplitude, -13);
      }
      for (std::size_t i = 0; i < z.size(); ++i) {
        const double f = std::ldexp(static_cast<double>(static_cast<i64>(r.z[i])), -26);
        CHECK(std::abs(f - evaluate(fit, std::ldexp(static_cast<double>(z[i]), -64))) < bound);
      }
      CHECK_EQ(r.trace.rounds, ring == 32 ? u64{3} : u64{2});
    }
}

TEST(cos_sin_fills_rows_with_cosines_then_sines) {
  const Fit fit = unit_fit();
  const std::size_t width = 7;
  const Words z = random_words(30 * width);
  const Result r = apply(
      [&](Party& party, int rotation, const u64* x, std::size_t n, Target out) {
        return make_cos_sin(Seat(party, rotation), pool_of(party, fit), x, n / width, width, fit, 0, 64, out);
      },
      additive(z), 2, random_keys());
  for (std::size_t i = 0; i < z.size(); ++i) {
    const double angle = 2 * M_PI * std::ldexp(static_cast<double>(z[i]), -64);
    const std::size_t at = i / width * 2 * width + i % width;
    CHECK(std::abs(std::ldexp(static_cast<double>(static_cast<i64>(r.z[at])), -28) - std::cos(angle)) < 4e-4);
    CHECK(std::abs(std::ldexp(static_cast<double>(static_cast<i64>(r.z[at + width])), -28) - std::sin(angle)) < 4e-4);
  }
}

TEST(reshare_keeps_the_value) {
  const Words z = random_words(10001);
  const auto x = additive(z);
  Words x0[3], x1[3];
  const Trace trace = run(random_keys(), [&](Party& party) {
    Words &y0 = x0[party.id], &y1 = x1[party.id];
    y0.resize(z.size());
    y1.resize(z.size());
    Tasks tasks;
    tasks.push_back(
        std::make_unique<Reshare>(party, x[party.id].data(), z.size(), 0, 64, Target{y0.data(), y1.data()}));
    run_tasks(tasks, party);
  });
  for (std::size_t i = 0; i < z.size(); ++i) CHECK_EQ(x0[0][i] + x0[1][i] + x0[2][i], z[i]);
  for (int i = 0; i < 3; ++i) CHECK(x1[i] == x0[(i + 1) % 3] && x0[i] != x[i]);
  CHECK_EQ(trace.bytes, u64{24} * z.size());
}

TEST(what_a_party_receives_is_masked_by_the_key_it_lacks) {
  const Words same(30000, 0x0123456789abcdef >> 2);
  check_hiding(truncation(16), same);
  check_hiding(truncation(1), same);
  for (int shift : {1, 16, 61}) check_hiding(opened_truncation(shift), same);
  for (int ring : {32, 64}) {
    const Fit fit16 = example_fit(16, ring), fit32 = example_fit(32, ring);
    check_hiding(series(fit16), same);
    check_hiding(series(fit32), same);
  }
  for (int k : {12, 16, 27}) {
    const Fit fit = tailed_fit(k, 41, true);
    check_hiding(series(fit, 5, 41), same);
  }
}

TEST(so_is_what_a_party_receives_in_a_narrow_ring) {
  const Words same(30000, 0x0123456789abcdef >> 34);
  check_hiding(truncation(12, 38, 36), same);
  check_hiding(truncation(7, 33, 57), same);
  check_hiding(opened_truncation(12, 38, 36), same);
  check_hiding(opened_truncation(12, 38, 27), same);  // one bit of a table's entry
  check_hiding(opened_truncation(7, 33, 57), same);
  // A replicated value: its receiver knows two of the components, and lacks the key of the third.
  for (int ring : {28, 36}) {
    const auto x = additive(same);
    for (int i = 0; i < 3; ++i) {
      Keys keys = random_keys();
      const Trace first = apply(held_truncation(x, 12, 40, ring), x, 1, keys).trace;
      keys[(i + 2) % 3] = random_key();
      const Trace second = apply(held_truncation(x, 12, 40, ring), x, 1, keys).trace;
      CHECK(uniform(first.from_prev[i]) && uniform(first.from_next[i]));
      CHECK(uniform(difference(first.from_prev[i], second.from_prev[i])));
      CHECK(uniform(difference(first.from_next[i], second.from_next[i])));
    }
  }
  for (int sum : {30, 41}) {
    const Fit fit = example_fit(16, sum);
    check_hiding(series(fit, 13, 38), same);
    check_hiding(series(fit, 13, 12), same);
  }
  // A reshare goes one way round.
  for (auto [shift, ring] : {std::pair{0, 37}, {16, 37}, {40, 11}}) {
    const auto x = additive(same);
    for (int i = 0; i < 3; ++i) {
      Keys keys = random_keys();
      const Trace first = apply(resharing(shift, ring), x, 1, keys).trace;
      keys[(i + 2) % 3] = random_key();
      const Trace second = apply(resharing(shift, ring), x, 1, keys).trace;
      CHECK(first.from_prev[i].empty() && uniform(first.from_next[i]));
      CHECK(uniform(difference(first.from_next[i], second.from_next[i])));
    }
  }
}

// Every message has a pad of its own: two that shared one would leave a party less to draw than its messages take.
TEST(pads_are_drawn_once_for_every_use) {
  const std::size_t n = 1024, bits = n / 8, word = 8 * n;  // whole cipher blocks
  struct Drawn {
    std::size_t key0, key2;  // bytes; key 1 masks nothing
  };
  const auto check = [&](const Protocol& protocol, Drawn expected) {
    const auto x = additive(random_words(n));
    run(random_keys(), [&](Party& party) {
      Words y0(2 * n), y1(2 * n);
      Tasks tasks;
      tasks.push_back(protocol(party, 0, x[party.id].data(), n, Target{y0.data(), y1.data()}));
      run_tasks(tasks, party);
      const std::size_t drawn[3] = {expected.key0, 0, expected.key2};
      CHECK_EQ(16 * party.stream0.used(), drawn[party.id]);
      CHECK_EQ(16 * party.stream1.used(), drawn[(party.id + 1) % 3]);
    });
  };
  // The handed-over share, a bit, its product, the result's component; a bit and the result's component.
  check(truncation(16), {word + bits + word + word, bits + word});
  // The mask with one entry's part, the other's, and component 0; the mask with one entry's part.
  check(opened_truncation(16), {3 * word, word});
  for (int k : {16, 32})
    for (int ring : {32, 64}) {
      const Fit fit = example_fit(k, ring);
      // The lift, then the result's components; pads of the opening come from the tuples' own streams.
      const std::size_t lift0 = ring == 32 ? bits + word : 0, lift2 = ring == 32 ? bits : 0;
      check(series(fit), {lift0 + word, lift2 + word});
      const Fit tailed = tailed_fit(k, ring, true);
      check(series(tailed), {bits + word + lift0 + word, bits + lift2 + word});
    }
}

// Whatever the pool, the role and the tuple: no eight bytes of a key's pads occur twice.
TEST(tuples_have_pads_of_their_own) {
  const Fit wide = example_fit(32, 64), narrow = example_fit(16, 32);
  run(random_keys(), [&](Party& party) {
    std::vector<std::vector<u8>> pads;
    for (u64 number = 0; number < 4; ++number) {
      TuplePool pool(party, number, number % 2 == 0 ? wide : narrow, *party.prev, *party.next);
      for (Role role : {LEFT, RIGHT, HELPER}) {
        pool.take(role, 77);
        const u64 first = pool.take(role, 4000);
        CHECK_EQ(first, u64{77});
        pads.emplace_back(4000 * sizeof(u32));
        if (number % 2 == 0)
          pool.pads(role, first, 4000, reinterpret_cast<u32*>(pads.back().data()));
        else
          pool.pads(role, first, 4000, reinterpret_cast<u16*>(pads.back().data()));
      }
    }
    pads.emplace_back(16384);  // what tasks draw
    party.stream0.fill(0, 0, pads.back().data(), 16384);
    std::vector<const std::vector<u8>*> all;
    for (auto& bytes : pads) {
      if (&bytes != &pads.back() && (all.size() / 3) % 2 == 1) bytes.resize(4000 * sizeof(u16));
      all.push_back(&bytes);
    }
    CHECK(distinct_words(all));
  });
}

// The same shares everywhere, and amplitudes of zero, so that nothing but pads tells one value from another: in all
// that a party receives and in the components of its result, pads themselves, no eight bytes occur twice.
TEST(no_pad_is_used_for_two_values) {
  constexpr std::size_t n = 3 * 128 * 150;  // several blocks a third, and whole words everywhere
  std::array<Words, 3> x;
  for (Words& share : x) share.assign(n, random_words(1)[0] >> 4);
  Words y0[3], y1[3];
  const auto check = [&](const Protocol& protocol) {
    const Trace trace = run(random_keys(), [&](Party& party) {
      y0[party.id].resize(n);
      y1[party.id].resize(n);
      Tasks tasks;
      for (int t = 0; t < 3; ++t)
        tasks.push_back(protocol(party, t, x[party.id].data() + t * n / 3, n / 3,
                                 Target{y0[party.id].data() + t * n / 3, y1[party.id].data() + t * n / 3}));
      run_tasks(tasks, party);
    });
    for (int i = 0; i < 3; ++i) {
      CHECK(distinct_words({&trace.from_prev[i], &trace.from_next[i]}));
      const auto* result = reinterpret_cast<const u8*>(y0[i].data());
      const std::vector<u8> bytes(result, result + 8 * n);
      CHECK(distinct_words({&bytes}));
    }
  };
  check(truncation(1));
  check(truncation(16));
  for (int k : {16, 32})
    for (int ring : {32, 64}) {
      Fit fit = example_fit(k, ring);
      Fit tailed = tailed_fit(k, ring, true);
      for (Harmonic& harmonic : fit.harmonics) harmonic = {1, 0.0, 0.0};
      tailed.harmonics = fit.harmonics;
      check(series(fit));
      check(series(tailed));
    }
}

// What masks the top bits that LEFT and RIGHT exchange: with the key of the pad before it, the test can tell.
TEST(top_bits_have_pads_of_their_own) {
  constexpr std::size_t n = 128 * 600;
  const auto x = additive(Words(n, 1));
  const Keys keys = random_keys();
  const Trace trace = run(keys, [&](Party& party) {
    Words y0(n), y1(n);
    Tasks tasks;
    tasks.push_back(truncation(16)(party, 0, x[party.id].data(), n, Target{y0.data(), y1.data()}));
    run_tasks(tasks, party);
  });
  Words handed(n);
  expand(keys[0], 0, handed.data(), 8 * n);
  std::vector<u8> left(trace.from_prev[1].begin(), trace.from_prev[1].begin() + n / 8);
  std::vector<u8> right(trace.from_next[0].begin(), trace.from_next[0].begin() + n / 8);
  for (std::size_t i = 0; i < n; ++i) {
    const u64 a = x[0][i] + handed[i] + (u64{1} << 62), b = x[1][i] + x[2][i] - handed[i];
    left[i / 8] ^= static_cast<u8>((~a >> 63) << (i % 8));
    right[i / 8] ^= static_cast<u8>((~b >> 63) << (i % 8));
  }
  CHECK(distinct_words({&left, &right}));
}

// LEFT and RIGHT receive two messages each: were they masked by one pad, their difference would give a secret away.
TEST(the_two_messages_of_an_opening_are_masked_independently) {
  const Fit fit = example_fit(16, 32);
  const auto x = additive(Words(30000, 12345));
  const std::size_t n = x[0].size();
  for (int i : {LEFT, RIGHT}) {
    Keys keys = random_keys();
    std::array<std::vector<u16>, 2> gaps;
    for (auto& gap : gaps) {
      keys[(i + 2) % 3] = random_key();
      const Trace trace = run(keys, [&](Party& party) {
        Words y0(n), y1(n);
        Tasks tasks;
        tasks.push_back(make_fourier(Seat(party, LEFT), pool_of(party, fit), x[party.id].data(), n, fit, 0, 64,
                                     Target{y0.data(), y1.data()}));
        run_tasks(tasks, party);
      });
      std::vector<u16> other(n);  // both streams begin with a message of the opening
      gap.resize(n);
      std::memcpy(gap.data(), trace.from_prev[i].data(), n * sizeof(u16));
      std::memcpy(other.data(), trace.from_next[i].data(), n * sizeof(u16));
      for (std::size_t j = 0; j < n; ++j) gap[j] = static_cast<u16>(gap[j] - other[j]);
    }
    std::vector<u8> low, high;
    for (std::size_t j = 0; j < n; ++j) {
      const u16 change = static_cast<u16>(gaps[0][j] - gaps[1][j]);
      low.push_back(static_cast<u8>(change));
      high.push_back(static_cast<u8>(change >> 8));
    }
    CHECK(uniform(low) && uniform(high));
  }
}

// All that LEFT, and all that RIGHT, receives of one value, beside the pads that it knows: every combination is as
// frequent as any other, whatever the secret and the shares.
TEST(what_an_opened_truncation_tells_is_uniform_as_a_whole) {
  constexpr int kSource = 12, kShift = 9, kRing = 4, kKept = 3, kWide = 1;
  constexpr std::size_t n = 131072;  // one message of each kind
  for (u64 secret : {0, 511, 1, 1027}) {
    const std::array<Words, 3> x{Words(n, 77), Words(n, 3001), Words(n, secret - 3078)};
    const Keys keys = random_keys();
    const Trace trace = run(keys, [&](Party& party) {
      Words y0(n), y1(n);
      Tasks tasks;
      tasks.push_back(
          opened_truncation(kShift, kSource, kRing)(party, LEFT, x[party.id].data(), n, Target{y0.data(), y1.data()}));
      run_tasks(tasks, party);
    });
    struct Column {
      Words words;
      int bits;
    };
    const auto pad = [&](int key, std::size_t place, int bits) {
      Column column{Words(n), bits};
      expand_words(keys[key], place * n, n, column.words.data());
      return column;
    };
    const auto received = [&](const std::vector<u8>& stream, std::size_t before, int bits) {
      Column column{Words(n), bits};
      unpack_bits(stream.data() + n * before / 8, n, bits, column.words.data());
      return column;
    };
    const auto check = [&](const std::vector<Column>& columns) {
      int bits = 0;
      for (const Column& column : columns) bits += column.bits;
      std::vector<double> count(std::size_t{1} << bits);
      for (std::size_t i = 0; i < n; ++i) {
        u64 cell = 0;
        for (const Column& column : columns) cell = cell << column.bits | (column.words[i] & low_bits(column.bits));
        ++count[cell];
      }
      const double expected = static_cast<double>(n) / static_cast<double>(count.size());
      double chi2 = 0;
      for (double c : count) chi2 += (c - expected) * (c - expected) / expected;
      const double freedom = static_cast<double>(count.size() - 1);
      CHECK(std::abs(chi2 - freedom) < 8 * std::sqrt(2 * freedom));
    };
    const auto& left = trace.from_next[LEFT];
    check(
        {received(left, 0, kKept), received(left, kKept, kWide), pad(0, 0, kRing), pad(0, 1, kRing), pad(0, 2, kWide)});
    const auto &from_left = trace.from_prev[RIGHT], &from_helper = trace.from_next[RIGHT];
    check({received(from_left, 0, kKept), received(from_left, kKept, kWide), received(from_helper, 0, kRing),
           received(from_helper, kRing, kWide), pad(2, 0, kRing)});
    CHECK(trace.from_prev[HELPER].empty() && trace.from_next[HELPER].empty());
  }
}

TEST(engine_runs_stages_and_tiles) {
  const std::string text =
      "secfwt-program 4\n"
      "v 0 setup rep 8 4x3 weight - name=w\n"
      "v 1 example rep 8 5x4 example - name=x\n"
      "v 2 candidate rep 8 4 candidate - name=z\n"
      "v 3 pair rep 8 5x4 add 1,2\n"
      "v 4 pair add 16 5x3 matmul 3,0\n"
      "v 5 pair rep 8 5x3 trunc 4 shift=8 group=1\n"
      "v 6 pair rep 8 5x1 sum 5 axis=-1\n"
      "v 7 candidate rep 8 5x1 reduce_examples 6\n"
      "out total 7\n"
      "out rows 6 max_candidates=2\n"
      "end\n";
  const Program program = parse_program(text);
  const std::size_t C = 2, E = 6;
  const auto small = [](std::size_t n) {
    Words words = random_words(n);
    for (u64& w : words) w = static_cast<u64>(static_cast<i64>(w) >> 50);
    return words;
  };
  const Words w = small(12), x = small(E * 20), z = small(C * 4);
  std::vector<i64> expected(C * 5);
  for (std::size_t c = 0; c < C; ++c)
    for (std::size_t e = 0; e < E; ++e)
      for (std::size_t t = 0; t < 5; ++t)
        for (std::size_t j = 0; j < 3; ++j) {
          i64 dot = 0;
          for (std::size_t i = 0; i < 4; ++i)
            dot += static_cast<i64>(x[(e * 5 + t) * 4 + i] + z[c * 4 + i]) * static_cast<i64>(w[i * 3 + j]);
          expected[c * 5 + t] += dot >> 8;
        }
  const auto ws = additive(w), xs = additive(x), zs = additive(z);
  const auto shares = [](const std::array<Words, 3>& s, int id) { return Shares{s[id], s[(id + 1) % 3]}; };
  for (std::size_t tile : {std::size_t{1}, std::size_t{50}, std::size_t{1} << 20})
    for (std::size_t count : {1, 2, 5}) {
      Words parts[3], rows[3];
      run_lanes(count, [&](Lanes& lanes) {
        const Party& party = lanes[0];
        Engine engine(program, lanes, tile, 0);
        engine.set_weights(shares(ws, party.id));
        engine.set_examples(3, E, shares(xs, party.id));
        CHECK_EQ(engine.setup_words(), u64{5 * 12});
        CHECK_EQ(engine.kept_setup_words(), u64{2 * 12});
        CHECK_EQ(engine.held_words(), u64{E * 2 * 20});
        CHECK_EQ(engine.held_words(3), u64{0});
        CHECK_EQ(engine.candidate_words(0, E), u64{2 * 4 + (count + 1) * 2 * 5 + 2 * 5});
        CHECK_EQ(engine.candidate_words(1, E), u64{2 * 4 + E * 2 * 5});
        parts[party.id] = engine.step(3, C, 0, shares(zs, party.id));
        rows[party.id] = engine.step(3, C, 1, shares(zs, party.id));
        CHECK_THROWS(engine.step(4, C, 0, shares(zs, party.id)), std::invalid_argument);
        CHECK_THROWS(engine.step(3, C + 1, 0, shares(zs, party.id)), std::invalid_argument);
        CHECK_THROWS(engine.step(3, 3, 1, Shares{Words(12), Words(12)}), std::invalid_argument);
      });
      CHECK_EQ(rows[0].size(), C * E * 5);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const i64 error = static_cast<i64>(parts[0][i] + parts[1][i] + parts[2][i]) - expected[i];
        CHECK(error >= 0 && error <= static_cast<i64>(3 * E));
      }
    }
}

TEST(tiles_are_few_in_every_lane_and_hold_no_more_than_they_may) {
  for (std::size_t candidates : {1, 2, 3, 9, 10, 65})
    for (std::size_t examples : {1, 2, 7, 16, 32})
      for (std::size_t most : {1, 5, 16, 72, 3000})
        for (std::size_t lanes : {1, 2, 5}) {
          const Cut tiles = cut(candidates, examples, most, lanes);
          CHECK(tiles.candidates.largest() * tiles.examples.largest() <= most);
          CHECK(tiles.count() * most >= candidates * examples);
        }
  const auto counts = [](const Cut& tiles) { return std::array{tiles.candidates.count(), tiles.examples.count()}; };
  CHECK((counts(cut(8, 16, 64, 2)) == std::array<std::size_t, 2>{1, 2}));
  CHECK((counts(cut(9, 16, 72, 2)) == std::array<std::size_t, 2>{1, 2}));
  CHECK((counts(cut(3, 32, 48, 2)) == std::array<std::size_t, 2>{1, 2}));
  CHECK((counts(cut(1, 16, 8, 2)) == std::array<std::size_t, 2>{1, 2}));
}

TEST(engine_deals_ahead_while_it_runs_and_between_steps) {
  const Program program = parse_program(
      "secfwt-program 4\n"
      "fit 0 k=16 fc=13 fa=13 ring=32 const=0.5 m=1,3 re=1,0 im=0,0.5\n"
      "v 0 candidate rep 64 3000 candidate - name=z\n"
      "v 1 example rep 64 3000 example - name=x\n"
      "v 2 pair rep 64 3000 add 0,1\n"
      "v 3 pair rep 26 3000 fourier 2 fit=0 group=0\n"
      "v 4 pair rep 26 6000 cos_sin 2 k=32 fc=13 fa=13 group=0\n"
      "out wave 3\n"
      "out circle 4\n"
      "end\n");
  const std::size_t C = 2, E = 3;
  const Words z = random_words(C * 3000), x = random_words(E * 3000);
  const auto zs = additive(z), xs = additive(x);
  const auto shares = [](const std::array<Words, 3>& parts, int i) { return Shares{parts[i], parts[(i + 1) % 3]}; };
  for (u64 ahead : {u64{0}, u64{50000}, u64{1} << 30}) {
    std::array<Words, 3> waves[4];
    run_lanes(
        2,
        [&](Lanes& lanes) {
          const int id = lanes[0].id;
          Engine engine(program, lanes, 6000, ahead);
          engine.set_weights({});
          engine.set_examples(0, E, shares(xs, id));
          for (auto& wave : waves) {
            wave[id] = engine.step(0, C, 0, shares(zs, id));
            engine.step(0, 1, 1,
                        Shares{Words(zs[id].begin(), zs[id].begin() + 3000),
                               Words(zs[(id + 1) % 3].begin(), zs[(id + 1) % 3].begin() + 3000)});
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
          }
        },
        program.fits);
    for (const auto& wave : waves)
      for (std::size_t i = 0; i < C * E * 3000; ++i) {
        const u64 phase = z[i / (E * 3000) * 3000 + i % 3000] + x[i % (E * 3000)];
        const double f = std::ldexp(static_cast<double>(static_cast<i64>(wave[0][i] + wave[1][i] + wave[2][i])), -26);
        CHECK(std::abs(f - evaluate(program.fits[0], std::ldexp(static_cast<double>(phase), -64))) < 2e-3);
      }
  }
}

// An output that no protocol has touched: without its share of zero, the client would get the shares of the inputs.
TEST(results_are_masked_by_a_fresh_share_of_zero) {
  const std::size_t n = 8192;
  const Program program = parse_program(
      "secfwt-program 4\n"
      "v 0 candidate rep 0 8192 candidate - name=z\n"
      "v 1 candidate rep 0 8192 add 0,0\n"
      "out double 1\n"
      "end\n");
  const Words z = random_words(n);
  const auto x = additive(z);
  std::array<Words, 3> parts[2];
  run_lanes(1, [&](Lanes& lanes) {
    const Party& party = lanes[0];
    Engine engine(program, lanes, n, 0);
    engine.set_weights({});
    for (auto& part : parts) part[party.id] = engine.step(0, 1, 0, Shares{x[party.id], x[(party.id + 1) % 3]});
  });
  const auto bytes = [](const Words& words) {
    const auto* first = reinterpret_cast<const u8*>(words.data());
    return std::vector<u8>(first, first + 8 * words.size());
  };
  for (int i = 0; i < 3; ++i) {
    Words mask(n), change(n);
    for (std::size_t j = 0; j < n; ++j) {
      mask[j] = parts[0][i][j] - 2 * x[i][j];
      change[j] = parts[0][i][j] - parts[1][i][j];
    }
    CHECK(uniform(bytes(mask)) && uniform(bytes(change)));
  }
  for (const auto& part : parts)
    for (std::size_t j = 0; j < n; ++j) CHECK_EQ(part[0][j] + part[1][j] + part[2][j], 2 * z[j]);
}

// Lanes run at the same time: equal keys would mask two values alike.
TEST(lanes_have_keys_of_their_own) {
  std::vector<u8> drawn[3][4][2];
  run_lanes(4, [&](Lanes& lanes) {
    for (std::size_t lane = 0; lane < 4; ++lane)
      for (int k = 0; k < 2; ++k) {
        auto& bytes = drawn[lanes[0].id][lane][k];
        bytes.resize(16384);
        (k == 0 ? lanes[lane].stream0 : lanes[lane].stream1).fill(0, 0, bytes.data(), bytes.size());
      }
  });
  std::vector<const std::vector<u8>*> all;
  for (int i = 0; i < 3; ++i)
    for (int lane = 0; lane < 4; ++lane) {
      CHECK(drawn[i][lane][1] == drawn[(i + 1) % 3][lane][0]);
      all.push_back(&drawn[i][lane][0]);
    }
  CHECK(distinct_words(all));
}

TEST(program_errors_name_the_line) {
  const auto message = [](const std::string& body) -> std::string {
    try {
      parse_program("secfwt-program 4\n" + body);
      return "";
    } catch (const ProgramError& error) {
      return error.what();
    }
  };
  CHECK_EQ(message("v 0 setup rep 8 4 weight - name=w\nv 1 setup rep 8 5 scale 0 by=2\n"),
           std::string("program line 3: scale: shape is 5, 4 expected"));
  CHECK_EQ(message("v 0 setup rep 8 4 weight - name=w\n"),
           std::string("program line 3: the file ends where a line 'end' is expected"));
}

TEST(a_lost_peer_is_noticed) {
  auto ends = memory_link();
  ends.second->channel(7).send({1, 2});
  ends.second.reset();
  u8 bytes[3];
  CHECK_THROWS(ends.first->channel(7).recv(bytes, 3), PeerLost);
  CHECK_THROWS(ends.first->channel(7).send({1}), PeerLost);
}
