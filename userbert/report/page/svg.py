"""Matplotlib's figures as SVG for the inside of a page: its colors, its font, its width.

A chart is drawn in marker colors that nobody else uses, and each marker becomes a variable of the
page's style sheet, so that one picture serves light and dark.
"""

import io
import re
from collections.abc import Callable
from html import escape
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# As wide as a telephone's page: on a wide one, charts stand next to each other.
_WIDTH_INCHES, _HEIGHT_INCHES = 4.6, 2.5
_LETTER_INCHES, _LABEL_INCHES = 0.09, 0.36  # of a digit of 10 points; of the axis's own label
_TEXT, _LINES = "#0a0b01", "#0a0b02"
FIRST, SECOND, THIRD, MUTED, ALARM = (f"#0a0b{number:02x}" for number in range(16, 21))
SERIES_COLORS = (FIRST, SECOND, THIRD)
_VARIABLES = {
    _TEXT: "currentColor",
    _LINES: "var(--line)",
    FIRST: "var(--first)",
    SECOND: "var(--second)",
    THIRD: "var(--third)",
    MUTED: "var(--muted)",
    ALARM: "var(--alarm)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _LINES,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": _LINES,
    "ytick.color": _LINES,
    "xtick.labelcolor": _TEXT,
    "ytick.labelcolor": _TEXT,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def chart_svg(
    name: str, title: str, draw: Callable[[Axes], None], has_names: bool = False
) -> Markup:
    """The chart that `draw` puts on the axes it is given; `title` is what a screen reader says.

    Margins that follow from the length of the numbers take 0.02 CPU seconds a chart less than
    Matplotlib's own layout. `has_names` asks for that one: names can be of any length.
    """
    text = io.StringIO()
    # The salt makes ids that no other chart of the page has, and equal facts an equal picture.
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        size = (_WIDTH_INCHES, _HEIGHT_INCHES)
        figure = Figure(figsize=size, layout="constrained" if has_names else None)
        axes = figure.subplots()
        draw(axes)
        if not has_names:
            figure.subplots_adjust(_left_margin(axes), bottom=0.21, right=0.98, top=0.95)
        figure.savefig(text, format="svg", metadata=_NO_METADATA)
    return Markup(_for_page(text.getvalue(), title))  # nosec B704: Matplotlib escapes texts


def _left_margin(axes: Axes) -> float:
    """As a share of the width: the longest number of the axis, its label, and some air."""
    letters = max(4, *(len(f"{bound:,.0f}") for bound in axes.get_ylim()))
    return (_LETTER_INCHES * letters + _LABEL_INCHES) / _WIDTH_INCHES


def _for_page(svg: str, title: str) -> str:
    """Matplotlib's own document without its prologue, with the page's colors and a title."""
    body = svg[svg.index(">", svg.index("<svg ")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\n?", "", body, flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", body))
    body = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", body)
    for color, variable in _VARIABLES.items():
        body = body.replace(color, variable)
    body = body.replace("'DejaVu Sans'", "system-ui, sans-serif")
    width, height = 72 * _WIDTH_INCHES, 72 * _HEIGHT_INCHES
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink"><title>{escape(title)}</title>{body}'
    )
