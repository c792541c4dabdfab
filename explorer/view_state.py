"""What a view shows, as the query string of its address: whoever opens it sees the same."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from urllib.parse import parse_qs, urlencode

import numpy as np
from numpy.typing import NDArray

_DECIMALS = 4  # of a corner; a map is about one wide
_MAX_CORNERS = 200  # of a lasso; a hand draws more, which say nothing

Corners = list[tuple[float, float]]


@dataclass(frozen=True)
class ViewState:
    """Texts are as the controls have them; an empty one is the control's default."""

    day: str = ""
    model: str = ""  # empty: the champion
    other: str = ""  # a second model; empty: none
    color: str = ""
    user: str = ""
    sql: str = ""  # the query that selects users
    lasso: str = ""  # or the corners of what was drawn: x,y;x,y;...
    drawn_on: str = ""  # "other": on the map of the second model

    @classmethod
    def from_query(cls, search: str) -> "ViewState":
        """Unknown names are left out; what the values mean is checked by whoever reads them."""
        given = {name: values[-1] for name, values in parse_qs(search.lstrip("?")).items()}
        return cls(**{name: given[name] for name in asdict(cls()) if name in given})

    @property
    def query(self) -> str:
        given = {name: value for name, value in asdict(self).items() if value}
        return f"?{urlencode(given)}" if given else ""


@dataclass(frozen=True)
class Selection:
    """Users that somebody chose, by drawing or by a query; both empty: nobody."""

    corners: Corners = field(default_factory=list)
    sql: str = ""
    is_on_other: bool = False  # drawn on the map of the second model

    @classmethod
    def of_state(cls, state: ViewState) -> "Selection":
        return cls.of_store(asdict(state))

    @classmethod
    def of_store(cls, store: Mapping[str, object] | None) -> "Selection":
        """As the page keeps it between two requests."""
        lasso, sql, drawn_on = (
            str((store or {}).get(name, "")) for name in ("lasso", "sql", "drawn_on")
        )
        return cls(parse_corners(lasso), sql, drawn_on == "other")

    @property
    def store(self) -> dict[str, str]:
        drawn_on = "other" if self.is_on_other and self.corners else ""
        return {"lasso": format_corners(self.corners), "sql": self.sql, "drawn_on": drawn_on}

    def __bool__(self) -> bool:
        return bool(self.corners or self.sql)


def format_corners(corners: Iterable[tuple[float, float]]) -> str:
    return ";".join(f"{x:.{_DECIMALS}f},{y:.{_DECIMALS}f}" for x, y in corners)


def parse_corners(text: str) -> Corners:
    """Nothing where the text is no list of corners."""
    try:
        pairs = [tuple(map(float, pair.split(","))) for pair in text.split(";") if pair]
        return [(x, y) for x, y in pairs][:_MAX_CORNERS]
    except ValueError:
        return []


def drawn_corners(selected: Mapping[str, object] | None) -> Corners:
    """The corners of what was drawn on a map, a lasso or a box, by Plotly's `selectedData`."""
    for name in ("lassoPoints", "range"):
        shape = (selected or {}).get(name)
        if isinstance(shape, Mapping) and {"x", "y"} <= shape.keys():
            xs, ys = shape["x"], shape["y"]
            if name == "range":
                xs, ys = [xs[0], xs[1], xs[1], xs[0]], [ys[0], ys[0], ys[1], ys[1]]
            step = max(1, len(xs) // _MAX_CORNERS)
            return list(zip(xs[::step], ys[::step], strict=True))[:_MAX_CORNERS]
    return []


def inside_polygon(places: NDArray[np.float64], corners: Corners) -> NDArray[np.bool_]:
    """(N, 2) places -> (N,): does a ray to the right cross the border an odd number of times?"""
    x, y = places[:, 0], places[:, 1]
    inside = np.zeros(len(places), bool)
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], *corners[:1]], strict=True):
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside
