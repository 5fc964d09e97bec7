#include "mpc/program_fit.h"

#include <algorithm>
#include <cmath>

#include "mpc/program_limits.h"

namespace secfwt {
namespace {

// A bound on |f|, which is at most |const| + Σ|A_m|. Where that says
// too little, from 16 points per period of the highest harmonic M: between points, a trigonometric polynomial of degree
// M exceeds the largest of N of them by a factor of 1/cos(πM/N) at most (Ehlich and Zeller 1964).
double largest(const Fit& fit, double enough) {
  double sum = std::abs(fit.constant);
  u32 highest = 1;
  for (const Harmonic& h : fit.harmonics) sum += std::hypot(h.re, h.im), highest = std::max(highest, h.m);
  const std::size_t points = 16 * std::size_t{highest};
  if (sum < enough || points * fit.harmonics.size() > std::size_t{1} << 28) return sum;
  const double turn = 2 * std::acos(-1.0) / static_cast<double>(points);
  std::vector<double> cosine(points), f(points, fit.constant);
  for (std::size_t i = 0; i < points; ++i) cosine[i] = std::cos(turn * static_cast<double>(i));
  const std::size_t quarter = 3 * points / 4;  // sin x = cos(x + 3/4 turn)
  for (const Harmonic& h : fit.harmonics)
    for (std::size_t i = 0, at = 0; i < points; ++i, at = (at + h.m) % points)
      f[i] += h.re * cosine[at] - h.im * cosine[(at + quarter) % points];
  double most = 0;
  for (const double value : f) most = std::max(most, std::abs(value));
  return most / std::cos(std::acos(-1.0) / 16);
}

// What is added up on its own must be below 2^(tail_ring-2) where it is lifted, roundings included: n amplitudes are
// off by up to √½ units each, and a phasor is up to 2^tail_fa + 1 units long, or + 3 where it is a product of two table
// entries (ring/phasor.h).
void parse_tail(Line& line, Fit& fit) {
  fit.tail = static_cast<std::size_t>(line.integer_key("tail", {1, static_cast<i64>(fit.harmonics.size())}));
  fit.tail_fa = static_cast<int>(line.integer_key("tail_fa", {0, fit.fa}));
  fit.tail_ring = static_cast<int>(line.integer_key("tail_ring", {kRingBits.least, fit.ring}));
  if (!fit.lifts()) return;
  double sum = 0;
  for (std::size_t i = fit.head(); i < fit.harmonics.size(); ++i)
    sum += std::ldexp(std::hypot(fit.harmonics[i].re, fit.harmonics[i].im), fit.fc) + std::sqrt(0.5);
  const double bits = std::log2(sum * (std::ldexp(1.0, fit.tail_fa) + (fit.angle_bits() == 16 ? 1 : 3)));
  if (bits >= fit.tail_ring - 2)
    line.fail("the tail's sum at scale fc + tail_fa reaches 2^" + std::to_string(bits) + ", must be below 2^" +
              std::to_string(fit.tail_ring - 2) + " in a ring of " + std::to_string(fit.tail_ring) + " bits");
}

}  // namespace

void parse_precision(Line& line, Fit& fit) {
  fit.k = static_cast<int>(line.integer_key("k", kPhaseBits));
  fit.fc = static_cast<int>(line.integer_key("fc", kAmplitudeBits));
  fit.fa = static_cast<int>(line.integer_key("fa", kPhasorBits));
  if (fit.fc + fit.fa > kMostFitScale)
    line.fail("fc + fa is " + std::to_string(fit.fc + fit.fa) + ", must be at most " + std::to_string(kMostFitScale));
}

Fit parse_fit(Line& line) {
  Fit fit;
  parse_precision(line, fit);
  fit.ring = static_cast<int>(line.integer_key("ring", kRingBits));
  fit.constant = line.real(line.key("const"), "const");
  const auto m = split(line.key("m"), ','), re = split(line.key("re"), ','), im = split(line.key("im"), ',');
  if (re.size() != m.size() || im.size() != m.size())
    line.fail("m, re and im have " + std::to_string(m.size()) + ", " + std::to_string(re.size()) + " and " +
              std::to_string(im.size()) + " entries, must have equally many");
  if (std::abs(fit.constant) >= std::ldexp(1.0, 62 - fit.fc - fit.fa))
    line.fail("const: |const|·2^(fc+fa) must be below 2^62");
  const double limit = std::ldexp(1.0, 50 - fit.fc);  // amplitudes at scale fc stay exact in a double's mantissa
  for (std::size_t i = 0; i < m.size(); ++i) {
    Harmonic h{static_cast<u32>(line.integer(m[i], "harmonic", kHarmonic)), line.real(re[i], "re"),
               line.real(im[i], "im")};
    if (std::hypot(h.re, h.im) >= limit)
      line.fail("harmonic " + m[i] + ": |amplitude|·2^fc must be below 2^50 (fc is " + std::to_string(fit.fc) + ")");
    fit.harmonics.push_back(h);
  }
  fit.most = largest(fit, std::ldexp(1.0, fit.ring - 2 - fit.fc - fit.fa));
  if (line.has("tail")) parse_tail(line, fit);
  return fit;
}

}  // namespace secfwt
