"""What happens when somebody uses a control of the page."""

from collections.abc import Mapping
from typing import Any

from dash import Dash, Input, Output, State, ctx, no_update, set_props
from dash.exceptions import PreventUpdate

from contracts.errors import BadInput, UserbertError
from explorer.csv_export import csv_text
from explorer.day_reader import DayReader, ModelDay
from explorer.figures import MAX_POINTS, Figure, map_figure
from explorer.page_layout import page_for
from explorer.panels import (
    cohort_panel,
    comparison_panel,
    coverage_panel,
    explanation_panel,
    legend_list,
    user_panel,
)
from explorer.view import View
from explorer.view_state import Selection, ViewState, drawn_corners

_CONTROLS = ("model", "day", "color", "projection", "other")
_Values = Mapping[str, Any]
_STATE_INPUTS = {name: Input(name, "value") for name in _CONTROLS} | {
    "user": Input("user", "data"),
    "selection": Input("selection", "data"),
}
_STATE = {
    name: State(*_of)
    for name, _of in (
        *((name, (name, "value")) for name in _CONTROLS),
        ("user", ("user", "data")),
        ("selection", ("selection", "data")),
    )
}
_MAX_NAMED = 8  # users that a search names


def say_error(error: Exception) -> None:
    """A mistake of whoever uses the page stands in it, as one line; any other is raised."""
    if not isinstance(error, UserbertError):
        raise error
    set_props("notice", {"children": str(error)})


def add_callbacks(app: Dash, reader: DayReader) -> None:
    _add_page(app, reader)
    _add_maps(app, reader)
    _add_choices(app, reader)
    _add_panels(app, reader)
    _add_export(app, reader)


def _view(reader: DayReader, values: _Values) -> View:
    state = {name: values[name] or "" for name in _CONTROLS} | {"user": values["user"] or ""}
    state["other"] = "" if state["other"] == "none" else state["other"]
    return View(reader, ViewState(**state, **Selection.of_store(values["selection"]).store))


def _add_page(app: Dash, reader: DayReader) -> None:
    @app.callback(Output("page", "children"), Input("address", "search"))
    @reader.alone
    def show_page(search: str | None) -> list[Any]:
        state = ViewState.from_query(search or "")
        try:
            View(reader, state).check()
            return page_for(reader, state)
        except UserbertError as error:  # the address names a day or a model that is not there
            return page_for(reader, ViewState(), str(error))

    # The address follows the controls, so that it can be given away. The server is not asked.
    app.clientside_callback(
        "window.dash_clientside.explorer.show_address",
        Output("share", "title"),
        Input("share", "value"),
        prevent_initial_call=True,
    )

    # A chart that was hidden while it was drawn has not the size of its place.
    app.clientside_callback(
        "window.dash_clientside.explorer.fit_charts",
        Output("other-map-figure", "title"),
        Input("other-map-figure", "className"),
        Input("other-map", "figure"),
    )

    @app.callback(
        Output("day", "options"),
        Output("day", "value"),
        Input("model", "value"),
        State("day", "value"),
        prevent_initial_call=True,
    )
    @reader.alone
    def offer_days(model: str, day: str) -> tuple[list[str], str]:
        days = [str(each) for each in reader.days(model or None)]
        return days, day if day in days else days[0]


def _add_maps(app: Dash, reader: DayReader) -> None:
    @app.callback(
        output={
            "figure": Output("map", "figure"),
            "caption": Output("map-caption", "children"),
            "other": Output("other-map", "figure"),
            "other_caption": Output("other-map-caption", "children"),
            "other_class": Output("other-map-figure", "className"),
            "comparison": Output("comparison", "children"),
            "share": Output("share", "value"),
            "notice": Output("notice", "children"),
        },
        inputs={"values": _STATE_INPUTS},
    )
    @reader.alone
    def draw_maps(values: _Values) -> dict[str, Any]:
        view = _view(reader, values)
        other = view.other_day
        figure = _figure(view, view.day)
        other_figure = _figure(view, other) if other else {"data": [], "layout": {}}
        drawn = {
            "figure": figure,
            "caption": [_caption(view.day), legend_list(figure)],
            "other": other_figure,
            "other_caption": [_caption(other), legend_list(other_figure)] if other else [],
            "other_class": "" if other else "hidden",
            "comparison": comparison_panel(view),
            "share": view.state.query,
        }
        return drawn | {"notice": ""}


def _figure(view: View, day: ModelDay) -> Figure:
    return map_figure(day, view.coloring(day), view.highlights(day))


def _caption(day: ModelDay) -> str:
    users = len(day.vectors)
    said = f"{users:,} users of {day.vectors.model_id} as of {day.vectors.as_of}"
    if users > MAX_POINTS:
        said += f"; {MAX_POINTS:,} of them are drawn, and everybody is searched and chosen from"
    return said


