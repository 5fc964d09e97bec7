"""Neurons in classes of reach: every one in an interval that serves it, with fewer harmonics than one class takes."""

from __future__ import annotations

import numpy as np
import pytest
from secfwt.codegen.series.activations import OF_DECODERS
from secfwt.codegen.series.classes import LEAST, Neurons, alike, classified
from secfwt.codegen.series.nonlinear import ACTIVATION_ERROR, even_part

INNER = 512


def classes(name: str, half_width: float, reach: np.ndarray) -> Neurons:
    row = OF_DECODERS[name]
    return classified(row, (half_width + row.linear_beyond) / 2, reach)


def harmonics(neurons: Neurons) -> int:
    return sum(each.size * len(each.fit.m) for each in neurons.classes)


@pytest.mark.parametrize("name", ["gelu", "gelu_new", "silu"])
def test_a_neurons_series_is_right_as_far_as_the_neuron_goes(name: str) -> None:
    reach = np.random.default_rng(0).gamma(4.0, 0.8, INNER)
    neurons = classes(name, 12.0, reach)
    assert len(neurons.classes) > 1
    assert sorted(neurons.order) == list(range(INNER))
    assert sum(each.size for each in neurons.classes) == INNER
    fits = [each.fit for each in neurons.classes for _ in range(each.size)]
    for place in range(0, INNER, 7):
        u = np.linspace(-1, 1, 801) * min(reach[neurons.order[place]], 12.0)
        error = fits[place](u / neurons.periods[place]) - OF_DECODERS[name].even_part(u)
        assert np.abs(error).max() < ACTIVATION_ERROR + 5e-3  # what `linear_beyond` leaves, besides


def test_classes_save_harmonics_and_narrow_the_norm() -> None:
    reach = np.random.default_rng(1).gamma(4.0, 0.8, INNER)
    neurons, whole = classes("gelu", 14.0, reach), alike(INNER, 8.5, even_part("gelu", 8.5))
    assert harmonics(neurons) < 0.7 * harmonics(whole)
    assert neurons.norm < 0.7 * whole.norm


def test_neurons_that_all_go_far_are_one_class() -> None:
    (only,) = classes("gelu", 12.0, np.full(INNER, 12.0)).classes
    assert (only.size, only.width) == (INNER, 7.5)


def test_neurons_may_all_do_with_less_than_the_layers_interval() -> None:
    for reach in (np.full(INNER, 0.01), np.linspace(0.1, 3.0, INNER)):
        neurons = classes("gelu", 12.0, reach)
        assert all(each.size for each in neurons.classes)
        assert sum(each.size for each in neurons.classes) == INNER
        assert neurons.classes[-1].width < 7.5


def test_a_few_neurons_are_no_class() -> None:
    reach = np.full(INNER, 12.0)
    reach[: LEAST // 2] = 0.5
    assert len(classes("gelu", 12.0, reach).classes) == 1


def test_what_lies_beyond_the_layers_interval_is_left_out() -> None:
    *_, last = classes("gelu", 9.0, np.linspace(1.0, 40.0, INNER)).classes
    assert last.width == 6.0
