// Ring programs: read, and those that are accepted computed with noise by three parties.
#include <array>
#include <thread>

#include "fuzz/target.h"
#include "mpc/engine.h"
#include "mpc/memory_link.h"
#include "mpc/program.h"
#include "mpc/program_limits.h"

namespace secfwt::fuzz {
namespace {

// Every kind of value and every key once.
constexpr const char* kProgram = R"(secfwt-program 4
fit 0 k=16 fc=13 fa=13 ring=32 const=0.25 m=1,3 re=-0.4,-0.2 im=0,0.1
fit 1 k=32 fc=14 fa=12 ring=64 const=-1 m=2 re=0.5 im=0
v 0 setup rep 16 4x3 weight - name=w ring=44
v 1 example rep 16 2x4 example - name=x ring=20
v 2 candidate rep 16 2x3 candidate - name=z ring=44
v 3 setup pub 12 3x2 public - name=A seed=00112233445566778899aabbccddeeff bits=13
v 4 setup pub 24 1 table - name=t numbers=-5
v 5 example rep 16 2x4 lift 1 ring=44 group=0
v 6 example add 32 2x3 matmul 5,0
v 7 example rep 16 2x3 trunc 6 shift=16 ring=44 rounds=2 group=1
v 8 pair add 32 2x3 mul 7,2
v 9 pair rep 32 2x3 reshare 8 ring=40 group=2
v 10 pair rep 64 2x3 scale 9 by=-50331648
v 11 pair rep 24 2x3 fourier 10 fit=0 shift=2 ring=40 group=3
v 12 pair rep 24 2x3 fourier 10 fit=1 shift=2 ring=40 group=3
v 13 pair rep 28 2x6 cos_sin 10 k=16 fc=14 fa=14 sum=48 shift=0 ring=45 group=3
v 14 pair rep 24 2x6 concat 11,12 axis=-1
v 15 pair rep 24 6x2 permute 14 axes=1,0
v 16 pair rep 24 2x2 slice 15 axis=-2 lo=1 hi=3
v 17 pair rep 24 4 reshape 16
v 18 pair rep 24 1 sum 17 axis=-1
v 19 pair rep 24 2x3 sub 11,12
v 20 pair rep 36 2x2 matmul 19,3
v 21 candidate rep 24 1 reduce_examples 18
v 22 candidate rep 24 1 add 21,4
v 23 candidate rep 24 1 add 21,22
v 24 example rep 16 4x3 state - name=kept
v 25 pair rep 16 4x3 append 24,2
v 26 candidate pub 12 2x2 window 3 rows=2
v 27 candidate rep 16 2x2 slice 2 axis=-1 lo=0 hi=2
v 28 candidate rep 28 2x2 mul 27,26
out loss 23 ring=40
out logits 13 ring=45 max_candidates=1
out rows 20 ring=40 max_opened=8
out first 7 ring=44 noise=4096
out kept 25 ring=44 max_candidates=1
out turned 28 ring=44
end
)";

constexpr std::size_t kWords = 1 << 12;  // of all values of a program that is computed

bool is_small(const Program& program) {
  std::size_t words = 0, harmonics = 0;
  for (const Fit& fit : program.fits) harmonics += fit.harmonics.size();
  for (const Node& node : program.values) {
    if (volume(node.shape) > kWords) return false;
    words += volume(node.shape);
  }
  return words <= kWords && program.values.size() <= 64 && program.fits.size() <= 8 && harmonics <= 64;
}

Shares noise(std::size_t words) {
  Shares shares{Words(words), Words(words)};
  for (Words* half : {&shares.x0, &shares.x1}) expand(random_key(), 0, half->data(), words * sizeof(u64));
  return shares;
}

void compute(const Program& program) {
  constexpr std::size_t kCandidates = 1, kExamples = 3;
  std::unique_ptr<Link> prev[3], next[3];
  for (int i = 0; i < 3; ++i) std::tie(next[i], prev[(i + 1) % 3]) = memory_link();
  std::array<std::exception_ptr, 3> errors;
  const auto party = [&](int i) {
    try {
      Lanes lanes = connect_lanes(i, 1, program.fits, *prev[i], *next[i]);
      Engine engine(program, lanes, 64, 0);
      engine.set_weights(noise(program.words(Kind::weight)));
      engine.set_examples(0, kExamples, noise(kExamples * program.words(Kind::example)));
      for (std::size_t output = 0; output < program.outputs.size(); ++output)
        engine.step(0, kCandidates, output, noise(kCandidates * program.words(Kind::candidate)), {},
                    program.last_place(program.outputs[output]));
    } catch (...) {
      errors[static_cast<std::size_t>(i)] = std::current_exception();
      prev[i].reset(), next[i].reset();  // the others do not wait
    }
  };
  std::thread threads[3];
  for (int i = 0; i < 3; ++i) threads[i] = std::thread(party, i);
  for (std::thread& thread : threads) thread.join();
  for (const auto& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace

Target program_target() {
  Target target;
  target.seeds = {bytes_of(kProgram)};
  for (const auto& operation : kOperations) target.words.push_back(bytes_of(operation.name));
  for (const char* word : {"setup",
                           "example",
                           "candidate",
                           "pair",
                           "rep",
                           "add",
                           "pub",
                           "v ",
                           "fit ",
                           "out ",
                           "end\n",
                           "\n",
                           " ",
                           "-",
                           ",",
                           "x",
                           "=",
                           "#",
                           "0",
                           "1",
                           "-1",
                           "2",
                           "64",
                           "128",
                           "-64",
                           "65535",
                           "1099511627776",
                           "1099511627777",
                           "9223372036854775807",
                           "-9223372036854775808",
                           "4294967296",
                           "1x1",
                           "1x2x3",
                           "1e308",
                           "1e-320",
                           "nan",
                           "inf",
                           "0x10",
                           "name=",
                           "axis=-1",
                           "group=0",
                           "shift=62",
                           "lo=0 hi=1",
                           "max_candidates=1",
                           "noise=72057594037927936",
                           "by=-1",
                           "axes=0"})
    target.words.push_back(bytes_of(word));
  target.run = [](const Input& input) {
    Program program;
    try {
      program = parse_program({input.begin(), input.end()});
    } catch (const ProgramError&) {
      return false;
    }
    if (is_small(program)) compute(program);
    return true;
  };
  return target;
}

}  // namespace secfwt::fuzz
