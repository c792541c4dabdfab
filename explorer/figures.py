"""The map of users and the chart of one user's days, as Plotly reads them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.day_reader import ModelDay
from explorer.view_state import Corners

MAX_POINTS = 100_000  # drawn at once; of more users, those at even steps
_POINT_SIZES = (2.0, 5.0)  # pixels; points of many users would cover one another
_USERS_OF_LARGE_POINTS = 5_000
_MARGIN = 0.05  # around the points of a map, which is about one wide
_FEWEST_DAYS = 28  # on the axis of a user's views, so that one day is no wall
_RING = 4  # pixels around a point
_MAX_NAME = 48  # letters of a group's name in the legend
# Each is at least 3:1 against white and against the dark page.
_GROUP_COLORS = (
    *("#2f7fc1", "#c2561f", "#2f8f5b", "#a64ca6", "#8a7a00", "#c43c5e", "#3c8f93", "#7d6bd1"),
    *("#6f7f2a", "#b0653f", "#4b7fa8", "#9a5b86"),
)
_NO_GROUP_COLOR = "#808890"
_SCALE = [[0, "#5586c4"], [0.5, "#9a8a1f"], [1, "#d0452f"]]
_USER_COLOR, _NEAR_COLOR, _CHOSEN_COLOR = "#d0342c", "#e07b00", "#c218a8"

_FEW_VIEWS = 3  # of a day; there is no half one
_DAY_MS = 24 * 60 * 60 * 1000

Figure = dict[str, Any]
NUM_HIGHLIGHTS = 4  # who is chosen, who is near, a user's way, the user: the last traces of a map
_NO_TRACE: Figure = {"type": "scattergl", "x": [], "y": [], "visible": False}


@dataclass(frozen=True, eq=False)
class Coloring:
    """What the color of a user says. `groups` or `values`, one for each user.

    Shapes: groups (N,) int64 into `names`, -1 for none; values (N,) float64, NaN for none.
    """

    title: str
    groups: NDArray[np.int64] | None = None
    names: Sequence[str] = ()
    values: NDArray[np.float64] | None = None
    is_logarithmic: bool = False


@dataclass(frozen=True, eq=False)
class Highlights:
    """Rows of users that stand out: those chosen, one user, the nearest ones; and a user's way."""

    chosen: NDArray[np.int64]
    user: int | None = None
    near: Sequence[int] = ()
    way: NDArray[np.float64] | None = None  # (M, 2), oldest first
    way_days: Sequence[date] = ()


def shown_rows(num_users: int) -> NDArray[np.int64]:
    steps = np.linspace(0, num_users - 1, min(num_users, MAX_POINTS))
    return np.unique(steps.astype(np.int64))


def point_size(num_points: int) -> float:
    """Pixels across. With four times the points, each takes half the room."""
    smallest, largest = _POINT_SIZES
    wanted = largest * float(np.sqrt(_USERS_OF_LARGE_POINTS / max(num_points, 1)))
    return min(largest, max(smallest, wanted))


def map_figure(
    day: ModelDay, coloring: Coloring, marked: Highlights, corners: Corners | None = None
) -> Figure:
    """`corners` of what was drawn around the users who are chosen."""
    rows = shown_rows(len(day.vectors))
    traces = [*_user_traces(day, coloring, rows), *_highlight_traces(day, marked)]
    return {"data": traces, "layout": _map_layout(_clipped(corners or [], day))}


def legend_entries(figure: Figure) -> list[tuple[str, str]]:
    """The color and the name of each group and of what stands out on a map."""
    named = [trace for trace in figure["data"] if "meta" in trace]
    return [(_color_of(trace["marker"]), str(trace["meta"])) for trace in named]


def _color_of(marker: Figure) -> str:
    color = marker["color"]
    return str(marker["line"]["color"] if color == _NO_COLOR else color)


