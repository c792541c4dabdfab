"""Whom somebody points at or chooses: with the mouse on a map, by an id, by a query."""

from typing import Any

from dash import Dash, Input, Output, State, ctx, no_update
from dash.exceptions import PreventUpdate

from contracts.errors import BadInput
from contracts.settings.pseudonyms import ids_as_stored
from explorer.day_reader import DayReader
from explorer.page_inputs import MAP_NAMES, PAGE_STATE, PageValues, view_of
from explorer.view import View
from explorer.view_state import Selection, drawn_corners

_MAX_NAMED = 8  # users that a search names


def add_choices(app: Dash, reader: DayReader) -> None:
    _add_groups(app, reader)
    _add_user(app, reader)
    _add_labels(app, reader)


def _add_groups(app: Dash, reader: DayReader) -> None:
    # A shape, and not Plotly's lasso, which tests every point at each move of the mouse: the server
    # finds who is inside.
    app.clientside_callback(
        "window.dash_clientside.explorer.drawn_shape",
        Output("drawn", "data"),
        *(Input(name, "relayoutData") for name in MAP_NAMES),
        prevent_initial_call=True,
    )

    @app.callback(
        Output("selection", "data"),
        Input("drawn", "data"),
        Input("sql-button", "n_clicks"),
        Input("clear-button", "n_clicks"),
        State("sql", "value"),
        prevent_initial_call=True,
    )
    @reader.alone
    def choose_users(drawn: PageValues | None, _run: int, _clear: int, sql: str) -> dict[str, str]:
        if ctx.triggered_id == "clear-button":
            return Selection().store
        if ctx.triggered_id == "sql-button":
            if not (sql or "").strip():
                raise BadInput("write a query first: one SELECT of user_id")
            reader.users_of_query(sql)  # a query that cannot run leaves who was chosen before
            return Selection(sql=sql.strip()).store
        corners = drawn_corners(drawn)
        if not corners:  # a chart that was drawn anew says so, too
            raise PreventUpdate
        return Selection(corners, is_on_other=(drawn or {}).get("map") == "other-map").store


def _add_user(app: Dash, reader: DayReader) -> None:
    @app.callback(
        output=(Output("user", "data"), Output("user-search", "value")),
        inputs={
            "clicked": Input("clicked", "data"),  # which view.js sets
            "_asked": (Input("user-button", "n_clicks"), Input("user-search", "n_submit")),
            "text": State("user-search", "value"),
            "values": PAGE_STATE,
        },
        prevent_initial_call=True,
    )
    @reader.alone
    def choose_user(
        clicked: PageValues | None, _asked: Any, text: str | None, values: PageValues
    ) -> Any:
        view = view_of(reader, values)
        if ctx.triggered_id == "clicked":
            user = _pointed_user(view, clicked)
            return (user[0], user[0]) if user else (no_update, no_update)
        named = _as_stored(view, (text or "").strip())
        _must_be_known(view, named)
        return named, named


def _as_stored(view: View, user: str) -> str:
    """A search takes what the tables hold and, where that is a pseudonym, a raw id too."""
    is_stored = not user or user in view.day.vectors
    return user if is_stored else ids_as_stored([user], places=view.reader.places)[0]


def _must_be_known(view: View, user: str) -> None:
    """The line of an unknown user names those whose ids begin like it."""
    users = view.day.vectors.user_ids
    if user and user not in view.day.vectors:
        near = [each for each in users.tolist() if each.startswith(user)][:_MAX_NAMED]
        named = f"; ids that begin so: {', '.join(near)}" if near else ""
        raise BadInput(f"no user {user} has a vector as of {view.as_of}{named}")


def _add_labels(app: Dash, reader: DayReader) -> None:
    """Who the point is that the mouse is at: asked for one user, instead of sent for all."""
    app.clientside_callback(
        "window.dash_clientside.explorer.pointed_row",
        Output("pointed", "data"),
        *(Input(name, "hoverData") for name in MAP_NAMES),
        prevent_initial_call=True,
    )

    @app.callback(
        output={
            name: [Output(f"{name}-tooltip", prop) for prop in ("show", "bbox", "children")]
            for name in MAP_NAMES
        },
        inputs={"pointed": Input("pointed", "data"), "values": PAGE_STATE},
        prevent_initial_call=True,
    )
    @reader.alone
    def show_label(pointed: PageValues | None, values: PageValues) -> dict[str, list[Any]]:
        labels: dict[str, list[Any]] = {name: [False, no_update, no_update] for name in MAP_NAMES}
        if pointed and (found := _pointed_user(view_of(reader, values), pointed)):
            said = f"user {found[0]}: {found[1]:,} views in 28 days"
            labels[pointed["map"]] = [True, pointed["bbox"], said]
        return labels


def _pointed_user(view: View, pointed: PageValues | None) -> tuple[str, int] | None:
    """The user of a store that `pointed_row` of view.js fills, and the user's views."""
    row = (pointed or {}).get("row")
    day = view.other_day if (pointed or {}).get("map") == "other-map" else view.day
    if day is None or row is None or row >= len(day.vectors):
        return None
    return str(day.vectors.user_ids[row]), int(day.recent_views[row])
