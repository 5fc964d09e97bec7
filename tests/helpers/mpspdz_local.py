"""MP-SPDZ on this machine for tests: an installation or a skip, programs without clients, toy models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from secfwt.codegen.model.hf import read_model
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.mpspdz.calls import translate
from secfwt.codegen.mpspdz.options import MpSpdzOptions
from secfwt.codegen.mpspdz.program import Container
from secfwt.codegen.mpspdz.protocols import PROTOCOLS
from secfwt.codegen.owners.log_sum import log_sums
from secfwt.codegen.plan.build import build_plan
from secfwt.codegen.plan.graph import Plan
from secfwt.codegen.plan.oracle import run_plan
from secfwt.runtime.engine import Batch
from secfwt.runtime.mpspdz.certificates import make_player_data
from secfwt.runtime.mpspdz.compiler import compile_program
from secfwt.runtime.mpspdz.installation import Installation, MpSpdzError, find, find_party
from secfwt.runtime.mpspdz.machines import MpSpdzParties

OTHERS = [name for name in PROTOCOLS if name != "ring"]
"""Protocols besides the usual one; those between two parties alone take up to a minute for what a toy needs."""
ONE = 2**16  # 1.0 at the default scale

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
CONFIGS = {
    "bert": ("Bert", SIZES | {"max_position_embeddings": 40}),
    "roberta": ("Roberta", SIZES | {"max_position_embeddings": 42, "pad_token_id": 1, "layer_norm_eps": 1e-5}),
    "distilbert": (
        "DistilBert",
        {"dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 32, "max_position_embeddings": 40},
    ),
}
LLAMA = SIZES | {"num_key_value_heads": 2, "max_position_embeddings": 40, "rms_norm_eps": 1e-5}
DECODERS = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_inner": 32, "n_positions": 40},
    "llama": LLAMA,
    "mistral": LLAMA | {"sliding_window": None},
    "qwen2": LLAMA,
    "qwen3": LLAMA | {"head_dim": 8},
}
HEADS = {
    "classification": ("ForSequenceClassification", {"labels": ()}),
    "masked_lm": ("ForMaskedLM", {"label_words": ("good", "bad"), "template": "{text} {mask}"}),
    "prototypes": ("Model", {"label_texts": ("world news", "sports news", "science")}),
}


def toy_plan(
    folder: Path,
    family: str = "bert",
    head: str = "classification",
    sizes: Mapping[str, int] | None = None,
    **choices: object,
) -> Plan:
    """Model plan of a toy checkpoint's config.json; `sizes`: other ones than BERT's usual."""
    name, config_sizes = CONFIGS[family]
    suffix, head_options = HEADS[head]
    config = {"model_type": family, "architectures": [name + suffix], "vocab_size": 50, **config_sizes, **(sizes or {})}
    (folder / "config.json").write_text(json.dumps(config))
    defaults = {"sequence_length": 6, "n_prompt_tokens": 2, "intrinsic_dim": 4, "popsize": 3, "rfa_features": 8}
    options = GenOptions(**{**defaults, "head": head, **head_options, **choices})  # type: ignore[arg-type]
    return build_plan(read_model(folder, options), options)


def toy_decoder_plan(
    folder: Path, family: str = "llama", sizes: Mapping[str, int] | None = None, **choices: object
) -> Plan:
    """Model plan of a toy decoder's config.json, whose template has two tokens behind the text."""
    config = {"model_type": family, "architectures": ["ToyForCausalLM"], "vocab_size": 50, **DECODERS[family]}
    (folder / "config.json").write_text(json.dumps(config | (sizes or {})))
    defaults = {"sequence_length": 6, "n_prompt_tokens": 2, "intrinsic_dim": 4, "popsize": 3, "attention": "softmax"}
    words = {"label_words": ("good", "bad"), "template": "{text} So it is", "template_rows": 2}
    options = GenOptions(**{**defaults, **words, **choices})  # type: ignore[arg-type]
    return build_plan(read_model(folder, options), options)


def installation(protocol: str | None = None) -> Installation:
    """An installation with this party program, or a skip with the reason."""
    try:
        found = find()
        if protocol is not None:
            found.party(protocol)
    except MpSpdzError as error:
        pytest.skip(str(error))
    return found


HELPERS = """
from lib.tensor import tensor

def get(*shape, kind=sfix):
    x = tensor(shape, kind)
    words = sint.get_input_from(0, size=x.total_size())
    x.assign_vector(words if kind is sint else sfix._new(words))
    break_point()
    return x

def out(x):
    (x.get_vector() if hasattr(x, "shape") else x).v.reveal().binary_output(0)
"""


