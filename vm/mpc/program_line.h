// A line of a ring program: words separated by one space, then key=value pairs; and the messages about what is wrong.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "mpc/program.h"
#include "mpc/program_limits.h"

namespace secfwt {

std::vector<std::string> split(const std::string& text, char separator);

// Tokens are taken from the left, then each key once. Everything but has() and number() throws ProgramError, with the
// line's number.
class Line {
 public:
  Line(std::size_t number, const std::string& text) : number_(number), tokens_(split(text, ' ')) {}

  [[noreturn]] void fail(const std::string& what) const;
  const std::string& take(const char* what);
  // The remaining tokens, all key=value.
  void take_keys();
  bool has(const std::string& key) const { return keys_.count(key) != 0; }
  std::string key(const std::string& name);
  // Nothing may be left.
  void finish() const;

  i64 integer(const std::string& text, const std::string& what, Range range) const;
  i64 integer_key(const std::string& name, Range range) { return integer(key(name), name, range); }
  double real(const std::string& text, const std::string& what) const;
  // The value of the row with that name.
  template <class Rows>
  auto one_of(const std::string& text, const std::string& what, const Rows& rows) const {
    std::string listed;
    for (const auto& row : rows) {
      if (text == row.name) return row.value;
      listed += (listed.empty() ? "" : ", ") + std::string(row.name);
    }
    fail(what + " is '" + text + "', must be one of: " + listed);
  }

  std::size_t number() const { return number_; }

 private:
  std::size_t number_;
  std::vector<std::string> tokens_;
  std::size_t next_ = 0;
  std::map<std::string, std::string> keys_;
};

}  // namespace secfwt
