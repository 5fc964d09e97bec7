// The arithmetic inside a Fourier series under shares: integer phasors times ring elements, for a block of values at a
// time.
#pragma once

#include <cstddef>

#include "ring/phasor.h"
#include "ring/ring.h"

namespace secfwt {

// e^(2πi·m·angle) rounded to `bits` fraction bits, angles in units of 2^-16 or 2^-32 turn by their type. Integer
// arithmetic only.
void phasors(const u16* angles, u32 m, int bits, std::size_t n, i32* re, i32* im);
void phasors(const u32* angles, u32 m, int bits, std::size_t n, i32* re, i32* im);

// sum += Re((re + i·im)(c_re + i·c_im)) mod 2^32 or 2^64.
void add_real(const i32* re, const i32* im, const u32* c_re, const u32* c_im, std::size_t n, u32* sum);
void add_real(const i32* re, const i32* im, const u64* c_re, const u64* c_im, std::size_t n, u64* sum);
// sum += Im((re + i·im)(c_re + i·c_im)).
void add_imag(const i32* re, const i32* im, const u32* c_re, const u32* c_im, std::size_t n, u32* sum);
void add_imag(const i32* re, const i32* im, const u64* c_re, const u64* c_im, std::size_t n, u64* sum);

// c = (a_re + i·a_im) · conj(re + i·im), each part rounded to the nearest integer; |c| < 2^50. Products and sums of
// doubles as IEEE 754 has them, never contracted: a party that checks a sample must get the same bits.
void amplitudes(const i32* re, const i32* im, double a_re, double a_im, std::size_t n, u32* c_re, u32* c_im);
void amplitudes(const i32* re, const i32* im, double a_re, double a_im, std::size_t n, u64* c_re, u64* c_im);

}  // namespace secfwt
