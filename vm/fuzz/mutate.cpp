#include <algorithm>

#include "fuzz/target.h"

namespace secfwt::fuzz {
namespace {

constexpr std::size_t kLongest = 1 << 14;

std::size_t below(std::size_t n, std::mt19937_64& chance) {
  return n ? std::uniform_int_distribution<std::size_t>(0, n - 1)(chance) : 0;
}

// Some piece of an input, short ones more often.
std::pair<std::ptrdiff_t, std::ptrdiff_t> piece(const Input& input, std::mt19937_64& chance) {
  const std::size_t first = below(input.size() + 1, chance);
  const std::size_t most = std::min<std::size_t>(input.size() - first, std::size_t{1} << below(9, chance));
  return {static_cast<std::ptrdiff_t>(first), static_cast<std::ptrdiff_t>(first + below(most + 1, chance))};
}

void mutate_once(Input& input, const Input& other, const std::vector<Input>& words, std::mt19937_64& chance) {
  const auto [first, last] = piece(input, chance);
  const auto at = input.begin() + first;
  switch (below(8, chance)) {
    case 0:  // flip a bit
      if (at != input.end()) *at ^= static_cast<u8>(1 << below(8, chance));
      break;
    case 1:  // some byte
      if (at != input.end()) *at = static_cast<u8>(below(256, chance));
      break;
    case 7:  // another digit
      for (auto digit = at; digit != input.end(); ++digit) {
        if (*digit < '0' || *digit > '9') continue;
        *digit = static_cast<u8>('0' + below(10, chance));
        break;
      }
      break;
    case 2:  // a word over what is there
      if (!words.empty()) {
        const Input& word = words[below(words.size(), chance)];
        std::copy_n(word.begin(), std::min<std::ptrdiff_t>(input.end() - at, static_cast<std::ptrdiff_t>(word.size())),
                    at);
      }
      break;
    case 3:  // a word in place of a piece
      if (!words.empty()) {
        const Input word = words[below(words.size(), chance)];
        input.erase(at, input.begin() + last);
        input.insert(input.begin() + first, word.begin(), word.end());
      }
      break;
    case 4:  // a piece less
      input.erase(at, input.begin() + last);
      break;
    case 5: {  // a piece of this one somewhere else
      const Input copy(at, input.begin() + last);
      const auto to = input.begin() + static_cast<std::ptrdiff_t>(below(input.size() + 1, chance));
      input.insert(to, copy.begin(), copy.end());
      break;
    }
    default: {  // a piece of the other one
      const auto [from, to] = piece(other, chance);
      input.insert(at, other.begin() + from, other.begin() + to);
    }
  }
}

}  // namespace

Input mutated(Input input, const Input& other, const std::vector<Input>& words, std::mt19937_64& chance) {
  do mutate_once(input, other, words, chance);
  while (below(2, chance));
  if (input.size() > kLongest) input.resize(kLongest);
  return input;
}

}  // namespace secfwt::fuzz
