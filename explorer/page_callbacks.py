"""What happens when somebody uses a control of the page."""

from typing import Any

from dash import Dash, Input, Output, Patch, State, ctx, set_props

from contracts.errors import BadInput, UserbertError
from explorer.choice_callbacks import add_choices
from explorer.csv_export import csv_text
from explorer.day_reader import DayReader, ModelDay
from explorer.figures import MAX_POINTS, NUM_HIGHLIGHTS, Figure, map_figure
from explorer.page_inputs import PAGE_INPUTS, PAGE_STATE, PageValues, view_of
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
from explorer.view_state import ViewState

_HIGHLIGHTED_BY = {"user", "selection"}  # inputs that change no point, but who stands out


def say_error(error: Exception) -> None:
    """A mistake of whoever uses the page stands in it, as one line; any other is raised."""
    if not isinstance(error, UserbertError):
        raise error
    set_props("notice", {"children": str(error)})


def add_callbacks(app: Dash, reader: DayReader) -> None:
    _add_page(app, reader)
    _add_maps(app, reader)
    add_choices(app, reader)
    _add_panels(app, reader)
    _add_export(app, reader)


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
        inputs={"values": PAGE_INPUTS},
    )
    @reader.alone
    def draw_maps(values: PageValues) -> dict[str, Any]:
        view = view_of(reader, values)
        other = view.other_day
        figure = _figure(view, view.day)
        other_figure = _figure(view, other) if other else {"data": [], "layout": {}}
        changed = {prop.partition(".")[0] for prop in ctx.triggered_prop_ids}
        sent = _highlights_of if changed and changed <= _HIGHLIGHTED_BY else _all_of
        drawn = {
            "figure": sent(figure),
            "caption": [_caption(view.day), legend_list(figure)],
            "other": sent(other_figure) if other else other_figure,
            "other_caption": [_caption(other), legend_list(other_figure)] if other else [],
            "other_class": "" if other else "hidden",
            "comparison": comparison_panel(view),
            "share": view.state.query,
        }
        return drawn | {"notice": ""}


def _figure(view: View, day: ModelDay) -> Figure:
    is_drawn_here = view.selection.is_on_other == (day is not view.day)
    corners = view.selection.corners if is_drawn_here else []
    return map_figure(day, view.coloring(day), view.highlights(day), corners)


def _all_of(figure: Figure) -> Figure:
    return figure


def _highlights_of(figure: Figure) -> Patch:
    """What is sent where the browser has the points already: of 100,000 users they are 1.6 MB."""
    patch, first = Patch(), len(figure["data"]) - NUM_HIGHLIGHTS
    for number, trace in enumerate(figure["data"][first:], first):
        patch["data"][number] = trace
    patch["layout"]["shapes"] = figure["layout"]["shapes"]
    return patch


def _caption(day: ModelDay) -> str:
    users = len(day.vectors)
    said = f"{users:,} users of {day.vectors.model_id} as of {day.vectors.as_of}"
    if users > MAX_POINTS:
        said += f"; {MAX_POINTS:,} of them are drawn, and everybody is searched and chosen from"
    return said


def _add_panels(app: Dash, reader: DayReader) -> None:
    shown = {name: PAGE_INPUTS[name] for name in ("model", "day", "user")}
    rest = {name: PAGE_STATE[name] for name in ("color", "other", "selection")}

    @app.callback(Output("user-panel", "children"), inputs={"values": {**shown, **rest}})
    @reader.alone
    def show_user(values: PageValues) -> list[Any]:
        return user_panel(view_of(reader, values))

    @app.callback(Output("cohort-panel", "children"), inputs={"values": PAGE_INPUTS})
    @reader.alone
    def show_cohort(values: PageValues) -> list[Any]:
        return cohort_panel(view_of(reader, values))

    @app.callback(
        Output("explanation", "children"),
        inputs={"clicks": Input("explain-button", "n_clicks"), "values": PAGE_STATE},
        prevent_initial_call=True,
    )
    @reader.alone
    def explain_user(clicks: int | None, values: PageValues) -> list[Any]:
        return explanation_panel(view_of(reader, values)) if clicks else []

    @app.callback(
        Output("coverage-panel", "children"),
        inputs={"clicks": Input("coverage-button", "n_clicks"), "values": PAGE_STATE},
        prevent_initial_call=True,
    )
    @reader.alone
    def show_coverage(clicks: int | None, values: PageValues) -> list[Any]:
        return coverage_panel(view_of(reader, values)) if clicks else []


def _add_export(app: Dash, reader: DayReader) -> None:
    @app.callback(
        Output("download", "data"),
        inputs={"clicks": Input("export-button", "n_clicks"), "values": PAGE_STATE},
        prevent_initial_call=True,
    )
    @reader.alone
    def export_users(clicks: int | None, values: PageValues) -> dict[str, str]:
        view = view_of(reader, values)
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
