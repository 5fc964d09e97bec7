// Runs the registered tests, or those whose names contain one of the arguments.
#include <algorithm>
#include <exception>

#include "check.h"

int main(int argc, char** argv) {
  using namespace secfwt::test;
  int passed = 0, failed = 0;
  for (const Case& test : cases()) {
    const std::string name = test.name;
    if (argc > 1 && std::none_of(argv + 1, argv + argc, [&](const char* part) { return name.find(part) != name.npos; }))
      continue;
    failures() = 0;
    try {
      test.body();
    } catch (const std::exception& error) {
      report("exception", 0, error.what());
    }
    if (failures() > 0) std::cerr << "FAILED " << name << " (" << failures() << " checks)\n";
    ++(failures() > 0 ? failed : passed);
  }
  std::cout << passed << " passed, " << failed << " failed\n";
  return failed > 0 ? 1 : 0;
}
