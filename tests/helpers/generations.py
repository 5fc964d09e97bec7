"""Toy decoders compiled for generation, and the three ways of continuing a text with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from helpers.toy_decoders import save_decoder
from numpy.typing import NDArray
from secfwt.codegen.compile import Compiled, compile_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.model.weights import Widened
from secfwt.codegen.native.simulator import Simulator
from secfwt.codegen.owners.continuations import Continuation
from secfwt.codegen.owners.sequences import bare_ids
from secfwt.codegen.plan.oracle import Session as PlanSession
from secfwt.codegen.ring.encoding import decode, encode
from secfwt.codegen.ring.oracle import Session as ProgramSession
from secfwt.codegen.ring.text import program_text

Floats = NDArray[np.float64]
SMALL: dict[str, Any] = {
    "head": "tokens", "attention": "softmax", "sequence_length": 16, "n_prompt_tokens": 0, "max_new_tokens": 8,
    "step_rows": 2, "intrinsic_dim": 5,
}  # fmt: skip


def compiled_toy(folder: Path, family: str, **options: Any) -> Compiled:
    save_decoder(folder, family, "causal_lm")
    return compile_model(folder, GenOptions(**(SMALL | options)))


class Toy:
    """One text, continued by a compiled toy: `plan`, `ring` and `vm` give what a step opens, `[n, …]`."""

    def __init__(self, compiled: Compiled, text: str) -> None:
        assert compiled.embedder is not None
        assert compiled.weights is not None
        self.compiled = compiled
        self.text = Continuation(compiled.embedder, compiled.embedder.tokenise([text])[0][0].ids)
        self.n = compiled.options.step_rows
        inputs: dict[str, Any] = dict(self.text.inputs)
        for v in compiled.plan.inputs("example"):
            if v.attrs["name"] == "z":
                inputs["z"] = np.random.default_rng(0).normal(size=(1, v.size))
        ring = compiled.ring
        words = compiled.lowered.words(Widened(compiled.weights))
        given = {v.attrs["name"]: encode(inputs[v.attrs["name"]], v.scale) for v in ring.inputs("example")}
        self._scale, self._rows = ring[ring.outputs[0].value].scale, ring.inputs("candidate")[0].scale
        self._plan = PlanSession(compiled.plan, compiled.weights, inputs)
        self.ring = ProgramSession(ring, words | given)
        self.simulator = Simulator(program_text(ring), 1 << 22)
        self.simulator.weights(np.concatenate([words[v.attrs["name"]].reshape(-1) for v in ring.inputs("weight")]))
        self.examples = np.concatenate([given[v.attrs["name"]].reshape(-1) for v in ring.inputs("example")])
        self.simulator.examples(1, self.examples)

    def ids(self, text: str) -> list[int]:
        assert self.compiled.embedder is not None
        return bare_ids(self.compiled.embedder.tokenizer, text)

    def first(self) -> tuple[Floats, Floats, Floats]:
        return (
            self._plan.example("first")[0], self._decoded(self.ring.example("first")[0]),
            self._decoded(self.simulator.step(0, np.empty(0, np.uint64), 0).view(np.int64)),
        )  # fmt: skip

    def step(self, behind: Sequence[int], at: int) -> tuple[Floats, Floats, Floats]:
        """Of the tokens `at` ≤ i < `at` + n."""
        rows = self.text.rows(behind[: at + self.n], at)[None]
        words = encode(rows, self._rows)
        plan: Floats = self._plan.step("next", rows, at)[0]
        vm = self._decoded(self.simulator.step(1, words.reshape(-1), 1, at=at).view(np.int64))
        return plan, self._decoded(self.ring.step("next", {"rows": words}, at)[0, 0]), vm.reshape(plan.shape)

    def _decoded(self, words: NDArray[np.int64]) -> Floats:
        return decode(words, self._scale)

    def logits(self, opened: Floats) -> Floats:
        """Logits `[…, V]` of what was opened."""
        assert self.compiled.embedder is not None
        return opened @ self.compiled.embedder.tables["word"].T if self.compiled.spec.tied else opened
