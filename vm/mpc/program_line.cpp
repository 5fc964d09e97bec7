#include "mpc/program_line.h"

#include <cerrno>
#include <cmath>
#include <cstdlib>

namespace secfwt {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

void Line::fail(const std::string& what) const {
  throw ProgramError("program line " + std::to_string(number_) + ": " + what);
}

const std::string& Line::take(const char* what) {
  if (next_ == tokens_.size()) fail(std::string("ends where ") + what + " is expected");
  if (tokens_[next_].empty()) fail("tokens must be separated by one space");
  return tokens_[next_++];
}

void Line::take_keys() {
  while (next_ < tokens_.size()) {
    const std::string& token = take("key=value");
    const std::size_t eq = token.find('=');
    if (eq == 0 || eq == std::string::npos) fail("'" + token + "' found, key=value expected");
    if (!keys_.emplace(token.substr(0, eq), token.substr(eq + 1)).second)
      fail("key '" + token.substr(0, eq) + "' is given twice");
  }
}

std::string Line::key(const std::string& name) {
  const auto found = keys_.find(name);
  if (found == keys_.end()) fail("key '" + name + "' is missing");
  std::string value = found->second;
  keys_.erase(found);
  return value;
}

void Line::finish() const {
  if (next_ != tokens_.size()) fail("'" + tokens_[next_] + "' found, end of line expected");
  if (!keys_.empty()) fail("key '" + keys_.begin()->first + "' does not belong here");
}

i64 Line::integer(const std::string& text, const std::string& what, Range range) const {
  errno = 0;
  char* end = nullptr;
  const i64 value = std::strtoll(text.c_str(), &end, 10);
  const bool digits = !text.empty() && text.find_first_not_of("-0123456789") == std::string::npos;
  if (!digits || *end != 0 || errno != 0 || value < range.least || value > range.most)
    fail(what + " is '" + text + "', must be an integer from " + std::to_string(range.least) + " to " +
         std::to_string(range.most));
  return value;
}

double Line::real(const std::string& text, const std::string& what) const {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != 0 || !std::isfinite(value)) fail(what + " is '" + text + "', must be a finite number");
  return value;
}

}  // namespace secfwt