def _user_traces(day: ModelDay, coloring: Coloring, rows: NDArray[np.int64]) -> list[Figure]:
    if coloring.groups is None:
        return [_values_trace(day, coloring, rows)]
    traces = []
    for group, name in [(-1, "none"), *enumerate(coloring.names)]:
        members = rows[coloring.groups[rows] == group]
        if len(members):
            color = _GROUP_COLORS[group % len(_GROUP_COLORS)] if group >= 0 else _NO_GROUP_COLOR
            marker = {"size": point_size(len(rows)), "color": color, "opacity": 0.75}
            traces.append(_points(day, members, name, marker) | {"meta": name})
    return traces


def _values_trace(day: ModelDay, coloring: Coloring, rows: NDArray[np.int64]) -> Figure:
    assert coloring.values is not None
    values = coloring.values[rows]  # (n,)
    colors = np.log1p(values) if coloring.is_logarithmic else values
    title = {"text": _plot_text(coloring.title), "side": "top"}
    bar: Figure = {"title": title, "thickness": 10, "orientation": "h", "y": -0.1}
    if coloring.is_logarithmic:
        ticks = [0, 1, 3, 10, 30, 100, 300, 1000, 3000]
        bar |= {"tickvals": np.log1p(ticks).tolist(), "ticktext": [f"{tick:,}" for tick in ticks]}
    marker = {"size": point_size(len(rows)), "color": _packed(colors), "opacity": 0.8}
    return _points(
        day, rows, "users", marker | {"colorscale": _SCALE, "colorbar": bar, "showscale": True}
    )


def _points(day: ModelDay, rows: NDArray[np.int64], name: str, marker: Figure) -> Figure:
    """Points that know the row of their user; who it is, the page asks when it needs to."""
    return {
        "type": "scattergl",
        "mode": "markers",
        "x": _packed(day.places[rows, 0]),
        "y": _packed(day.places[rows, 1]),
        "customdata": _packed(rows, np.int32),
        "hoverinfo": "none",  # the page has a label of its own
        "name": _plot_text(name),
        "marker": marker,
        "unselected": {"marker": {"opacity": 0.75}},  # who was chosen has a ring instead
    }


def _highlight_traces(day: ModelDay, marked: Highlights) -> list[Figure]:
    """One trace for each of `NUM_HIGHLIGHTS`, so that they can be changed without the others."""
    traces = []
    ring = {"color": _NO_COLOR, "size": point_size(len(day.vectors)) + _RING}
    drawn = marked.chosen[shown_rows(len(marked.chosen))] if len(marked.chosen) else marked.chosen
    for name, rows, color in (
        (f"chosen ({len(marked.chosen):,})", drawn, _CHOSEN_COLOR),
        ("nearest", np.array(marked.near, np.int64), _NEAR_COLOR),
    ):
        marker = ring | {"line": {"color": color, "width": 1}, "opacity": 0.6}
        points = _points(day, rows, name, marker) | {"hoverinfo": "skip", "meta": name}
        traces.append(points if len(rows) else _NO_TRACE)
    has_way = marked.way is not None and len(marked.way) > 1
    traces.append(_way_trace(marked) if has_way else _NO_TRACE)
    traces.append(_NO_TRACE if marked.user is None else _star_trace(day, marked.user))
    return traces


def _star_trace(day: ModelDay, row: int) -> Figure:
    star = {"symbol": "star", "size": 15, "color": _USER_COLOR}
    name = f"user {day.vectors.user_ids[row]}"
    return _points(day, np.array([row]), name, star) | {"meta": name}


def _way_trace(marked: Highlights) -> Figure:
    assert marked.way is not None
    return {
        "type": "scattergl",
        "mode": "lines+markers",
        "x": marked.way[:, 0].tolist(),
        "y": marked.way[:, 1].tolist(),
        "text": [str(day) for day in marked.way_days],
        "hoverinfo": "text",
        "name": "way",
        "meta": f"the way of the user over {len(marked.way_days)} days",
        "line": {"color": _USER_COLOR, "width": 1.5},
        "marker": {"size": 5, "color": _USER_COLOR},
    }


