// What clients and compilers must agree with this program about.
#pragma once

#include <string>

namespace secfwt {

// Constants of the wire, of ring programs and of the command line, as JSON; a test compares them with those of the
// Python code (tests/vm/test_describe.py).
std::string describe();

}  // namespace secfwt
