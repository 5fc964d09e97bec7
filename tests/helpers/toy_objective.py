"""A model of two operations, for tests of the loop around it: logits = W · mean(rows of x and of the prompt)."""

from __future__ import annotations

import numpy as np
from secfwt.codegen.plan.graph import Output, Plan, Stage, Visibility
from secfwt.runtime.engine import Batch
from secfwt.runtime.tuning.clear import ClearEngine
from secfwt.runtime.tuning.objective import LabelledSet, Objective, PromptSpace

DIM, HIDDEN, TOKENS, LABELS = 5, 8, 3, 2


def toy_plan() -> Plan:
    plan = Plan()
    data = {"stage": Stage.EXAMPLE, "visibility": Visibility.DATA}
    z = plan.add("candidate", shape=(DIM,), stage=Stage.CANDIDATE, visibility=Visibility.DATA, name="z")
    p = plan.add(
        "prompt",
        (z,),
        shape=(1, HIDDEN),
        weights={"p0": "p0"},
        seed="00" * 16,
        bits=13,
        scale_bits=13,
        first=0,
        intrinsic_dim=DIM,
    )
    x = plan.add("example", shape=(TOKENS, HIDDEN), name="x", **data)
    select = plan.add("example", shape=(TOKENS + 1,), name="select", **data)
    rows = plan.add("insert", (x, p), shape=(TOKENS + 1, HIDDEN))
    row = plan.add("mean_rows", (rows, select), shape=(HIDDEN,))
    logits = plan.add("dense", (row,), shape=(LABELS,), weights={"weight": "w", "bias": "b"}, act="none")
    labels = plan.add("example", shape=(LABELS,), name="labels", **data)
    weight = plan.add("example", shape=(1,), name="example_weight", **data)
    loss = plan.add("loss", (logits, labels), shape=(1,), loss="ce", margin=2.0)
    mean = plan.add("mean_examples", (loss, weight), shape=(1,), stage=Stage.CANDIDATE)
    plan.outputs += [Output("loss", mean), Output("logits", logits, max_candidates=1)]
    return plan


class ToyEngine(ClearEngine):
    def __init__(self) -> None:
        w = np.random.default_rng(0).standard_normal((LABELS, HIDDEN))
        super().__init__(toy_plan(), {"p0": np.zeros((1, HIDDEN)), "w": w, "b": np.array([2.0, 0.0])})


def toy_set(name: str, size: int, seed: int) -> LabelledSet:
    rng = np.random.default_rng(seed)
    labels = rng.integers(LABELS, size=size)
    inputs = {
        "x": rng.standard_normal((size, TOKENS, HIDDEN)),
        "select": np.full((size, TOKENS + 1), 1 / (TOKENS + 1)),
        "labels": np.eye(LABELS)[labels],
        "example_weight": np.full((size, 1), 1 / size),
    }
    return LabelledSet(name, Batch(inputs), labels)


def toy_objective(engine: ClearEngine | None = None, reveal: str = "losses") -> Objective:
    sets = {name: toy_set(name, 6, seed) for seed, name in enumerate(("train", "dev", "test"))}
    return Objective(engine or ToyEngine(), PromptSpace(toy_plan(), 2.0), reveal, "ce", 2.0, sets)  # type: ignore[arg-type]
