"""What the page shows of a day and a model, read once into memory: no Spark, and one reader.

Requests come in several threads, and DuckDB's connection is for one: each answer is made `alone`.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, wraps
from threading import RLock, Timer
from typing import ParamSpec, TypeVar

import duckdb
import numpy as np
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake, open_lake
from analyst.lake_access.sql_guard import lock_to_tables
from analyst.output.plot import main_directions
from analyst.questions.clusters import Clusters, clusters
from analyst.questions.sql import select_rows
from analyst.vectors.model_space import Vectors
from contracts.errors import BadInput
from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, MODELS, PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS

_MAX_DAYS = 4  # model days in memory; one of 100,000 users takes 100 MB
_MAX_PCA_USERS = 5_000  # whose vectors the directions of the map are made from
_RECENT_DAYS = 28
_MAX_QUERY_SECONDS = 30
_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, eq=False)
class ModelDay:
    """Every user with a vector, and the place of each on the map.

    Shapes: N users, D width.
        places        (N, 2)
        center        (D,) and
        directions    (2, D) of the map, by principal components
        recent_views  (N,) int64, accepted views in the 28 days before as_of
    """

    vectors: Vectors
    places: NDArray[np.float64]
    center: NDArray[np.float64]
    directions: NDArray[np.float64]
    recent_views: NDArray[np.int64]

    def project(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """(M, D) vectors of the same space -> (M, 2) places on this map."""
        units = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
        placed: NDArray[np.float64] = (units - self.center) @ self.directions.T
        return placed


class DayReader:
    """All that the page asks of the lake."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.lake = open_lake(places)
        self.lake.need(PUBLISHED_EMBEDDINGS if self._is_published else USER_EMBEDDINGS)
        self._lock = RLock()
        self._days: OrderedDict[tuple[str | None, date], ModelDay] = OrderedDict()
        self._clusters: dict[tuple[str | None, date], Clusters] = {}

    @property
    def _is_published(self) -> bool:
        return self.lake.has(PUBLISHED_EMBEDDINGS)

    def alone(self, answer: Callable[_Asked, _Answer]) -> Callable[_Asked, _Answer]:
        """`answer`, which waits until no other answer is being made."""

        @wraps(answer)
        def answer_alone(*args: _Asked.args, **named: _Asked.kwargs) -> _Answer:
            with self._lock:
                return answer(*args, **named)

        return answer_alone

    @cached_property
    def models(self) -> dict[str, str]:
        """What the page calls each model, by its id; the champion has none."""
        named = {"": "the champion"} if self._is_published else {}
        if self.lake.has(USER_EMBEDDINGS):
            query = f"SELECT DISTINCT model_id FROM {USER_EMBEDDINGS.name} ORDER BY 1"
            ids = [model for (model,) in self.lake.sql(query).fetchall()]
            named |= {model: f"{model}{self._status(model)}" for model in ids}
        return named

    def _status(self, model_id: str) -> str:
        if not self.lake.has(MODELS):
            return ""
        query = f"SELECT status FROM {MODELS.name} WHERE model_id = $model"
        rows = self.lake.connection.execute(query, {"model": model_id}).fetchall()
        return f" ({rows[0][0]})" if rows else ""

    def days(self, model_id: str | None) -> list[date]:
        """The days with vectors, the newest first."""
        table = PUBLISHED_EMBEDDINGS if model_id is None else USER_EMBEDDINGS
        query = f"""SELECT DISTINCT as_of FROM {table.name}
        WHERE $model IS NULL OR model_id = $model ORDER BY as_of DESC"""
        rows = self.lake.connection.execute(query, {"model": model_id}).fetchall()
        return [day for (day,) in rows]

    def day(self, model_id: str | None, as_of: date) -> ModelDay:
        key = (model_id, as_of)
        if key not in self._days:
            self._days[key] = self._read_day(model_id, as_of)
        self._days.move_to_end(key)
        while len(self._days) > _MAX_DAYS:
            self._days.popitem(last=False)
        return self._days[key]

    def _read_day(self, model_id: str | None, as_of: date) -> ModelDay:
        vectors = self.lake.embeddings(model_id, as_of)
        vectors = replace(vectors, matrix=np.array(vectors.matrix))  # from the disk into memory
        units = vectors.units()
        steps = np.unique(np.linspace(0, len(units) - 1, _MAX_PCA_USERS).astype(np.int64))
        center = units[steps].mean(axis=0, dtype=np.float64)  # (D,)
        directions = main_directions(units[steps])  # (2, D), or fewer of one user
        directions = np.pad(directions, ((0, 2 - len(directions)), (0, 0)))
        views = self._recent_views(vectors)
        return ModelDay(vectors, (units - center) @ directions.T, center, directions, views)

    def in_space_of(self, day: ModelDay, other: ModelDay) -> ModelDay:
        """`day` on the map of `other`, where both are of one space: then places can be compared."""
        same_map = other.project(day.vectors.matrix)
        return replace(day, places=same_map, center=other.center, directions=other.directions)

    def _recent_views(self, vectors: Vectors) -> NDArray[np.int64]:
        views = np.zeros(len(vectors), np.int64)  # (N,)
        if not self.lake.has(BROWSING_LOGS):
            return views
        found = self.lake.connection.execute(
            f"""SELECT user_id, count(*) AS views FROM {BROWSING_LOGS.name}
            WHERE event_date < $day AND event_date >= $day - {_RECENT_DAYS}
            GROUP BY user_id ORDER BY user_id""",
            {"day": vectors.as_of},
        ).fetchnumpy()
        users = np.asarray(found["user_id"], np.str_)
        _, rows, places = np.intersect1d(
            vectors.user_ids, users, assume_unique=True, return_indices=True
        )
        views[rows] = np.asarray(found["views"])[places]
        return views

    def clusters(self, model_id: str | None, as_of: date) -> Clusters:
        if (model_id, as_of) not in self._clusters:
            found = clusters(self.lake, model_id=model_id, as_of=as_of)
            self._clusters[model_id, as_of] = found
        return self._clusters[model_id, as_of]

    def vectors_of_user(
        self, model_id: str | None, user: str, until: date
    ) -> tuple[list[date], NDArray[np.float32]]:
        """The user's vector of each day that it was made on, oldest first: days, (M, D)."""
        table = PUBLISHED_EMBEDDINGS if model_id is None else USER_EMBEDDINGS
        query = f"""SELECT as_of, embedding FROM {table.name}
        WHERE user_id = $user AND as_of <= $day AND ($model IS NULL OR model_id = $model)
        ORDER BY as_of"""
        asked = {"user": user, "day": until, "model": model_id}
        rows = self.lake.connection.execute(query, asked).fetchall()
        return [day for day, _ in rows], np.array([vector for _, vector in rows], np.float32)

    @cached_property
    def _locked_lake(self) -> OpenLake:
        """A second connection, for queries that somebody types: it has the lake's tables alone."""
        lake = open_lake(self.places)
        lake.check_tables(PUBLISHED_EMBEDDINGS)
        lock_to_tables(lake.connection, lake.data_files())
        return lake

    def users_of_query(self, query: str) -> list[str]:
        """What the column user_id of one SELECT holds."""
        lake = self._locked_lake
        timer = Timer(_MAX_QUERY_SECONDS, lake.connection.interrupt)
        timer.start()
        try:
            rows = select_rows(lake, query)
            if "user_id" not in rows.columns:
                raise BadInput(f"the query must select user_id; it has {', '.join(rows.columns)}")
            distinct = rows.project("user_id").distinct().order("user_id")
            return [str(user) for (user,) in distinct.fetchall() if user is not None]
        except duckdb.InterruptException as error:
            raise BadInput(f"the query took more than {_MAX_QUERY_SECONDS} s") from error
        except duckdb.Error as error:
            raise BadInput(f"DuckDB cannot run this: {error}") from error
        finally:
            timer.cancel()
