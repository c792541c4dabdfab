"""A picture of two days' users, written as SVG: any browser opens it, and no library draws it."""

import html
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analyst.vectors.model_space import Vectors
from contracts.errors import BadInput

SIZE, MARGIN = 420, 50  # of a panel, in pixels
SHOWN_USERS = 1500  # more dots hide one another
BINS = 30
COLORS = ("#8a8f98", "#c8502d")  # the earlier day, the later one
STYLE = "font: 13px sans-serif; fill: #222"


def draw(path: Path, old: Vectors, new: Vectors) -> None:
    """Left the users of both days on the two directions in which the earlier day varies most.

    A line joins a user's two places. Right how many users moved how far, in cosine distance.
    """
    if path.suffix != ".svg":
        raise BadInput(f"--picture {path}: the picture is SVG, so name a file that ends in .svg")
    in_old, in_new = old.shared(new)
    if len(in_old) < 2:
        raise BadInput(f"{old} and {new} share {len(in_old)} users: a picture needs two or more")
    steps = np.unique(np.linspace(0, len(in_old) - 1, SHOWN_USERS).astype(np.int64))
    moved = (1 - old.cosine(new))[old.days[in_old] != new.days[in_new]]
    path.write_text(
        page(
            user_map(old.at(in_old[steps]), new.at(in_new[steps])),
            histogram(moved),
            f"{old.as_of} (grey) to {new.as_of} (red) under {old.model_id}",
            f"{len(steps):,} of the {len(in_old):,} users in both days",
            f"cosine distance moved by the {len(moved):,} embedded anew",
        ),
        encoding="utf-8",
    )


def page(left: str, right: str, title: str, left_title: str, right_title: str) -> str:
    width, height = 2 * SIZE + 3 * MARGIN, SIZE + 3 * MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><rect width="100%" height="100%" fill="white"/>'
        + f'<text x="{MARGIN}" y="{MARGIN}" style="{STYLE}">{html.escape(title)}</text>'
        + panel(MARGIN, left_title, left)
        + panel(2 * MARGIN + SIZE, right_title, right)
        + "</svg>\n"
    )


def panel(x: int, title: str, content: str) -> str:
    return (
        f'<g transform="translate({x},{2 * MARGIN})"><text y="-14" style="{STYLE}">'
        f'{html.escape(title)}</text><rect width="{SIZE}" height="{SIZE}" fill="none" '
        f'stroke="#bbb"/>{content}</g>'
    )


def user_map(before: Vectors, after: Vectors) -> str:
    """Dots of both days on the two main directions of `before`, and a line a user."""
    axes = main_directions(before.units())
    centre = before.units().mean(axis=0)
    places = [(side.units() - centre) @ axes.T for side in (before, after)]
    together = np.concatenate(places)
    low, high = together.min(axis=0), together.max(axis=0)
    span = np.where(high > low, high - low, 1)
    old, new = ((0.03 + 0.94 * (place - low) / span) * SIZE for place in places)
    lines = "".join(
        f"M{a[0]:.1f} {SIZE - a[1]:.1f}L{b[0]:.1f} {SIZE - b[1]:.1f}"
        for a, b in zip(old, new, strict=True)
    )
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{SIZE - y:.1f}" r="2" fill="{color}" fill-opacity="0.6"/>'
        for points, color in zip((old, new), COLORS, strict=True)
        for x, y in points
    )
    return f'<path d="{lines}" stroke="#ccc" stroke-width="0.5" fill="none"/>{dots}'


def main_directions(units: NDArray[np.float32]) -> NDArray[np.float64]:
    """(2, D) of greatest variance; each points to where its largest number is positive."""
    centred = units.astype(np.float64) - units.mean(axis=0, dtype=np.float64)
    axes: NDArray[np.float64] = np.linalg.svd(centred, full_matrices=False)[2][:2]
    largest = np.abs(axes).argmax(axis=1)
    axes *= np.sign(axes[np.arange(len(axes)), largest])[:, None]
    return axes


def histogram(moved: NDArray[np.float64]) -> str:
    if not len(moved):
        return f'<text x="20" y="40" style="{STYLE}">no user has a newer vector</text>'
    counts, edges = np.histogram(moved, BINS, range=(0, max(float(moved.max()), 1e-6)))
    wide = SIZE / BINS
    bars = "".join(
        f'<rect x="{place * wide:.1f}" y="{SIZE * (1 - share):.1f}" width="{wide - 1:.1f}" '
        f'height="{SIZE * share:.1f}" fill="{COLORS[1]}"/>'
        for place, share in enumerate(counts / counts.max() * 0.95)
    )
    labels = "".join(
        f'<text x="{share * SIZE:.0f}" y="{SIZE + 18}" text-anchor="{anchor}" style="{STYLE}">'
        f"{edges[-1] * share:.3f}</text>"
        for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    )
    top = f'<text x="8" y="16" style="{STYLE}">highest bar: {counts.max():,} users</text>'
    return bars + labels + top
