"""What one view shows, worked out from its state: days, the users chosen, how each is colored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analyst.vectors.model_space import Vectors
from contracts.errors import BadInput
from downstream.tasks.labels_file import labels_files, read_labels
from explorer.day_reader import DayReader, ModelDay
from explorer.figures import Coloring, Highlights
from explorer.view_state import Selection, ViewState, inside_polygon

_MAX_CLASSES = 24  # values of a label that have a color each; of more, it is no class
_MAX_WAY_DAYS = 120


@dataclass(frozen=True)
class View:
    """`state`, seen in the lake of `reader`; what the lake lacks is refused."""

    reader: DayReader
    state: ViewState

    @cached_property
    def model_id(self) -> str | None:
        return self._checked_model(self.state.model)

    @cached_property
    def other_id(self) -> str | None:
        return self._checked_model(self.state.other)

    def _checked_model(self, name: str) -> str | None:
        if name and name not in self.reader.models:
            raise BadInput(f"the lake has no vectors of a model {name}")
        if not name and "" not in self.reader.models:
            return next(iter(self.reader.models))  # nothing is published yet
        return name or None

    @cached_property
    def as_of(self) -> date:
        days = self.reader.days(self.model_id)
        if not self.state.day:
            return days[0]
        try:
            day = date.fromisoformat(self.state.day)
        except ValueError:
            raise BadInput(f"{self.state.day!r} is not a day; write YYYY-MM-DD") from None
        if day < days[-1]:
            raise BadInput(f"the model has no vector of {day} or earlier; the first is {days[-1]}")
        return day

    @cached_property
    def day(self) -> ModelDay:
        return self.reader.day(self.model_id, self.as_of)

    @cached_property
    def other_day(self) -> ModelDay | None:
        """The second model's; on the first one's map where both live in one space.

        None where no second model is asked for, and where it has no vector of the day or earlier.
        """
        if not self.state.other or self.as_of < self.reader.days(self.other_id)[-1]:
            return None
        other = self.reader.day(self.other_id, self.as_of)
        if self.is_one_space:
            return self.reader.in_space_of(other, self.day)
        return other

    @cached_property
    def is_one_space(self) -> bool:
        other = self.reader.day(self.other_id, self.as_of).vectors
        return other.space_id == self.day.vectors.space_id

    def check(self) -> None:
        """Raise `BadInput` where the lake lacks something that the state names."""
        _ = self.other_day, self.chosen_users, self.coloring(self.day)

    @cached_property
    def selection(self) -> Selection:
        return Selection.of_state(self.state)

    @cached_property
    def chosen_users(self) -> list[str]:
        """In the order of user_ids; of a query, those with a vector."""
        if self.selection.sql:
            return _with_vectors(self.day, self.reader.users_of_query(self.selection.sql))
        on_other = self.selection.is_on_other and self.other_day is not None
        day = self.other_day if on_other and self.other_day else self.day
        if not self.selection.corners:
            return []
        inside = inside_polygon(day.places, self.selection.corners)
        users: list[str] = day.vectors.user_ids[inside].tolist()
        return _with_vectors(self.day, users)

    def highlights(self, day: ModelDay) -> Highlights:
        """On a map of either model: the same users by their ids."""
        chosen = _rows_of(day.vectors, self.chosen_users)
        if self.state.user not in day.vectors:
            return Highlights(chosen)
        row = int(day.vectors.rows([self.state.user])[0])
        if day is not self.day:
            return Highlights(chosen, row)
        days, matrix = self.reader.vectors_of_user(self.model_id, self.state.user, self.as_of)
        days, matrix = days[-_MAX_WAY_DAYS:], matrix[-_MAX_WAY_DAYS:]
        way = day.project(matrix) if len(matrix) else None
        return Highlights(chosen, row, (), way, days)

    def coloring(self, day: ModelDay) -> Coloring:
        """The second map has the colors of the first: a user's color is the same on both."""
        color = self.state.color or "cluster"
        if color == "activity":
            views = day.recent_views.astype(np.float64)
            return Coloring("views in 28 days", values=views, is_logarithmic=True)
        if color == "cluster":
            return self._cluster_coloring(day)
        return self._label_coloring(day, color.removeprefix("label:"))

    def _cluster_coloring(self, day: ModelDay) -> Coloring:
        found = self.reader.clusters(self.model_id, self.as_of)
        numbers = [found.numbers.get(user, 0) - 1 for user in day.vectors.user_ids.tolist()]
        names = [f"{each.number}. {each.name}" for each in found.clusters]
        return Coloring("cluster", groups=np.array(numbers, np.int64), names=names)

    def _label_coloring(self, day: ModelDay, name: str) -> Coloring:
        paths = labels_files(self.reader.places.labels)
        if name not in paths:
            raise BadInput(f"there is no file of labels {name} in {self.reader.places.labels}")
        table, doc = read_labels(paths[name])
        rows = pc.index_in(pa.array(day.vectors.user_ids.tolist()), table["user_id"])
        values = table["value"].take(rows)  # null for whoever has no label
        distinct = pc.unique(pc.drop_null(values))
        if pa.types.is_floating(values.type) or len(distinct) > _MAX_CLASSES:
            return Coloring(doc, values=_numbers(values, name))
        names = sorted(map(str, distinct.to_pylist()))
        groups: Any = pc.index_in(pc.cast(values, pa.string()), pa.array(names), skip_nulls=True)
        filled = groups.fill_null(-1).to_numpy()
        return Coloring(doc, groups=filled.astype(np.int64), names=names)


def color_choices(reader: DayReader) -> dict[str, str]:
    """What users can be colored by, and how the page calls it."""
    labels = {f"label:{name}": f"label {name}" for name in labels_files(reader.places.labels)}
    return {"cluster": "cluster", "activity": "views in 28 days", **labels}


def _numbers(values: Any, name: str) -> NDArray[np.float64]:
    try:
        numbers: NDArray[np.float64] = pc.cast(values, pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        raise BadInput(
            f"label {name} has more than {_MAX_CLASSES} values, and they are no numbers"
        ) from None
    return numbers


def _with_vectors(day: ModelDay, users: Sequence[str]) -> list[str]:
    found: list[str] = np.intersect1d(day.vectors.user_ids, np.array(users, np.str_)).tolist()
    return found


def _rows_of(vectors: Vectors, users: Sequence[str]) -> NDArray[np.int64]:
    return np.flatnonzero(np.isin(vectors.user_ids, np.array(users, np.str_)))
