"""The table of activations is complete, and what its rows say of their functions is so."""

import ast
from typing import get_args

import numpy as np
import pytest
from helpers.places import ROOT
from secfwt.codegen.series.activations import ACTIVATIONS, LINEAR_ERROR, Activation
from secfwt.codegen.series.names import ActivationName
from secfwt.codegen.series.nonlinear import ACTIVATION_ERROR, even_part
from secfwt.codegen.series.ranges import Ranges

ROWS = pytest.mark.parametrize("row", ACTIVATIONS.values(), ids=list(ACTIVATIONS))


def test_the_type_checker_knows_every_row() -> None:
    assert get_args(ActivationName) == tuple(ACTIVATIONS) == tuple(row.name for row in ACTIVATIONS.values())


@ROWS
def test_the_even_part_is_the_function_less_half_its_argument(row: Activation) -> None:
    u = np.linspace(-40, 40, 4001)
    np.testing.assert_allclose(row.even_part(u), row.exact(u) - u / 2, atol=1e-13)
    np.testing.assert_array_equal(row.even_part(u), row.even_part(-u))


@ROWS
def test_the_even_part_is_linear_where_the_row_says(row: Activation) -> None:
    u = np.linspace(row.linear_beyond, 40, 4001)
    assert np.abs(row.even_part(u) - u / 2).max() < LINEAR_ERROR


@ROWS
@pytest.mark.parametrize("reach", [6.0, 12.0])
def test_a_fit_holds_as_far_as_calibration_saw(row: Activation, reach: float) -> None:
    """Beyond the width that it is fitted on, where only symmetry and `linear_beyond` make it right."""
    ranges = Ranges({"site": {"q0.0001": -reach, "q0.9999": reach / 2}}, margin=1.0)
    width = ranges.activation_width("site", row.linear_beyond)
    u = np.linspace(row.linear_beyond, reach, 2001)
    error = np.abs(even_part(row.name, width)(u / (4 * width)) - row.even_part(u))
    assert error.max() < ACTIVATION_ERROR + LINEAR_ERROR


@ROWS
def test_torch_and_the_mpspdz_library_know_every_row(row: Activation) -> None:
    torch = pytest.importorskip("torch")
    from secfwt.runtime.adaptation.student import ACTIVATIONS as TORCH

    u = np.linspace(-9, 9, 1001)
    np.testing.assert_allclose(TORCH[row.name](torch.from_numpy(u)).numpy(), row.exact(u), atol=1e-12)
    library = ast.parse((ROOT / "mpc_programs" / "lib" / "activations.py").read_text())
    function = next(n for n in library.body if isinstance(n, ast.FunctionDef) and n.name == row.name)
    assert [argument.arg for argument in function.args.kwonlyargs] == ["reach"] * row.smooth
