// The noise of opened numbers: its distribution, and who knows what of it.
#include "mpc/noise.h"

#include <cmath>
#include <map>

#include "parties.h"

namespace secfwt::test {
namespace {

Key fixed_key(u8 number) {
  Key key{};
  key[0] = number;
  return key;
}

// Chi-square against e^(−x²/2σ²)/Σ, in bins of `width` numbers about 0, the tails in the outer two; and the degrees of
// freedom.
std::pair<double, double> chi_square(const std::vector<i64>& samples, double deviation, i64 width) {
  const i64 reach = static_cast<i64>(3.5 * deviation / static_cast<double>(width)) + 1;
  const auto bin = [&](double x) {
    const double at = std::floor((x + static_cast<double>(width) / 2) / static_cast<double>(width));
    return static_cast<i64>(std::min(std::max(at, -static_cast<double>(reach)), static_cast<double>(reach)));
  };
  std::map<i64, double> expected, found;
  double sum = 0;
  // of a large deviation every `stride`-th number stands for its neighbours
  const double stride = std::max(1.0, std::floor(static_cast<double>(width) / 64));
  for (double x = 0; x < 12 * deviation; x += stride)
    for (int sign = x == 0 ? 1 : -1; sign <= 1; sign += 2) {
      const double p = std::exp(-x * x / (2 * deviation * deviation));
      expected[bin(sign * x)] += p;
      sum += p;
    }
  for (i64 x : samples) ++found[bin(static_cast<double>(x))];
  double chi2 = 0;
  for (const auto& [at, p] : expected) {
    const double due = p / sum * static_cast<double>(samples.size());
    chi2 += (found[at] - due) * (found[at] - due) / due;
  }
  return {chi2, static_cast<double>(expected.size() - 1)};
}

bool fits(const std::vector<i64>& samples, double deviation, i64 width) {
  const auto [chi2, freedom] = chi_square(samples, deviation, width);
  return freedom > 1 && std::abs(chi2 - freedom) < 5 * std::sqrt(2 * freedom);
}

}  // namespace

TEST(coins_are_uniform_below_any_bound) {
  Coins coins(fixed_key(1));
  for (const u64 bound : {1, 2, 3, 7, 100}) {
    std::vector<double> count(bound);
    const std::size_t n = 40000;
    for (std::size_t i = 0; i < n; ++i) ++count[static_cast<std::size_t>(coins.below(bound))];
    double chi2 = 0;
    for (double c : count)
      chi2 += (c - double(n) / double(bound)) * (c - double(n) / double(bound)) / double(n) * double(bound);
    const double freedom = static_cast<double>(bound - 1);
    CHECK(std::abs(chi2 - freedom) <= 5 * std::sqrt(2 * freedom));
  }
  // of 128 bits: three quarters of what a mask leaves
  const unsigned __int128 wide = static_cast<unsigned __int128>(3) << 110;
  std::size_t lower = 0;
  for (int i = 0; i < 30000; ++i) {
    const auto x = coins.below(wide);
    CHECK(x < wide);
    lower += x < (static_cast<unsigned __int128>(1) << 110);
  }
  CHECK(std::abs(static_cast<double>(lower) - 10000) < 5 * std::sqrt(30000 * 2.0 / 9));
}

TEST(a_discrete_gaussian_is_one_number_by_number) {
  for (const u64 deviation : {1, 2, 5, 30}) {
    Coins coins(fixed_key(static_cast<u8>(deviation)));
    std::vector<i64> samples(60000);
    for (i64& x : samples) x = discrete_gaussian(deviation, coins);
    CHECK(fits(samples, static_cast<double>(deviation), 1));
    CHECK(!fits(samples, 1.1 * static_cast<double>(deviation), 1));
  }
}

TEST(a_discrete_gaussian_may_be_as_wide_as_a_program_says) {
  for (const int bits : {20, 40, 56}) {
    const u64 deviation = u64{1} << bits;
    Coins coins(fixed_key(static_cast<u8>(bits)));
    std::vector<i64> samples(30000);
    std::vector<u8> low;
    for (i64& x : samples) {
      x = discrete_gaussian(deviation, coins);
      low.push_back(static_cast<u8>(x));
    }
    CHECK(fits(samples, static_cast<double>(deviation), i64{1} << (bits - 3)));
    CHECK(!fits(samples, 1.1 * static_cast<double>(deviation), i64{1} << (bits - 3)));
    CHECK(uniform(low));  // down to the last bit
  }
}

TEST(noise_is_drawn_in_blocks_and_given_out_once) {
  Noise noise(fixed_key(9)), same(fixed_key(9)), other;
  const Words one = noise.take(u64{1} << 50, 3), all = same.take(u64{1} << 50, 1024);
  const Words two = noise.take(u64{1} << 50, 1021);
  std::vector<u64> joined(two);
  joined.insert(joined.end(), one.begin(), one.end());
  CHECK(joined == all);
  CHECK_EQ(noise.take(u64{1} << 50, 5000).size(), std::size_t{5000});
  CHECK(other.take(u64{1} << 50, 1024) != all);
}

constexpr std::size_t n = 4096;
constexpr double deviation = 1000;
// n numbers doubled, with noise of that deviation and without.
const char* const kDoubled =
    "secfwt-program 4\n"
    "v 0 candidate rep 0 4096 candidate - name=z ring=40\n"
    "v 1 candidate rep 0 4096 add 0,0\n"
    "out noised 1 ring=40 noise=1000\n"
    "out plain 1 ring=40\n"
    "end\n";

// A party that leaves out its own leaves in the others'.
TEST(no_party_takes_away_the_noise_of_another) {
  const Program program = parse_program(kDoubled);
  const auto x = additive(Words(n, 0));
  for (int liar = 0; liar < 3; ++liar) {
    std::array<Words, 3> parts;
    run_lanes(1, [&](Lanes& lanes) {
      const int id = lanes[0].id;
      Engine engine(program, lanes, n, 0);
      engine.set_weights({});
      parts[id] = engine.step(0, 1, id == liar ? 1 : 0, Shares{x[id], x[(id + 1) % 3]});
    });
    double squares = 0;
    for (std::size_t j = 0; j < n; ++j)
      squares += std::pow(static_cast<double>(number(parts[0][j] + parts[1][j] + parts[2][j], 40)), 2);
    CHECK(std::abs(squares / static_cast<double>(n) / (2 * deviation * deviation) - 1) <
          5 * std::sqrt(2 / static_cast<double>(n)));
  }
}

// The same of a sum over two owners' examples: what one party adds is there once, however many sets are in it.
TEST(a_sum_over_owners_has_noise_of_every_party_once) {
  const Program program = parse_program(
      "secfwt-program 4\n"
      "v 0 example rep 0 4096 example - name=x ring=40\n"
      "v 1 candidate rep 0 4096 candidate - name=z ring=40\n"
      "v 2 pair rep 0 4096 add 0,1\n"
      "v 3 candidate rep 0 4096 reduce_examples 2\n"
      "out noised 3 ring=40 noise=1000 min_owners=2\n"
      "out plain 3 ring=40 min_owners=2\n"
      "end\n");
  const auto first = additive(Words(2 * n, 5)), second = additive(Words(n, 7)), z = additive(Words(n, 1));
  for (int alone = 0; alone < 4; ++alone) {  // the only party with noise; 3: all have it
    std::array<Words, 3> parts;
    run_lanes(1, [&](Lanes& lanes) {
      const int id = lanes[0].id;
      const auto shares = [id](const auto& x) { return Shares{x[id], x[(id + 1) % 3]}; };
      Engine engine(program, lanes, n, 0);
      engine.set_weights({});
      engine.set_examples(0, 2, shares(first));
      engine.set_examples(1, 1, shares(second));
      parts[id] = engine.step(std::vector<u64>{0, 1}, 1, alone == 3 || alone == id ? 0 : 1, shares(z));
    });
    double squares = 0;
    for (std::size_t j = 0; j < n; ++j)
      squares += std::pow(static_cast<double>(number(parts[0][j] + parts[1][j] + parts[2][j], 40)) - 20, 2);
    const double due = (alone == 3 ? 3 : 1) * deviation * deviation;
    CHECK(std::abs(squares / static_cast<double>(n) / due - 1) < 5 * std::sqrt(2 / static_cast<double>(n)));
  }
}

// Each party adds its own to its own share, and sends nobody else anything: what is opened has all three, and a party's
// share alone is uniform.
TEST(what_is_opened_has_the_noise_of_all_three) {
  const Program program = parse_program(kDoubled);
  const Words z(n, 12345);
  const auto x = additive(z);
  std::array<Words, 3> noised[2], plain;
  std::array<u64, 3> sent[2];
  run_lanes(1, [&](Lanes& lanes) {
    const int id = lanes[0].id;
    Engine engine(program, lanes, n, 0);
    engine.set_weights({});
    const auto shares = [&] { return Shares{x[id], x[(id + 1) % 3]}; };
    const u64 before = engine.bytes_sent();
    plain[id] = engine.step(0, 1, 1, shares());
    sent[0][id] = engine.bytes_sent() - before;
    for (auto& each : noised) each[id] = engine.step(0, 1, 0, shares());
    sent[1][id] = engine.bytes_sent() - before - sent[0][id];
  });
  const auto bytes = [](const Words& words) {
    std::vector<u8> out;
    for (u64 word : words)
      for (int shift = 0; shift < 40; shift += 8) out.push_back(static_cast<u8>(word >> shift));
    return out;
  };
  double between = 0;
  for (const auto& each : noised) {
    double sum = 0, squares = 0;
    for (std::size_t j = 0; j < n; ++j) {
      const double off = static_cast<double>(number(each[0][j] + each[1][j] + each[2][j], 40)) - 2 * 12345;
      const double other =
          static_cast<double>(number(noised[0][0][j] + noised[0][1][j] + noised[0][2][j], 40)) - 2 * 12345;
      sum += off, squares += off * off;
      if (&each != &noised[0]) between += off * other;
    }
    const double count = static_cast<double>(n), variance = 3 * deviation * deviation;
    CHECK(std::abs(sum / count) < 5 * std::sqrt(variance / count));
    CHECK(std::abs(squares / count / variance - 1) < 5 * std::sqrt(2 / count));
    for (const Words& share : each) CHECK(uniform(bytes(share)));
  }
  CHECK(std::abs(between / n) < 5 * 3 * deviation * deviation / std::sqrt(static_cast<double>(n)));  // drawn anew
  for (std::size_t j = 0; j < n; ++j) CHECK_EQ(number(plain[0][j] + plain[1][j] + plain[2][j], 40), i64{2 * 12345});
  for (int id = 0; id < 3; ++id) CHECK_EQ(sent[1][id], 2 * sent[0][id]);
}

}  // namespace secfwt::test
