// How many threads the ring kernels of a party use: as many as the machine has, or the environment variable
// SECFWT_THREADS (several parties on one machine are faster with one each).
#pragma once

#include <cstdlib>
#include <iostream>
#include <string>

#include "ring/parallel.h"

namespace secfwt::mpspdz {

inline void set_threads_from_environment() {
  const char* text = std::getenv("SECFWT_THREADS");
  if (!text || !*text) return;
  char* end = nullptr;
  const long n = std::strtol(text, &end, 10);
  if (*end || n < 1 || n > 1024) {
    std::cerr << "SECFWT_THREADS is \"" << text << "\"; a number from 1 to 1024 is accepted\n";
    std::exit(2);
  }
  set_threads(static_cast<unsigned>(n));
}

}  // namespace secfwt::mpspdz
