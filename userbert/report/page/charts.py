"""The charts of a report, each from the plain values of its JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from userbert.report.page.svg import ALARM, FIRST, MUTED, SECOND, SERIES_COLORS, chart_svg

_Facts = Mapping[str, Any]
_MAX_DAY_TICKS = 5


@dataclass(frozen=True)
class Chart:
    """A picture, what it shows, and its numbers for whoever cannot see it."""

    caption: str
    svg: Markup
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def arrival_charts(arrivals: _Facts) -> Iterator[Chart]:
    days = arrivals["days"]
    names = [day["day"] for day in days]
    if not days:
        return
    refused = [arrivals["refused"].get(name, 0) for name in names]
    views = [day["views"] for day in days]

    def draw_lines(axes: Axes) -> None:
        colors = [FIRST if name == arrivals["day"] else MUTED for name in names]
        axes.bar(range(len(names)), views, color=colors, width=0.8)
        axes.bar(range(len(names)), refused, bottom=views, color=ALARM, width=0.8)
        _label_days(axes, names)
        axes.set_ylabel("lines")

    yield Chart(
        f"Accepted views by day (the last one in color), refused lines on top, to {names[-1]}",
        chart_svg("lines", "Views and refused lines by day", draw_lines),
        ("day", "views", "refused"),
        list(zip(names, views, refused, strict=True)),
    )
    users, titles = ([day[name] for day in days] for name in ("users", "titles"))
    yield _lines_chart(
        "users",
        "Users and titles by day",
        names,
        {"users": users, "titles": titles},
    )
    yield _hours_chart(arrivals)


def _hours_chart(arrivals: _Facts) -> Chart:
    today = next((d["hours"] for d in arrivals["days"] if d["day"] == arrivals["day"]), [0] * 24)
    usual = arrivals["usual_hours"]

    def draw(axes: Axes) -> None:
        axes.bar(range(24), today, color=FIRST, width=0.8, label=arrivals["day"])
        if usual:
            axes.plot(range(24), usual, color=SECOND, marker="o", markersize=3, label="usual")
        axes.set_xticks(range(0, 24, 4))
        axes.set_xlabel("hour, UTC")
        axes.set_ylabel("views")
        axes.legend()

    return Chart(
        "Views by hour of the day; usual is the mean of the same weekdays before",
        chart_svg("hours", "Views by hour of the day", draw),
        ("hour", "views", "usual"),
        [(hour, count, f"{usual[hour]:,.0f}" if usual else "") for hour, count in enumerate(today)],
    )


def vector_charts(vectors: _Facts, nights: Sequence[_Facts]) -> Iterator[Chart]:
    yield _histogram_chart(
        "norms", f"Lengths of the {vectors['users']:,} vectors", "length", vectors["norms"]
    )
    movement = vectors["movement"] or {}
    if movement.get("distances"):
        caption = f"How far users moved since {movement['from_day']}, in cosine distance"
        yield _histogram_chart("moved", caption, "cosine distance", movement["distances"])
    shown = [night for night in nights if night["effective_rank"] is not None]
    if len(shown) > 1:
        ranks = [round(night["effective_rank"], 1) for night in shown]
        yield _lines_chart(
            "ranks",
            "Effective rank by night",
            [night["as_of"] for night in shown],
            {"effective rank": ranks},
        )


def training_charts(training: _Facts) -> Iterator[Chart]:
    losses = [curve for curve in training["losses"] if len(curve["steps"]) > 1]
    if losses:
        yield _curves_chart("losses", "Training loss by step, nats", losses)
    accuracies = [curve for curve in training["accuracies"] if len(curve["steps"]) > 1]
    if accuracies:
        yield _curves_chart(
            "negatives",
            "How hard negatives are: how often the right candidate scored above all of them",
            accuracies,
            training["chances"],
        )
    held_out = [curve for curve in training["held_out"] if len(curve["steps"]) > 1]
    if held_out:
        yield _curves_chart("held-out", "Accuracy on held-out users by step", held_out)


def cost_chart(costs: Sequence[_Facts]) -> Chart:
    steps = [cost["step"] for cost in costs]
    seconds = [cost["seconds"] for cost in costs]

    def draw(axes: Axes) -> None:
        bars = axes.barh(range(len(steps)), seconds, color=FIRST)
        axes.bar_label(bars, [f"{value:,.0f} s" for value in seconds], padding=3, fontsize=9)
        axes.set_yticks(range(len(steps)), steps)
        axes.invert_yaxis()
        axes.margins(x=0.15)
        axes.set_xlabel("seconds")

    return Chart(
        "Seconds of each Spark step, the slowest first",
        chart_svg("costs", "Seconds by step", draw, has_names=True),
        ("step", "seconds"),
        list(zip(steps, seconds, strict=True)),
    )


def _histogram_chart(name: str, caption: str, unit: str, histogram: _Facts) -> Chart:
    edges, counts = histogram["edges"], histogram["counts"]

    def draw(axes: Axes) -> None:
        axes.stairs(counts, edges, fill=True, color=FIRST)
        axes.set_xlabel(unit)
        axes.set_ylabel("users")

    rows = [
        (f"{low:.3g} to {high:.3g}", count)
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]
    return Chart(caption, chart_svg(name, caption, draw), (unit, "users"), rows)


def _lines_chart(
    name: str, caption: str, days: Sequence[str], series: Mapping[str, Sequence[float]]
) -> Chart:
    def draw(axes: Axes) -> None:
        for color, (label, values) in zip(SERIES_COLORS, series.items(), strict=False):
            axes.plot(range(len(days)), values, color=color, marker="o", markersize=3, label=label)
        axes.set_ylim(bottom=0)
        _label_days(axes, days)
        axes.legend()

    rows = list(zip(days, *series.values(), strict=True))
    return Chart(caption, chart_svg(name, caption, draw), ("day", *series), rows)


def _curves_chart(
    name: str, caption: str, curves: Sequence[_Facts], chances: Mapping[str, float] | None = None
) -> Chart:
    """Curves by step; a dashed line is what a blind guess gives."""

    def draw(axes: Axes) -> None:
        for place, curve in enumerate(curves):
            color = SERIES_COLORS[place % len(SERIES_COLORS)]
            dashes = "-" if place < len(SERIES_COLORS) else ":"
            label = curve["name"].replace("_", " ")
            axes.plot(curve["steps"], curve["values"], color=color, linestyle=dashes, label=label)
        for chance in sorted(set((chances or {}).values())):
            axes.axhline(chance, color=MUTED, linestyle="--", label="chance")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("step")
        axes.legend()

    rows = [
        (curve["name"], curve["steps"][place], f"{curve['values'][place]:.4g}")
        for curve in curves
        for place in sorted({0, len(curve["steps"]) // 2, len(curve["steps"]) - 1})
    ]
    return Chart(caption, chart_svg(name, caption, draw), ("curve", "step", "value"), rows)


def _label_days(axes: Axes, days: Sequence[str]) -> None:
    """A few days below the axis, and thousands on the other."""
    step = max(1, -(-len(days) // _MAX_DAY_TICKS))
    ticks = list(range(len(days) - 1, -1, -step))
    axes.set_xticks(ticks, [_short_day(days[tick]) for tick in ticks])
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _short_day(day: str) -> str:
    return f"{date.fromisoformat(day):%d %b}"
