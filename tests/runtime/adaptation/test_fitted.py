"""The protocol's non-linearities as tables in torch."""

import numpy as np
import pytest
from secfwt.codegen.series.nonlinear import even_part
from secfwt.codegen.series.ranges import Ranges

torch = pytest.importorskip("torch")
from secfwt.runtime.adaptation.fitted import curve, fitted_forms  # noqa: E402
from secfwt.runtime.adaptation.student import Architecture  # noqa: E402

CPU = torch.device("cpu")
SITES = {
    "layers.0.activation": {"min": -6.0, "max": 6.0, "q0.0001": -5.0, "q0.9999": 5.0},
    "layers.0.attention_var": {"min": 0.2, "max": 1.5, "q0.0001": 0.2, "q0.9999": 1.4},
    "layers.0.output_var": {"min": 0.3, "max": 9.0, "q0.0001": 0.3, "q0.9999": 8.0},
    "layers.0.den": {"min": -0.01, "max": 0.6, "q0.0001": 0.0, "q0.9999": 0.5},
}
SHAPE = Architecture(1, 2, 16, 1e-12, features=(8,), floor=0.05)


def test_a_table_follows_its_fit_over_several_periods() -> None:
    fit, period = even_part("gelu", 4.0), 16.0
    x = np.linspace(-40, 40, 4001)
    given = curve(fit, period, CPU)(torch.from_numpy(x))
    np.testing.assert_allclose(given.numpy(), fit(x / period), atol=3e-3)


def test_the_gradient_is_that_of_the_fit() -> None:
    fit, period = even_part("gelu", 4.0), 16.0
    x = torch.linspace(-7, 7, 301, dtype=torch.float64, requires_grad=True)
    curve(fit, period, CPU)(x).sum().backward()
    step = 1e-5
    at = x.detach().numpy()
    expected = (fit((at + step) / period) - fit((at - step) / period)) / (2 * step)
    np.testing.assert_allclose(x.grad.numpy(), expected, atol=0.03)


@pytest.mark.parametrize(
    ("site", "low", "high", "exact", "tolerance"),
    [
        ("activation", -5.0, 5.0, torch.nn.functional.gelu, 3e-3),
        ("attention_var", 0.2, 1.5, torch.rsqrt, 3e-3),
        ("output_var", 0.3, 9.0, torch.rsqrt, 4e-3),
        ("den", 0.1, 0.6, torch.reciprocal, 0.3),
    ],
)
def test_fits_are_right_within_their_interval(site: str, low: float, high: float, exact, tolerance: float) -> None:
    forms = fitted_forms(SHAPE, Ranges(SITES), CPU)
    x = torch.linspace(low, high, 500)
    assert float((forms[f"layers.0.{site}"](x) - exact(x)).abs().max()) < tolerance


def test_an_activation_input_far_outside_bends_back() -> None:
    """Training sees the wrong value that the program would compute there."""
    form = fitted_forms(SHAPE, Ranges(SITES), CPU)["layers.0.activation"]
    assert float(form(torch.tensor(14.0))) < 10