def configure(protocol: str = "ring", budget: int = 200_000, **choices: bool) -> str:
    """What the generator's template says at the top of a program, and short names for input and output."""
    options = PROTOCOLS[protocol].settings | choices
    settings = dict(fraction_bits=16, value_bits=31, round_nearest=False, budget=budget, **options)
    return f"from lib.settings import configure\nconfigure(**{settings})\n{HELPERS}"


WAYS = {
    "masked openings": {},
    "series": {"masked_openings": False},
    "bits": {"masked_openings": False, "trunc_pr": False},
}
"""Of periodic functions."""


def run_kernels(folder: Path, source: str, words: Sequence[np.ndarray], protocol: str = "ring") -> np.ndarray:
    """Run a program whose private input is `words` (int64) of party 0; what it writes as binary output, in units of
    2^-16.
    """
    flat = np.concatenate([np.ravel(w) for w in words])
    file = folder / "program.mpc"
    file.write_text(source)
    found = installation(protocol)
    batch = compile_program(found, file, folder, protocol).batch
    make_player_data(folder, PROTOCOLS[protocol].parties)
    (folder / "Player-Data" / "Input-P0-0").write_text(" ".join(map(str, flat)))
    with MpSpdzParties(find_party(found, protocol), protocol, "program", folder, folder, batch=batch) as parties:
        codes = parties.wait(300)
        assert set(codes) == {0}, (folder / "party0.log").read_text()
    return np.fromfile(folder / "Player-Data" / "Binary-Output-P0-0", dtype="<i8") / ONE


def fixed(values: np.ndarray, bits: int = 16) -> np.ndarray:
    """round(values * 2^bits) modulo 2^64, as int64; bits up to 64."""
    whole = np.rint(np.ldexp(np.asarray(values, np.float64), min(bits, 62)))
    return whole.astype(np.int64).astype(np.uint64).__lshift__(np.uint64(max(bits - 62, 0))).astype(np.int64)


EXAMPLES = 4


class Toy:
    """A toy plan with random weights, four examples and two candidates."""

    def __init__(self, folder: Path, head: str = "classification", **choices: object) -> None:
        rng = np.random.default_rng(1)
        self.plan = toy_plan(folder, "bert", head, **choices)
        program = translate(self.plan, MpSpdzOptions())
        plain = [(container, container.shape) for container in program.weights]
        stacked = [(c, c.shape[1:]) for stack in program.stacks.values() for c in stack.values()]
        self.weights = {
            name: random_weight(rng, container, shape, name)
            for container, shape in plain + stacked for name in container.sources if ".log_sum." not in name
        }  # fmt: skip
        spec = self.plan.meta["spec"]
        tokens, hidden, labels = 6, spec["hidden_size"], len(spec["head"]["labels"])
        mask = np.ones((EXAMPLES, tokens))
        mask[1, 4:] = 0
        inputs = {
            "x": rng.standard_normal((EXAMPLES, tokens, hidden)), "mask": mask,
            "select": mask / mask.sum(axis=1, keepdims=True) if head == "prototypes" else np.eye(tokens)[[1, 2, 3, 4]],
            "labels": np.eye(labels)[np.arange(EXAMPLES) % labels],
            "example_weight": np.full((EXAMPLES, 1), 1 / EXAMPLES),
        }  # fmt: skip
        self.batch = Batch({v.attrs["name"]: inputs[v.attrs["name"]] for v in self.plan.inputs("example")})
        self.z = rng.standard_normal((2, *self.plan.inputs("candidate")[0].shape))
        if choices.get("attention") == "softmax":
            self.weights |= log_sums(self.plan, self.weights, [{**self.batch.inputs, "z": self.z}])

    def reference(self, batch: Batch | None = None) -> dict[str, np.ndarray]:
        """Losses `[2]` and logits `[2, E, L]` in float64."""
        return run_plan(self.plan, self.weights, {**(batch or self.batch).inputs, "z": self.z})


def random_weight(rng: np.random.Generator, container: Container, shape: tuple[int, ...], name: str) -> np.ndarray:
    """In the layout of checkpoints; `shape`: in the program, of one layer."""
    if container.transposed:
        shape = shape[::-1]
    if name.endswith("gamma"):
        return rng.uniform(0.8, 1.2, shape)
    if "phase" in name:
        return rng.standard_normal(shape) * 0.03
    if name == "head.prototypes":
        rows = rng.standard_normal(shape)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return rng.standard_normal(shape) * (0.25 if len(shape) > 1 else 0.1)
