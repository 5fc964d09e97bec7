"""Feed-forward networks of transformer layers."""

from Compiler.library import break_point, else_, if_e
from Compiler.types import program, sfix, sint

from lib import activations, masked_opening
from lib.activations import WAVES
from lib.linear import before_truncation, dense
from lib.tensor import elementwise, rescale, scratch, store, view


def plain(x, w, act, **limits):
    """act(x W₁ + b₁) W₂ + b₂; with the activation as a masked opening, one truncation serves both products.

    Shapes: `[..., h]`, weights ffn_in `[h, inner]`, ffn_out `[inner, h]` -> `[..., h]`. Scale: f.
    Interval: that of the activation, which takes the limits, and |result| < 2^12.
    Error: 1 unit, and the activation's.
    Rounds: 7, and 3 for every further `PIECE` of inner values; 32 without masked openings. Opens: as the activation.
    """
    layers = [(w[f"ffn_{name}.weight"], w[f"ffn_{name}.bias"]) for name in ("in", "out")]
    wave = WAVES.get(act) if program.masked_openings else None
    if wave is None:
        return dense(dense(x, *layers[0], act, **limits), *layers[1])
    inner = bent(before_truncation(x, sfix.f, *layers[0]), lambda v, **reach: wave(v, 2 * sfix.f, **reach), **limits)
    inner = view(inner, x.total_size() // x.shape[-1], layers[0][0].shape[-1])
    result = before_truncation(inner, masked_opening.WAVE_BITS, *layers[1])
    return store(rescale(result, masked_opening.WAVE_BITS + sfix.f), *x.shape)


def bent(raw, wave, *, reach):
    """wave(raw, reach=reach), piece by piece. `reach` may be two numbers and a public bit, known at run time only, that
    chooses the second: of a run of layers few reach far.

    Shapes: sint vector -> sint container. Scale: that of the wave.
    Interval: that of the wave.
    Error: that of the wave.
    Rounds: those of the wave, again for every further `PIECE`. Opens: as the wave.
    """
    if not isinstance(reach, tuple):
        return elementwise(lambda v: wave(v, reach=reach), raw, masked_opening.PIECE)
    *reaches, chosen = reach
    source, result = store(raw, raw.size), scratch((raw.size,), sint)

    def put(which):
        result.assign_vector(bent(source.get_vector(), wave, reach=reaches[which]).get_vector())
        break_point()

    if_e(chosen)(lambda: put(1))
    else_(lambda: put(0))
    return result


def gated(x, w, act, **limits):
    """(act(x W_g + b_g) ∘ (x W₁ + b₁)) W₂ + b₂ (Shazeer 2020).

    Shapes: `[..., h]`, weights ffn_gate, ffn_in `[h, inner]`, ffn_out `[inner, h]` -> `[..., h]`. Scale: f.
    Interval: that of the activation, which takes the limits, and products below 2^(k-f-1).
    Error: 3 units, and the activation's times the other factor.
    Rounds: 14, and 5 for every further `PIECE` of inner values; 37 without masked openings. Opens: as the activation.
    """
    gate, up = (before_truncation(x, sfix.f, w[f"{n}.weight"], w[f"{n}.bias"]) for n in ("ffn_gate", "ffn_in"))
    wave = WAVES.get(act) if program.masked_openings else None
    if wave is None:
        inner = getattr(activations, act)(store(rescale(gate, 2 * sfix.f), gate.size), **limits).get_vector()
    else:
        bits = masked_opening.WAVE_BITS
        waves = bent(gate, lambda v, **reach: rescale(wave(v, 2 * sfix.f, **reach), bits).v, **limits)
        inner = sfix._new(waves.get_vector())
    product = inner * rescale(up, 2 * sfix.f)
    bias = w["ffn_out.bias"]
    return dense(store(product, *x.shape[:-1], w["ffn_in.bias"].shape[-1]), w["ffn_out.weight"], bias)
