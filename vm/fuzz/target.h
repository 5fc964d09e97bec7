// What is fuzzed: one entry per kind of bytes that a party reads from somebody else.
#pragma once

#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "ring/ring.h"

namespace secfwt::fuzz {

using Input = std::vector<u8>;

struct Target {
  // To begin with; the first is right.
  std::vector<Input> seeds;
  // Numbers and words that mean something there, for mutations to put in.
  std::vector<Input> words;
  // Reads an input; whether it went far, so that its mutations may go further. Whatever it is, it may be refused, but
  // in the way that is meant for it: any other exception is a finding.
  std::function<bool(const Input&)> run;
  std::function<void()> finish = [] {};
};

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

Target program_target();
// `certificates`: a folder as secfwt-certs makes it. `program`: the text of the ring program that the frames are for.
Target client_target(const std::string& certificates, const std::string& program);
// The same of two data owners, `anna` and `ben`, and a coordinator, `board`.
Target owners_target(const std::string& certificates, const std::string& program);
Target peer_target(const std::string& certificates);

// One change or a few: bytes, words, pieces moved, doubled and taken away, parts of `other`.
Input mutated(Input input, const Input& other, const std::vector<Input>& words, std::mt19937_64& chance);

inline Input bytes_of(const std::string& text) { return {text.begin(), text.end()}; }
// A number as it lies in memory.
template <class T>
Input bytes_of_number(T number) {
  const auto* at = reinterpret_cast<const u8*>(&number);
  return {at, at + sizeof number};
}

}  // namespace secfwt::fuzz
