"""What the plans of encoders and decoders begin with, and the operations that both have."""

from __future__ import annotations

from ..model.options import GenOptions
from ..model.spec import ModelSpec
from ..model.weights import prompted_layers
from .graph import Plan, Stage, Visibility


def example(plan: Plan, name: str, shape: tuple[int, ...], bound: float = float("inf")) -> int:
    """What the data owner gives for every example."""
    return plan.add("example", shape=shape, stage=Stage.EXAMPLE, visibility=Visibility.DATA, bound=bound, name=name)


def candidate(plan: Plan, spec: ModelSpec, options: GenOptions) -> int:
    """The searched vector: one for each prompted layer, one after the other."""
    size = options.intrinsic_dim * len(prompted_layers(spec, options))
    return plan.add("candidate", shape=(size,), stage=Stage.CANDIDATE, visibility=Visibility.DATA, name="z")


def prompt_of_example(plan: Plan, spec: ModelSpec, options: GenOptions) -> int:
    """The same vector, once for every example."""
    return example(plan, "z", (options.intrinsic_dim * len(prompted_layers(spec, options)),))


def affine(plan: Plan, x: int, name: str) -> int:
    """gamma∘x̂ + beta."""
    return plan.add("affine", (x,), shape=plan[x].shape, weights={p: f"{name}.{p}" for p in ("gamma", "beta")})
