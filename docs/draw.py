#!/usr/bin/env python3
"""Draws docs/figures/rooms.svg: the rooms of the two packages and which of them imports which, from the imports.

An arrow that others imply is left out: where A imports B, B imports C and A imports C, the last is not drawn. A room
stands one row below the lowest room that imports it. The same sources give the same bytes.

    docs/draw.py        writes the drawing
    docs/draw.py -      prints it
"""

from __future__ import annotations

import sys
import textwrap
from html import escape
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.rooms import GRAPH, MODULES, ORDER, purpose, room  # noqa: E402

DRAWING = ROOT / "docs" / "figures" / "rooms.svg"
WIDTH, HEIGHT, GAP, ROW, MARGIN = 232, 66, 16, 104, 16
"""Of a box; between boxes and lines of a row; from row to row; around everything."""
THREAD = 8
"""Room that an arrow takes where it passes a row."""
COLOURS = {"runtime": ("#e8f0fb", "#4a78b5"), "codegen": ("#e9f5ea", "#4c8f55")}

Edges = dict[str, set[str]]
Point = tuple[str, int]
"""A room in a row; or an arrow, `from>to`, where it passes one."""


def room_imports() -> Edges:
    """Which rooms a room imports."""
    edges: Edges = {name: set() for name in ORDER}
    for module in MODULES:
        for other in GRAPH[module]:
            if room(other) in edges and room(other) != room(module):
                edges[room(module)].add(room(other))
    return edges


def reduced(edges: Edges) -> Edges:
    """The same without arrows that others imply."""
    below: Edges = {}
    for name in reversed(ORDER):
        below[name] = set().union(edges[name], *(below[other] for other in edges[name]))
    return {a: {b for b in to if not any(b in below[c] for c in to)} for a, to in edges.items()}


def levels(edges: Edges) -> dict[str, int]:
    """The row of every room; one that nobody imports stands above the highest of those it imports."""
    level = {}
    for name in ORDER:
        above = [level[a] for a in ORDER if name in edges[a]]
        level[name] = max(above) + 1 if above else 0
    for name in ORDER:
        if level[name] == 0 and edges[name]:
            level[name] = min(level[b] for b in edges[name]) - 1
    return level


def arranged(edges: Edges, level: dict[str, int]) -> tuple[list[list[Point]], list[list[Point]]]:
    """Rows from left to right, and arrows as the points they pass; neighbours in the drawing are near in a row."""
    rows: list[list[Point]] = [[(n, i) for n in ORDER if level[n] == i] for i in range(max(level.values()) + 1)]
    arrows = []
    for a in ORDER:
        for b in sorted(edges[a], key=ORDER.index):
            between = [(f"{a}>{b}", i) for i in range(level[a] + 1, level[b])]
            for point in between:
                rows[point[1]].append(point)
            arrows.append([(a, level[a]), *between, (b, level[b])])
    steps = [step for arrow in arrows for step in pairwise(arrow)]
    for _ in range(12):
        for row in rows[1:]:
            sort_by_neighbours(row, [(lower, upper) for upper, lower in steps], positions(rows))
        for row in reversed(rows[:-1]):
            sort_by_neighbours(row, steps, positions(rows))
    return rows, arrows


def sort_by_neighbours(row: list[Point], steps: list[tuple[Point, Point]], at: dict[Point, int]) -> None:
    """Sort a row by the mean place of those that its points lead to."""
    near: dict[Point, list[int]] = {point: [] for point in row}
    for here, there in steps:
        if here in near:
            near[here].append(at[there])
    mean = {point: sum(found) / len(found) if found else at[point] for point, found in near.items()}
    row.sort(key=lambda point: mean[point])


def positions(rows: list[list[Point]]) -> dict[Point, int]:
    """The middle of every point from the drawing's middle, rows centred."""
    at = {}
    for row in rows:
        widths = [THREAD if ">" in name else WIDTH for name, _ in row]
        left = -(sum(widths) + GAP * (len(row) - 1)) // 2
        for point, width in zip(row, widths, strict=True):
            at[point] = left + width // 2
            left += width + GAP
    return at


def box(name: str, x: int, y: int) -> str:
    """A room: its name and what it is for."""
    package, own = name.split(".")
    path = ROOT / package / own
    title, path = (f"{package}/{own}/", path / "__init__.py") if path.is_dir() else (f"{package}/{own}.py", path)
    sentence = purpose(path if path.suffix else path.with_suffix(".py")).split("\n")[0]
    fill, line = COLOURS[package]
    lines = textwrap.wrap(sentence.replace("`", ""), 42, max_lines=3, placeholder=" …", break_on_hyphens=False)
    text = "".join(f'<tspan x="{x}" dy="13">{escape(part)}</tspan>' for part in lines)
    return (
        f'<rect x="{x - WIDTH // 2}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="{fill}" stroke="{line}"/>\n'
        f'<text x="{x}" y="{y + 17}" text-anchor="middle" font-size="13" font-weight="bold">{title}</text>\n'
        f'<text y="{y + 20}" text-anchor="middle" font-size="10">{text}</text>'
    )


def curve(points: list[tuple[int, int]]) -> str:
    """An arrow: down from box to box, between the boxes of the rows it passes."""
    x, y = points[0]
    parts = [f"M{x} {y + HEIGHT}"]
    y += HEIGHT
    for i, (x1, top) in enumerate(points[1:], 1):
        bend = (y + top) // 2
        parts.append(f"C{x} {bend} {x1} {bend} {x1} {top}")
        x, y = x1, top
        if i < len(points) - 1:
            y += HEIGHT
            parts.append(f"V{y}")
    return f'<path d="{" ".join(parts)}" fill="none" stroke="#777" marker-end="url(#tip)"/>'


def drawing() -> str:
    """The SVG."""
    edges = reduced(room_imports())
    rows, arrows = arranged(edges, levels(edges))
    at = positions(rows)
    left = min(at.values()) - WIDTH // 2 - MARGIN
    width = max(at.values()) + WIDTH // 2 + MARGIN - left
    height = ROW * (len(rows) - 1) + HEIGHT + 2 * MARGIN
    place = {point: (x - left, MARGIN + ROW * point[1]) for point, x in at.items()}
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="Helvetica, Arial, sans-serif" fill="#222">',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
            'orient="auto"><path d="M0 0 8 4 0 8z" fill="#777"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            *(curve([place[point] for point in arrow]) for arrow in arrows),
            *(box(name, *place[name, i]) for i, row in enumerate(rows) for name, _ in row if ">" not in name),
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["-"]:
        sys.stdout.write(drawing())
    else:
        DRAWING.write_text(drawing(), encoding="utf-8")
