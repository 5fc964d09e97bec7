"""One post-norm transformer encoder layer (Vaswani et al. 2017; BERT)."""

from Compiler.library import break_point, for_range

from lib import attention
from lib.linear import dense
from lib.normalization import affine, normalize
from lib.tensor import store


def encoder_stack(x, mask, weights, **attrs):
    """Layers one after the other in a run-time loop, so that bytecode does not grow with depth.

    Shapes: x `[B, T, h]` (normalised rows: a layer starts with the affine part of the norm below), mask `[B, T]`,
    weights: by role one tensor `[layers, *shape]` -> normalised rows `[B, T, h]`. Scale: f.
    Interval: every layer's that of `encoder_layer`.
    Error: that of `encoder_layer` a layer, as far as the model does not amplify it.
    Rounds: 260 a layer. Opens: nothing.
    """
    hidden = store(x.get_vector(), *x.shape)

    @for_range(len(weights["input_norm.gamma"]))
    def _(layer):
        w = {role: stack[layer] for role, stack in weights.items()}
        rows = affine(hidden, w["input_norm.gamma"], w["input_norm.beta"])
        hidden.assign_vector(encoder_layer(rows, mask, w, **attrs).get_vector())
        break_point()

    return hidden


def encoder_layer(x, mask, w, *, variant, heads, features, floor, act, attention_eps, output_eps):
    """Attention, output projection, layer norm, feed-forward, layer norm without its affine part.

    Shapes: x `[B, T, h]`, mask `[B, T]`; w: this layer's weights by role -> `[B, T, h]`. Scale: f.
    Interval: that of `attention`, `gelu`, `normalize`.
    Error: 1e-3 against float64 on a toy with unit-variance rows.
    Rounds: 257, whatever B, T and h. Opens: nothing.
    """
    attend = {"folded": attention.folded, "paper": attention.paper}[variant]
    y = dense(attend(x, mask, w, heads=heads, features=features, floor=floor), w["o.weight"], w["o.bias"])
    y = normalize(plus(x, y), attention_eps)
    y = affine(y, w["attention_norm.gamma"], w["attention_norm.beta"])
    inner = dense(y, w["ffn_in.weight"], w["ffn_in.bias"], act)
    return normalize(plus(y, dense(inner, w["ffn_out.weight"], w["ffn_out.bias"])), output_eps)


def plus(x, y):
    """x + y of the same shape; local."""
    return store(x.get_vector() + y.get_vector(), *x.shape)
