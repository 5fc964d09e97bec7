// The instruction set that kernels are run for, and the kernel of matrix products where one is asked for. The best set
// is chosen at run time, and the fastest of its matrix kernels by measurement. The environment variable SECFWT_ISA
// overrides both: amx | avx512 | avx2 | portable, or the name of a matrix kernel, with its instruction set:
// avx512-madd52 | avx512-mullo | avx512-ifma | amx-32 … amx-64.
#pragma once

namespace secfwt {

struct GemmKernel;

enum class Isa { portable, avx2, avx512, amx };

// The best one this processor and operating system support.
Isa best_isa();
// The one in use; set_isa (for tests and benchmarks) and a wrong SECFWT_ISA throw std::invalid_argument that names
// those this processor can run.
Isa current_isa();
void set_isa(Isa isa);
const char* isa_name(Isa isa);

// The kernel that products must run on, whatever their size, in all rings that it is for; null where the fastest is to
// be found.
const GemmKernel* required_kernel();
void require_kernel(const GemmKernel& kernel);  // with its instruction set; until set_isa

}  // namespace secfwt
