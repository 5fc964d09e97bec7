// Reads inputs that nobody means: secfwt-fuzz TARGET --seconds N --seed N --corpus DIR --last FILE [--certificates
// DIR] [--program FILE].
//
// First every file of the corpus, which are the inputs that ever failed; then mutations of the seeds, the same for the
// same seed of the generator. Each input is written to --last before it is read: where a sanitizer ends the process,
// that file is the input to keep. 0 seconds: the corpus alone.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>

#include "fuzz/target.h"

namespace {

using namespace secfwt;
using namespace secfwt::fuzz;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kPool = 256;  // inputs that mutations begin with

constexpr int kAttempts = 50;

struct Options {
  std::string target, corpus, last, certificates, program;
  double seconds = 0;
  u64 seed = 1;
};

Options parse(int argc, char** argv) {
  Options options;
  std::map<std::string, std::string> given;
  for (int i = 2; i + 1 < argc; i += 2) given[argv[i]] = argv[i + 1];
  if (argc < 2 || given.size() * 2 + 2 != static_cast<std::size_t>(argc))
    throw Failure(
        "usage: secfwt-fuzz program|client|owners|peer --seconds N --seed N --corpus DIR --last FILE [--certificates "
        "DIR] "
        "[--program FILE]");
  options.target = argv[1];
  options.corpus = given["--corpus"], options.last = given["--last"], options.certificates = given["--certificates"];
  options.program = given["--program"];
  options.seconds = std::stod(given["--seconds"]);
  options.seed = std::stoull(given["--seed"]);
  return options;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Target target_of(const Options& options) {
  if (options.target == "program") return program_target();
  if (options.target == "client") return client_target(options.certificates, read_file(options.program));
  if (options.target == "owners") return owners_target(options.certificates, read_file(options.program));
  if (options.target == "peer") return peer_target(options.certificates);
  throw Failure("there is no target " + options.target);
}

std::vector<Input> kept(const std::string& folder) {
  std::vector<Input> inputs;
  if (!std::filesystem::exists(folder)) return inputs;  // none ever failed
  for (const auto& entry : std::filesystem::directory_iterator(folder)) inputs.push_back(bytes_of(read_file(entry)));
  return inputs;
}

int run(const Options& options) {
  const Target target = target_of(options);
  const auto read = [&](const Input& input) {
    std::ofstream(options.last, std::ios::binary)
        .write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
    return target.run(input);
  };
  std::vector<Input> pool = kept(options.corpus);
  const std::size_t replayed = pool.size();
  for (const Input& input : pool) read(input);
  for (int attempt = 0; !read(target.seeds.front()); ++attempt)  // time is short on a busy machine
    if (attempt == kAttempts) throw Failure("the first seed is refused");
  pool.insert(pool.end(), target.seeds.begin(), target.seeds.end());
  const std::size_t first = pool.size();
  std::mt19937_64 chance(options.seed);
  const auto pick = [&]() -> const Input& { return pool[chance() % pool.size()]; };
  std::size_t tried = 0, far = 0;
  for (const auto began = Clock::now(); std::chrono::duration<double>(Clock::now() - began).count() < options.seconds;
       ++tried) {
    Input input = mutated(pick(), pick(), target.words, chance);
    if (!read(input)) continue;
    ++far;
    if (pool.size() < kPool)
      pool.push_back(std::move(input));
    else
      pool[first + chance() % (kPool - first)] = std::move(input);
  }
  target.finish();
  std::cout << options.target << ": " << replayed << " kept, " << tried << " new inputs read, " << far
            << " of them went far" << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return run(parse(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "secfwt-fuzz: " << error.what() << std::endl;
    return 1;
  }
}