def _map_layout(corners: Corners) -> Figure:
    axis = {"showgrid": False, "zeroline": False, "showticklabels": False, "title": {"text": ""}}
    return {
        **_PLAIN,
        "dragmode": "drawclosedpath",
        "newshape": _OUTLINE | {"drawdirection": "diagonal"},
        "shapes": [_outline(corners)] if corners else [],
        "hovermode": "closest",
        "xaxis": axis,
        "yaxis": axis | {"scaleanchor": "x"},
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "showlegend": False,  # the page has one, whose names wrap
        "uirevision": "map",  # zoom stays when colors change
    }


def _clipped(corners: Corners, day: ModelDay) -> Corners:
    """A shape that is larger than the map would make the map's points small."""
    low, high = day.places.min(axis=0), day.places.max(axis=0)  # (2,) each
    inside = np.clip(np.reshape(corners, (-1, 2)), low - _MARGIN, high + _MARGIN)
    return [(float(x), float(y)) for x, y in inside]


def _outline(corners: Corners) -> Figure:
    path = "L".join(f"{x:.6g},{y:.6g}" for x, y in corners)
    return {"type": "path", "path": f"M{path}Z", **_OUTLINE}


# The page's own colors are behind the chart and in its texts: style.css sets them.
_NO_COLOR = "rgba(0,0,0,0)"
_PLAIN: Figure = {
    "paper_bgcolor": _NO_COLOR,
    "plot_bgcolor": _NO_COLOR,
    "modebar": {"bgcolor": _NO_COLOR, "color": _NO_GROUP_COLOR, "activecolor": _USER_COLOR},
}


_OUTLINE: Figure = {"line": {"color": _CHOSEN_COLOR, "width": 1.5}, "fillcolor": _NO_COLOR}


def views_figure(days: Sequence[tuple[date, int]]) -> Figure:
    """How many views a user has on each day."""
    bars = {
        "type": "bar",
        "x": [str(day) for day, _ in days],
        "y": [views for _, views in days],
        "width": [0.8 * _DAY_MS] * len(days),
        "marker": {"color": _GROUP_COLORS[0]},
        "hovertemplate": "%{x}: %{y} views<extra></extra>",
    }
    axis: Figure = {"showgrid": False, "zeroline": False}
    most = max((views for _, views in days), default=0)
    layout: Figure = {
        **_PLAIN,
        "height": 160,
        "margin": {"l": 32, "r": 8, "t": 8, "b": 32},
        "xaxis": axis
        | {
            "type": "date",
            "tickformat": "%Y-%m-%d",
            "nticks": 5,
            "tickangle": 0,
            "ticklabelposition": "outside right",
        },
        "yaxis": axis | ({"dtick": 1} if most <= _FEW_VIEWS else {"nticks": 4}),
    }
    if days:
        (first, _), (last, _) = days[0], days[-1]
        begin = min(first, last - timedelta(days=_FEWEST_DAYS))
        layout["xaxis"] |= {"range": [str(begin), str(last + timedelta(days=1))]}
    return {"data": [bars], "layout": layout}


def _plot_text(text: str) -> str:
    """Plotly reads some HTML in its texts. Titles and user_ids are data, and never markup."""
    short = text if len(text) <= _MAX_NAME else f"{text[: _MAX_NAME - 1]}…"
    return escape(short, quote=False)


def _packed(numbers: NDArray[Any], kind: type[np.generic] = np.float32) -> Mapping[str, str]:
    """As Plotly's binary arrays: a third of the bytes of digits."""
    flat = np.ascontiguousarray(numbers, kind)
    return {"dtype": flat.dtype.str[1:], "bdata": base64.b64encode(flat.tobytes()).decode()}