def _add_choices(app: Dash, reader: DayReader) -> None:
    @app.callback(
        Output("selection", "data"),
        Input("map", "selectedData"),
        Input("other-map", "selectedData"),
        Input("sql-button", "n_clicks"),
        Input("clear-button", "n_clicks"),
        State("sql", "value"),
        prevent_initial_call=True,
    )
    @reader.alone
    def choose_users(
        drawn: _Values | None, drawn_on_other: _Values | None, _run: int, _clear: int, sql: str
    ) -> dict[str, str]:
        if ctx.triggered_id == "clear-button":
            return Selection().store
        if ctx.triggered_id == "sql-button":
            if not (sql or "").strip():
                raise BadInput("write a query first: one SELECT of user_id")
            reader.users_of_query(sql)  # a query that cannot run leaves who was chosen before
            return Selection(sql=sql.strip()).store
        is_on_other = ctx.triggered_id == "other-map"
        corners = drawn_corners(drawn_on_other if is_on_other else drawn)
        if not corners:  # a chart that was drawn anew says so, too
            raise PreventUpdate
        return Selection(corners, is_on_other=is_on_other).store

    @app.callback(
        Output("user", "data"),
        Output("user-search", "value"),
        Input("map", "clickData"),
        Input("other-map", "clickData"),
        Input("user-button", "n_clicks"),
        Input("user-search", "n_submit"),
        State("user-search", "value"),
        State("model", "value"),
        State("day", "value"),
        prevent_initial_call=True,
    )
    @reader.alone
    def choose_user(
        clicked: _Values | None,
        clicked_on_other: _Values | None,
        _button: int,
        _submit: int,
        text: str | None,
        model: str,
        day: str,
    ) -> Any:
        if ctx.triggered_id in ("map", "other-map"):
            point = (clicked if ctx.triggered_id == "map" else clicked_on_other) or {}
            user = next((each.get("customdata") for each in point.get("points", [])), None)
            return (user, user) if user else (no_update, no_update)
        user = (text or "").strip()
        _must_be_known(View(reader, ViewState(model=model, day=day)), user)
        return user, user


def _must_be_known(view: View, user: str) -> None:
    """The line of an unknown user names those whose ids begin like it."""
    users = view.day.vectors.user_ids
    if user and user not in view.day.vectors:
        near = [each for each in users.tolist() if each.startswith(user)][:_MAX_NAMED]
        named = f"; ids that begin so: {', '.join(near)}" if near else ""
        raise BadInput(f"no user {user} has a vector as of {view.as_of}{named}")


def _add_panels(app: Dash, reader: DayReader) -> None:
    shown = {name: _STATE_INPUTS[name] for name in ("model", "day", "user")}
    rest = {name: _STATE[name] for name in ("color", "projection", "other", "selection")}

    @app.callback(Output("user-panel", "children"), inputs={"values": {**shown, **rest}})
    @reader.alone
    def show_user(values: _Values) -> list[Any]:
        return user_panel(_view(reader, values))

    @app.callback(Output("cohort-panel", "children"), inputs={"values": _STATE_INPUTS})
    @reader.alone
    def show_cohort(values: _Values) -> list[Any]:
        return cohort_panel(_view(reader, values))

    @app.callback(
        Output("explanation", "children"),
        inputs={"clicks": Input("explain-button", "n_clicks"), "values": _STATE},
        prevent_initial_call=True,
    )
    @reader.alone
    def explain_user(clicks: int | None, values: _Values) -> list[Any]:
        return explanation_panel(_view(reader, values)) if clicks else []

    @app.callback(
        Output("coverage-panel", "children"),
        inputs={"clicks": Input("coverage-button", "n_clicks"), "values": _STATE},
        prevent_initial_call=True,
    )
    @reader.alone
    def show_coverage(clicks: int | None, values: _Values) -> list[Any]:
        return coverage_panel(_view(reader, values)) if clicks else []


def _add_export(app: Dash, reader: DayReader) -> None:
    @app.callback(
        Output("download", "data"),
        inputs={"clicks": Input("export-button", "n_clicks"), "values": _STATE},
        prevent_initial_call=True,
    )
    @reader.alone
    def export_users(clicks: int | None, values: _Values) -> dict[str, str]:
        view = _view(reader, values)
        if not view.chosen_users:
            raise BadInput("nobody is chosen: draw around users on the map, or write a query")
        name = f"users-{view.as_of}.csv"
        return {"filename": name, "content": users_csv(view), "type": "text/csv"}


def users_csv(view: View) -> str:
    """A line for each chosen user: where it is, how active, and its cluster."""
    vectors, numbers = view.day.vectors, view.reader.clusters(view.model_id, view.as_of)
    names = {each.number: each.name for each in numbers.clusters}
    rows = vectors.rows(view.chosen_users).tolist()
    lines = [
        (
            user,
            vectors.model_id,
            str(vectors.days[row]),
            int(view.day.recent_views[row]),
            numbers.numbers[user],
            names[numbers.numbers[user]],
        )
        for user, row in zip(view.chosen_users, rows, strict=True)
    ]
    columns = ("user_id", "model_id", "vector_of", "views_28_days", "cluster", "cluster_name")
    return csv_text(lines, columns)
