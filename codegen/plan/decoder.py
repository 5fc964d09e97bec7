"""A decoder's part of the model plan, from the rows of tokens to the row that the head reads.

A sequence has 1 + T (+ n) rows: an empty one, T of tokens, padded on the left, and n of a prompt: before the template's
end (`--prompt-at end`) or before the text (`start`). What stands behind the text, prompt and template's end, is as long
in every example. From the prompt's layer on these rows are a part of their own: text sees nothing behind it, and its
rows remain an example's in all layers, while the part behind it is a pair's. A prompt before the text is seen by all of
it: from the prompt's layer on all rows are a pair's.

The public first token, which draws most of the attention (Xiao et al. 2024), is no row but weights: it sees only
itself, so that its keys and values depend on the model alone. They stand in the slot before the text's first token.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ..model.options import GenOptions
from ..model.spec import ModelSpec
from ..model.weights import prompted_layers
from .graph import Plan
from .inputs import affine, candidate, example, prompt_of_example
from .projection import PUBLIC_BITS, projection_scale, projection_seed


def decoder_row(plan: Plan, spec: ModelSpec, options: GenOptions, prompt: bool = True) -> int:
    """The row that the head reads, `[h]`, behind the last norm: the last one, or the mean of the text's."""
    decoder = Decoder(plan, spec, options, prompt)
    parts = decoder.parts
    for layer in range(options.clear_layers, spec.num_hidden_layers):
        parts = decoder.prompted(layer, parts)
        last = layer == spec.num_hidden_layers - 1 and spec.head.rows == "last"
        parts = decoder.last_row(layer, parts) if last else decoder.layer(layer, parts)
    if spec.head.rows == "last":
        row = plan.add("first_row", parts, shape=(spec.hidden_size,))
        return affine(plan, final_norm(plan, spec, row), "final_norm")
    rows = parts[0] if len(parts) == 1 else plan.add("join_rows", parts, shape=(decoder.rows, spec.hidden_size))
    select = example(plan, "select", (decoder.rows,), 1.0)
    mean = plan.add("mean_rows", (final_norm(plan, spec, rows, decoder.mask), select), shape=(spec.hidden_size,))
    return affine(plan, mean, "final_norm")


def decoder_rows(plan: Plan, spec: ModelSpec, options: GenOptions, layers: int) -> int:
    """The rows that enter layer `layers`, without a prompt's offset."""
    decoder = Decoder(plan, spec, options, prompt=False)
    parts = decoder.parts
    for layer in range(options.clear_layers, layers):
        parts = decoder.layer(layer, parts)
    return parts[0]


def sequence_rows(options: GenOptions) -> int:
    """Rows of a decoder's sequence."""
    return 1 + options.sequence_length + options.own_rows


def final_norm(plan: Plan, spec: ModelSpec, x: int, *mask: int) -> int:
    """The norm behind the last layer, without its affine part; 0 where the mask is."""
    return plan.add("final_norm", (x, *mask), shape=plan[x].shape, norm=spec.norm, eps=spec.layer_norm_eps)


@dataclass
class Decoder:
    """A sequence of `plan`: its inputs, and its rows in parts, layer by layer."""

    plan: Plan
    spec: ModelSpec
    options: GenOptions
    prompt: bool

    def __post_init__(self) -> None:
        plan, options = self.plan, self.options
        self.prompt = self.prompt and bool(options.n_prompt_tokens)
        self.rows = sequence_rows(options)
        self.behind = options.template_rows + options.own_rows
        self.parts: tuple[int, ...] = (example(plan, "x", (self.rows, self.spec.hidden_size)),)
        self.mask = example(plan, "mask", (self.rows,), 1.0)
        # a text that is continued has one prompt, which is shared with it
        given = candidate if self.spec.head.kind != "tokens" else prompt_of_example
        self.z = given(plan, self.spec, options) if self.prompt else None

    def prompted(self, layer: int, parts: tuple[int, ...]) -> tuple[int, ...]:
        """The rows that enter a layer, with its prompt's offset if it has one."""
        if self.z is None or layer not in prompted_layers(self.spec, self.options):
            return parts
        options, h = self.options, self.spec.hidden_size
        index = layer - options.prompt_layer
        offset = self.plan.add(
            "offset", (self.z,), shape=(options.n_prompt_tokens, h),
            seed=projection_seed(options.seed, index), bits=PUBLIC_BITS,
            scale_bits=projection_scale(options.intrinsic_dim), first=index * options.intrinsic_dim,
            intrinsic_dim=options.intrinsic_dim, unit_bits=options.prompt_bits,
        )  # fmt: skip
        (rows,), text = parts, self.rows - self.behind
        if options.prompt_at == "start":
            return (self.plan.add("add_first", (rows, self.mask, offset), shape=self.plan[rows].shape),)
        text_rows, behind = self.cut(rows, 0, text), self.cut(rows, text, self.rows)
        at = 0 if options.prompt_at == "end" else self.behind - options.n_prompt_tokens
        return text_rows, self.plan.add("add_offset", (behind, offset), shape=self.plan[behind].shape, at=at)

    def layer(self, layer: int, parts: tuple[int, ...]) -> tuple[int, ...]:
        """All rows behind a layer, part by part: each attends to those before it and to itself."""
        return tuple(self.rows_behind(layer, part, parts[: i + 1]) for i, part in enumerate(parts))

    def last_row(self, layer: int, parts: tuple[int, ...]) -> tuple[int, ...]:
        """The last row behind a layer."""
        rows = self.plan[parts[-1]].shape[0]
        return (self.rows_behind(layer, self.cut(parts[-1], rows - 1, rows), parts),)

    def cut(self, rows: int, lo: int, hi: int) -> int:
        """Rows lo ≤ i < hi."""
        if (lo, hi) == (0, self.plan[rows].shape[0]):
            return rows
        return self.plan.add("slice_rows", (rows,), shape=(hi - lo, self.spec.hidden_size), lo=lo, hi=hi)

    def rows_behind(self, layer: int, reads: int, parts: tuple[int, ...]) -> int:
        """The rows `reads`, which are the last of all `parts`, behind a layer."""
        spec, p = self.spec, f"layers.{layer}"
        featured = self.options.attention == "rfa"
        weighed = ["feature_query", "feature_key"] if featured else ["log_sum"]
        dense = ["q", "k", "v", *weighed, "o", *(["ffn_gate"] if spec.gated else []), "ffn_in", "ffn_out"]
        roles = [f"{name}.{part}" for name in dense for part in ("weight", "bias")]
        roles += [f"{name}.{part}" for name in ("input_norm", "ffn_norm") for part in ("gamma", "beta")]
        roles += ["q_norm.gamma", "k_norm.gamma"] if spec.qk_norm else []
        roles += ["sink.key", "sink.value"]
        # texts that are continued have few keys and many; those of a set are of a length
        roles += ["log_sum.keys"] if spec.head.kind == "tokens" else []
        return self.plan.add(
            "decoder_layer", (reads, self.mask, *parts), shape=self.plan[reads].shape,
            weights={role: f"{p}.{role}" for role in roles},
            layer=layer, heads=spec.num_attention_heads, kv_heads=spec.kv_heads, head_dim=spec.head_dim,
            intermediate=spec.intermediate_size, act=spec.hidden_act, gated=spec.gated, norm=spec.norm,
            eps=spec.layer_norm_eps, qk_norm=spec.qk_norm, rope=asdict(spec.rope) if spec.rope else None,
            attention=self.options.attention, features=self.options.features_of(layer) if featured else 0,
        )  # fmt: skip
