// Runs the registered tests, or those whose names contain one of the arguments:
// secfwt-vm-test CERTIFICATES [PART OF A NAME ...], with a folder as secfwt-certs makes it.
#include <algorithm>
#include <csignal>
#include <exception>

#include "check.h"

int main(int argc, char** argv) {
  using namespace secfwt::test;
  if (argc < 2) {
    std::cerr << "usage: secfwt-vm-test CERTIFICATES [PART OF A NAME ...]\n";
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  certificates() = argv[1];
  int passed = 0, failed = 0;
  for (const Case& test : cases()) {
    const std::string name = test.name;
    if (argc > 2 && std::none_of(argv + 2, argv + argc, [&](const char* part) { return name.find(part) != name.npos; }))
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
