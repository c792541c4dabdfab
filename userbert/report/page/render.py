"""A report's page, drawn from its JSON, and the index of the newest reports."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from userbert.report.page.charts import arrival_charts, cost_chart, training_charts, vector_charts

_ZERO = 1e-12
_MAX_MEASURES = 40  # of a model that are listed


def render_report(facts: Mapping[str, Any]) -> str:
    """One file that needs no network and no script."""
    charts = {
        "arrivals": [*arrival_charts(facts["arrivals"])] if facts["arrivals"] else [],
        "vectors": [*vector_charts(facts["vectors"], facts["nights"])] if facts["vectors"] else [],
        "training": [*training_charts(facts["training"])] if facts["training"] else [],
        "costs": [cost_chart(facts["costs"])] if facts["costs"] else [],
    }
    return _templates().get_template("report.html.j2").render(report=facts, charts=charts)


def render_index(reports: list[dict[str, Any]]) -> str:
    """`reports` are (kind, name, title, verdict), the newest first."""
    return _templates().get_template("index.html.j2").render(reports=reports)


@cache
def _templates() -> Environment:
    """Every value is escaped: titles, lines and user_ids are somebody else's text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    environment.filters["share"] = lambda value: "" if value is None else f"{value:+.0%}"
    environment.filters["time"] = lambda text: text[:19].replace("T", " ")
    environment.filters["megabytes"] = lambda value: f"{value / 1e6:,.1f}"
    environment.globals["max_measures"] = _MAX_MEASURES
    return environment


def _number(value: float | None) -> str:
    """With thousands, and with as many digits as a person compares."""
    if value is None:
        return ""
    if isinstance(value, float) and abs(value) < _ZERO:
        value = 0  # the rest of a subtraction, such as -1e-17
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
