"""The page's controls as the inputs of its callbacks, and the view that their values make."""

from collections.abc import Mapping
from typing import Any

from dash import Input, State

from explorer.day_reader import DayReader
from explorer.view import View
from explorer.view_state import Selection, ViewState

MAP_NAMES = ("map", "other-map")
_CONTROLS = ("model", "day", "color", "other")
_STORES = ("user", "selection")
PageValues = Mapping[str, Any]
PAGE_INPUTS = {name: Input(name, "value") for name in _CONTROLS} | {
    name: Input(name, "data") for name in _STORES
}
PAGE_STATE = {name: State(name, "value") for name in _CONTROLS} | {
    name: State(name, "data") for name in _STORES
}


def view_of(reader: DayReader, values: PageValues) -> View:
    """What the page shows, by the values of `PAGE_STATE`."""
    state = {name: values[name] or "" for name in (*_CONTROLS, "user")}
    state["other"] = "" if state["other"] == "none" else state["other"]
    return View(reader, ViewState(**state, **Selection.of_store(values["selection"]).store))
