"""The page: controls above, the maps, and a card each for a user, a cohort and coverage."""

from typing import Any

from dash import dcc, html

from explorer.day_reader import DayReader
from explorer.panels import GRAPH_CONFIG
from explorer.view import View, color_choices
from explorer.view_state import Selection, ViewState

_DRAWING = ["drawclosedpath", "drawrect"]  # around users, to choose them
_MAP_HEIGHT = "min(70vh, 640px)"
PAGE_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
<link rel="icon" href="data:,">
{%css%}
</head>
<body>
{%app_entry%}
{%config%}
{%scripts%}
{%renderer%}
</body>
</html>"""


def empty_page() -> Any:
    """Before the address has been read."""
    return html.Div([dcc.Location(id="address", refresh=False), html.Main(id="page")])


def page_for(reader: DayReader, state: ViewState, notice: str = "") -> list[Any]:
    """The page with its controls set as the address says; `notice` is what is wrong with it."""
    view = View(reader, state)
    return [
        html.A("To the map", href="#maps", className="skip"),
        html.H1("Users, and how near they are"),
        html.Div(notice, id="address-notice", className="notice", role="alert"),
        html.Div(id="notice", className="notice", role="alert"),
        dcc.Store(id="selection", data=Selection.of_state(state).store),
        *(dcc.Store(id=name) for name in ("drawn", "clicked", "pointed")),
        dcc.Store(id="user", data=state.user),
        dcc.Download(id="download"),
        _controls(view),
        html.Div(
            [
                html.Section([_maps(), html.Div(id="comparison")], id="maps", tabIndex="-1"),
                html.Div([_user_card(state), _cohort_card(state), _coverage_card()]),
            ],
            className="columns",
        ),
    ]


def _controls(view: View) -> Any:
    reader, state = view.reader, view.state
    models = reader.models
    days = {str(day): str(day) for day in reader.days(view.model_id)}
    chosen = {str(view.as_of): str(view.as_of)}
    return html.Div(
        [
            _choice("model", "Model", models, view.model_id or ""),
            _choice("day", "Day", chosen | days, str(view.as_of)),
            _choice("color", "Color by", color_choices(reader), state.color or "cluster"),
            _choice("other", "Second model", {"none": "none", **_named(models)}, _other(view)),
            html.Div(
                [
                    html.Label("This view", htmlFor="share"),
                    dcc.Input(id="share", type="text", readOnly=True, value=""),
                ],
                className="control",
            ),
        ],
        className="controls",
        role="group",
        **{"aria-label": "What is shown"},
    )


def _named(models: dict[str, str]) -> dict[str, str]:
    return {name: said for name, said in models.items() if name}


def _other(view: View) -> str:
    return view.state.other or "none"


def _choice(id: str, name: str, options: dict[str, str], value: str) -> Any:
    choices = [{"label": label, "value": key} for key, label in options.items()]
    dropdown = dcc.Dropdown(
        id=id, options=choices, value=value, clearable=False, searchable=len(choices) > 12
    )
    return html.Div([html.Label(name, htmlFor=id), dropdown], className="control")


def _maps() -> Any:
    maps = [
        html.Figure(
            [
                html.Figcaption(id=f"{id}-caption"),
                html.Div(
                    [
                        dcc.Graph(
                            id=id,
                            config=GRAPH_CONFIG | {"modeBarButtonsToAdd": _DRAWING},
                            style={"height": _MAP_HEIGHT},
                            clear_on_unhover=True,
                        ),
                        dcc.Tooltip(id=f"{id}-tooltip", className="tooltip", loading_text=""),
                    ],
                    role="group",
                    **{"aria-label": "Map of users. By keyboard: search a user, or write a query."},
                ),
            ],
            id=f"{id}-figure",
            className="" if id == "map" else "hidden",
        )
        for id in ("map", "other-map")
    ]
    return html.Div(maps, className="maps")


def _user_card(state: ViewState) -> Any:
    return html.Section(
        [
            html.H2("A user"),
            html.Div(
                [
                    html.Label("User id", htmlFor="user-search"),
                    dcc.Input(id="user-search", type="text", value=state.user, n_submit=0),
                    html.Button("Show", id="user-button", type="button"),
                ],
                className="row",
            ),
            dcc.Loading(html.Div(id="user-panel"), type="dot"),
        ],
        className="card",
    )


def _cohort_card(state: ViewState) -> Any:
    example = "SELECT user_id FROM sessions WHERE session_date >= DATE '2017-06-24'"
    return html.Section(
        [
            html.H2("Chosen users"),
            html.Label("A SELECT of user_id over the lake's tables", htmlFor="sql"),
            dcc.Textarea(id="sql", value=state.sql, placeholder=example, spellCheck="false"),
            html.Div(
                [
                    html.Button("Choose by query", id="sql-button", type="button"),
                    html.Button("Choose nobody", id="clear-button", type="button"),
                    html.Button("Export as CSV", id="export-button", type="button"),
                ],
                className="row",
            ),
            dcc.Loading(html.Div(id="cohort-panel"), type="dot"),
        ],
        className="card",
    )


def _coverage_card() -> Any:
    return html.Section(
        [
            html.H2("Coverage"),
            html.Button("Who has a vector, and who has none?", id="coverage-button", type="button"),
            dcc.Loading(html.Div(id="coverage-panel"), type="dot"),
        ],
        className="card",
    )
