"""Weights of a plan as containers of an MP-SPDZ program."""

from __future__ import annotations

from math import pi

from ...mpc_programs.lib.wire import PHASE_BITS, TURN_BITS
from ..plan.graph import Plan, Value
from .program import Container

FOLDED = {
    "q": "input_norm", "k": "input_norm", "v": "input_norm", "log_sum": "input_norm", "ffn_gate": "ffn_norm",
    "ffn_in": "ffn_norm",
}  # fmt: skip
"""A decoder layer's matrices that take the affine part of the norm before them."""


def weight_container(plan: Plan, value: Value, role: str, sources: tuple[str, ...], fraction_bits: int) -> Container:
    """A weight of one value, without name. `sources`: the canonical names of the tensors that it holds."""
    if value.kind == "decoder_layer":
        return _of_decoder(value, role, sources, fraction_bits)
    shape = _shape(plan, value, role)
    if role == "features":
        return Container("", shape, sources, PHASE_BITS, integer=True, factor=1 / (2 * pi))  # turns
    if role.startswith("phase_"):
        scale = PHASE_BITS if role.endswith("weight") else TURN_BITS
        return Container("", shape, sources, scale, integer=True, transposed=len(shape) > 1)
    softmax_query = role.startswith("q.") and value.attrs["attention"] == "softmax"
    factor = value.attrs["head_dim"] ** -0.5 if softmax_query else 1.0
    return Container("", shape, sources, fraction_bits, transposed=len(shape) > 1 and role != "p0", factor=factor)


def folded_away(value: Value, role: str) -> bool:
    """Whether a weight is in others' containers."""
    return value.kind == "decoder_layer" and role.partition(".")[0] in FOLDED.values()


def _of_decoder(value: Value, role: str, sources: tuple[str, ...], fraction_bits: int) -> Container:
    a, width, (name, part) = value.attrs, value.shape[-1], role.split(".")
    queries, keys, inner = a["heads"] * a["head_dim"], a["kv_heads"] * a["head_dim"], a["intermediate"]
    shapes = {
        "q": (width, queries), "k": (width, keys), "v": (width, keys), "o": (queries, width),
        "log_sum": (width, a["heads"]), "ffn_gate": (width, inner), "ffn_in": (width, inner), "ffn_out": (inner, width),
        "sink": (0, keys), "q_norm": (0, a["head_dim"]), "k_norm": (0, a["head_dim"]),
    }  # fmt: skip
    shape = shapes[name] if part == "weight" else shapes[name][1:]
    norm = FOLDED.get(name)
    norms = tuple(f"{source.removesuffix(role)}{norm}" for source in sources) if norm else ()
    # queries over √D: where they are normalised, by the norm's gamma
    scaled = name == ("q_norm" if a["qk_norm"] else "q")
    factor = a["head_dim"] ** -0.5 if scaled else 1.0
    return Container("", shape, sources, fraction_bits, transposed=len(shape) > 1, factor=factor, norms=norms)


def _shape(plan: Plan, value: Value, role: str) -> tuple[int, ...]:
    """Shape of one weight as the program holds it: matrices `[in, out]`."""
    attrs, width = value.attrs, value.shape[-1]
    if value.kind == "prompt":
        return value.shape
    if value.kind in ("dense", "cosine"):
        return (width,) if role == "bias" else (plan[value.inputs[0]].shape[-1], width)
    if value.kind == "affine":
        return (width,)
    heads, size, angles = attrs["heads"], attrs["head_dim"], attrs["heads"] * attrs["features"]
    if role == "features":
        return (heads, attrs["features"], size)
    if role.startswith(("input_norm", "attention_norm")):
        return (width,)
    name, part = role.split(".")
    inner = attrs["intermediate"]
    phase = (width, angles)
    sizes = {
        "ffn_in": (width, inner), "ffn_out": (inner, width), "phase_query": phase, "phase_key": phase,
        "log_sum": (width, heads),
    }  # fmt: skip
    matrix = sizes.get(name, (width, width))
    return matrix if part == "weight" else matrix[1:]
