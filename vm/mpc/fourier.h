// Periodic functions of a shared phase: one opening a value, whatever the function (docs/program.md, `fourier` and
// `cos_sin`).
#pragma once

#include <memory>

#include "mpc/program.h"
#include "mpc/tuples.h"
#include "mpc/two_party.h"

namespace secfwt {

// LEFT and RIGHT learn δ = phase + ρ mod 2^k. Each of the three messages it is made of is masked by a pad of its own,
// HELPER's by one that LEFT and one that RIGHT does not know; the pads add up to ρ, and the tuple (mpc/tuples.h) shares
// c_m = A_m e^(-2πi·m·ρ/2^k) for each harmonic. LEFT and RIGHT multiply their parts with e^(2πi·m·δ/2^k), and the real
// parts add up to f.
//
// Phases are rounded share by share: an error of at most 1.5 units of 2^-k turn. The harmonics add up in the fit's
// ring, of `sum` bits; a PairShift by `shift` bits takes the sum into Z_2^ring. Over all parties 4k bits, 2·sum bits a
// harmonic, and what the PairShift sends; 2 rounds, or 3 where it takes a wrap away. For the sample of tuples that is
// checked, 1/64 of the harmonics' bits and k/64 bits.
//
// `pool` has the tuples of `fit`. `phase`: this party's additive share, n words.
std::unique_ptr<Task> make_fourier(const Seat& seat, TuplePool& pool, const u64* phase, std::size_t n, const Fit& fit,
                                   int shift, int ring, Target out);

// cos and sin of rows of `width` phases, from one opening each: every row of the result holds a block of cosines, then
// one of sines: two PairShifts a phase. `precision` has the one harmonic 1.
std::unique_ptr<Task> make_cos_sin(const Seat& seat, TuplePool& pool, const u64* phase, std::size_t rows,
                                   std::size_t width, const Fit& precision, int shift, int ring, Target out);

}  // namespace secfwt
