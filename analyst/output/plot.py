"""A picture of two days' users: where they are, and how far they moved."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analyst.vectors.model_space import Vectors
from contracts.errors import BadInput

if TYPE_CHECKING:  # matplotlib takes half a second to import
    from matplotlib.axes import Axes

_FORMATS = (".svg", ".png")
_MAX_SHOWN_USERS = 1500  # more dots hide one another
_NUM_BINS = 30
_EARLIER_COLOR, _LATER_COLOR = "#8a8f98", "#c8502d"
# Text stays text in an SVG, and equal vectors make an equal file.
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "userbert", "font.size": 9}

_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def draw_moves(path: Path, old: Vectors, new: Vectors) -> None:
    """Left the users of both days on the two directions in which the earlier day varies most.

    A line joins a user's two places. Right how many users moved how far, in cosine distance.
    """
    if path.suffix not in _FORMATS:
        raise BadInput(f"--picture {path}: name a file that ends in {' or '.join(_FORMATS)}")
    in_old, in_new = old.shared(new)  # (M,), (M,) rows
    if len(in_old) < 2:
        raise BadInput(f"{old} and {new} share {len(in_old)} users: a picture needs two or more")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    steps = np.unique(np.linspace(0, len(in_old) - 1, _MAX_SHOWN_USERS).astype(np.int64))
    moved = (1 - old.cosine(new))[old.days[in_old] != new.days[in_new]]  # (M,) -> (users anew,)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10, 5.4), layout="constrained")
        figure.suptitle(f"{old.as_of} (grey) to {new.as_of} (red) under {_plain(old.model_id)}")
        left, right = figure.subplots(1, 2)
        _draw_map(left, old.at(in_old[steps]), new.at(in_new[steps]))
        left.set_title(f"{len(steps):,} of the {len(in_old):,} users in both days")
        _draw_histogram(right, moved)
        right.set_title(f"cosine distance moved by the {len(moved):,} embedded anew")
        figure.savefig(path, metadata=_NO_METADATA if path.suffix == ".svg" else None, dpi=150)


def _plain(text: str) -> str:
    """Without the signs between which matplotlib looks for formulas."""
    return text.replace("$", r"\$")


def _draw_map(axes: "Axes", before: Vectors, after: Vectors) -> None:
    """Dots of both days on the two main directions of `before`, and a line a user."""
    from matplotlib.collections import LineCollection

    directions = main_directions(before.units())  # (2, D)
    center = before.units().mean(axis=0)  # (D,)
    old, new = ((side.units() - center) @ directions.T for side in (before, after))  # (S, 2) each
    lines = np.stack([old, new], axis=1)  # (S, 2 days, 2)
    axes.add_collection(LineCollection(list(lines), colors="#cccccc", linewidths=0.5))
    for places, color in ((old, _EARLIER_COLOR), (new, _LATER_COLOR)):
        axes.scatter(places[:, 0], places[:, 1], s=6, c=color, alpha=0.6, linewidths=0)
    axes.set_xticks([])
    axes.set_yticks([])


def main_directions(units: NDArray[np.float32]) -> NDArray[np.float64]:
    """(2, D) of greatest variance; each points to where its largest number is positive."""
    centered = units.astype(np.float64) - units.mean(axis=0, dtype=np.float64)  # (S, D)
    directions: NDArray[np.float64] = np.linalg.svd(centered, full_matrices=False)[2][:2]
    largest = np.abs(directions).argmax(axis=1)  # (2,)
    directions *= np.sign(directions[np.arange(len(directions)), largest])[:, None]
    return directions


def _draw_histogram(axes: "Axes", moved: NDArray[np.float64]) -> None:
    if not len(moved):
        axes.text(0.05, 0.9, "no user has a newer vector", transform=axes.transAxes)
        axes.set_axis_off()
        return
    axes.hist(moved, _NUM_BINS, range=(0, max(float(moved.max()), 1e-6)), color=_LATER_COLOR)
    axes.set_xlabel("cosine distance")
    axes.set_ylabel("users")
