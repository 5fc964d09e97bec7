"""Figures for people: few digits, and a unit that fits the size."""

from __future__ import annotations

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def digits(value: float) -> str:
    """Three significant digits, never as a power of ten unless tiny."""
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def amount(value: float, unit: str) -> str:
    """A number of bytes, operations, …: 1303607000000, "B" → 1.3 TB."""
    size, prefix = next((each for each in PREFIXES if abs(value) >= 0.9995 * each[0]), PREFIXES[-1])
    return f"{digits(value / size)} {prefix}{unit}"


def seconds(value: float) -> str:
    """A time: 0.031 s, 12 min, 3.4 h, 2.1 days."""
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if value >= 1.5 * size:
            return f"{digits(value / size)} {unit}"
    return f"{digits(value)} s"
