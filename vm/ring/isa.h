// The instruction set that kernels are run for. The best one is chosen at run time; the environment variable
// SECFWT_ISA = amx | avx512 | avx2 | portable overrides it.
#pragma once

namespace secfwt {

enum class Isa { portable, avx2, avx512, amx };

// The best one this processor and operating system support.
Isa best_isa();
// The one in use; set_isa (for tests and benchmarks) and a wrong SECFWT_ISA throw std::invalid_argument that names
// those this processor can run.
Isa current_isa();
void set_isa(Isa isa);
const char* isa_name(Isa isa);

}  // namespace secfwt
