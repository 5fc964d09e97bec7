// A test registry in a page: TEST(name) { CHECK(…); CHECK_EQ(…, …); }. A failed check is reported and the test goes on.
#pragma once

#include <functional>
#include <iostream>
#include <string>
#include <vector>

namespace secfwt::test {

struct Case {
  const char* name;
  std::function<void()> body;
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

struct Registrar {
  Registrar(const char* name, std::function<void()> body) { cases().push_back({name, std::move(body)}); }
};

// Failed checks of the running test.
inline int& failures() {
  static int count = 0;
  return count;
}

// Folder of certificates, from the command line: for tests of connections.
inline std::string& certificates() {
  static std::string folder;
  return folder;
}

// Prints the first few failures of a test; a broken loop would bury them.
inline void report(const char* file, int line, const std::string& what) {
  if (++failures() <= 10) std::cerr << file << ":" << line << ": " << what << "\n";
}

template <class A, class B>
void check_equal(const A& a, const B& b, const char* file, int line, const char* expression) {
  if (a == b) return;
  std::cerr << std::boolalpha;
  report(file, line, expression);
  if (failures() <= 10) std::cerr << "  left:  " << a << "\n  right: " << b << "\n";
}

}  // namespace secfwt::test

#define TEST(name)                                                              \
  static void test_##name();                                                    \
  static const ::secfwt::test::Registrar registrar_##name(#name, &test_##name); \
  static void test_##name()

#define CHECK(condition)                                                                   \
  do {                                                                                     \
    if (!(condition)) ::secfwt::test::report(__FILE__, __LINE__, "CHECK(" #condition ")"); \
  } while (false)

#define CHECK_EQ(a, b) ::secfwt::test::check_equal((a), (b), __FILE__, __LINE__, "CHECK_EQ(" #a ", " #b ")")

// The expression must throw an exception of the given type.
#define CHECK_THROWS(expression, type)                                                            \
  do {                                                                                            \
    bool thrown = false;                                                                          \
    try {                                                                                         \
      (void)(expression);                                                                         \
    } catch (const type&) {                                                                       \
      thrown = true;                                                                              \
    }                                                                                             \
    if (!thrown) ::secfwt::test::report(__FILE__, __LINE__, #expression " did not throw " #type); \
  } while (false)
