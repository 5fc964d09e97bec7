"""Fourier series of even functions, fitted when the program is compiled."""

import math


def even_wave(function, width, count):
    """c and a_j such that function(x) is close to c + Σ_(j<count) a_j cos(2π(2j + 1) x / 4w) for |x| <= w = `width`.

    Odd harmonics make the series odd about the point (w, function(w)): where an even function is linear from some x0
    on, as |x|/2 and the even part of GELU are, the series holds up to 2w - x0, and bends back beyond without a jump.
    """
    points = 2 * count
    angles = [math.pi / 2 * (i + 0.5) / points for i in range(points)]
    centre = function(width)
    values = [function(width * a / (math.pi / 2)) - centre for a in angles]
    return centre, [
        2 / points * sum(v * math.cos(m * a) for v, a in zip(values, angles, strict=True))
        for m in range(1, 2 * count, 2)
    ]


def shortest_even_wave(function, width, tolerance):
    """`even_wave` with the fewest harmonics that are right to `tolerance` at 500 points of [0, width]."""
    count = 0
    while True:
        count += 1
        centre, amplitudes = even_wave(function, width, count)
        points = [width * i / 499 for i in range(500)]
        if max(abs(at(centre, amplitudes, width, x) - function(x)) for x in points) <= tolerance:
            return centre, amplitudes


def at(centre, amplitudes, width, x):
    """The series at x."""
    return centre + sum(a * math.cos(math.pi / 2 * (2 * j + 1) * x / width) for j, a in enumerate(amplitudes))
