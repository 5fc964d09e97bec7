"""The powers of two that stand in for the attention's divisions."""

import pytest
from helpers.ring_toys import FEATURES, toy
from secfwt.codegen.lowering.attention import AttentionScales
from secfwt.codegen.lowering.scales import LEAST, ROW
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.ring.program import RingValue, Sharing


@pytest.mark.parametrize(("features", "rows"), [(32, 32), (24, 36), (33, 65), (1, 1), (7, 2)])
def test_what_truncations_leave_is_made_up_for(features: int, rows: int) -> None:
    scales = AttentionScales(features, rows)
    divided = 2.0 ** -(scales.row_bits + scales.feature_bits)
    assert divided * scales.feature_pad * scales.row_pad == pytest.approx(1 / (features * rows))
    assert 1 <= scales.row_pad < 2
    assert 0.5 < scales.feature_pad <= 1


@pytest.mark.parametrize("largest", [1.0, 1e3, 1e5, 1e12])
def test_a_numerator_takes_the_precision_that_is_left(largest: float) -> None:
    inverse = RingValue(
        id=0, kind="fourier", inputs=(), shape=(1,), stage=Stage.PAIR, sharing=Sharing.REP, scale=32, bound=50.0
    )
    scale = AttentionScales(32, 32).numerator(inverse, largest)
    assert LEAST <= scale <= ROW + 1
    room = 2.0 ** (62 - scale - inverse.scale)
    fits = inverse.bound * largest / 32 <= room
    assert fits or scale == LEAST
    assert not fits or scale == ROW + 1 or inverse.bound * largest / 32 > room / 2


def test_a_sum_of_parts_is_bounded_by_all_of_them() -> None:
    t = toy("prototypes", prompt_layer=1)
    summed = [v for v in t.ring if v.kind == "add" and v.shape[-2:] == (2 * FEATURES, 8) and v.site == "layer 1"]
    (both,) = summed
    tokens, prompt = (t.ring[i] for i in both.inputs)
    assert both.bound == tokens.bound + prompt.bound
    (product,) = (v for v in t.ring if v.kind == "matmul" and v.inputs[1] == both.id)
    # every query and key in phase: |φ(q)·φ(k)| = F
    assert product.bound >= FEATURES * (tokens.bound + prompt.bound)
