"""Feast's store of one installation: made, filled and read here, and nowhere else.

The order of a change of model: a view for the new model is registered beside the old one, filled
whole, and only then is the service `user_embeddings` pointed at it and the old view dropped with
its rows. A reader sees the old space or the new one, never both, and a kill leaves the old one.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from duckdb_extensions import import_extension
from feast import FeatureService, FeatureStore, FeatureView
from feast.errors import FeatureServiceNotFoundException

from contracts.commands import CONF_FOLDER
from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from contracts.storage.object_store import let_duckdb_read
from contracts.vectors import CHAMPION_SERVICE, service_name
from feature_store.damage import (
    is_as_left,
    is_whole_database,
    is_whole_registry,
    name_damage,
    note_checksums,
    put_aside,
)
from feature_store.definitions import (
    AS_KNOWN_SERVICE,
    MODEL_ENTITY,
    MODEL_KEY,
    TIME_COLUMN,
    USER_ENTITY,
    USER_KEY,
    as_known_service,
    as_known_view,
    feature_names,
    feature_view,
    following_services,
    pinning_service,
)
from feature_store.online_sqlite import OnlineRows, SqliteRows, UserRow
from feature_store.published import Published, has_history, history_path, table_path

SETTINGS_FILE = "feature_store.yaml"
_ROW_NUMBER = "userbert_row_number"


def utc_midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def exact_frame(rows: pa.Table) -> pd.DataFrame:
    """With nulls in its whole numbers: pandas' own way makes floats of them, and loses digits."""
    whole: dict[Any, Any] = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}
    found: pd.DataFrame = rows.to_pandas(types_mapper=whole.get)
    return found


def _prepare_offline_store(offline: str, lake: str) -> None:
    """What Feast does not do for its offline stores."""
    if offline == "spark":
        # The session that Feast makes: Delta by conf/spark-defaults.conf, and Python as here.
        os.environ.setdefault("SPARK_CONF_DIR", str(CONF_FOLDER))
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        return
    if offline != "duckdb":
        raise BadInput(
            f"offline_store {offline} in {SETTINGS_FILE}: say duckdb or spark. Others, dask above "
            "all, read every Parquet file in a Delta folder, those that were replaced too"
        )
    import_extension("delta")
    import ibis  # type: ignore[import-untyped]

    backend = ibis.get_backend()
    backend.raw_sql("LOAD delta; SET TimeZone = 'UTC'; SET threads = 2")
    let_duckdb_read(backend.con, lake)


def _must_not_clash(rows: pd.DataFrame) -> None:
    """Raise `BadInput` if a column of the asker has the name of a feature; case does not count."""
    taken = {TIME_COLUMN, *feature_names()}
    if clashing := [name for name in rows.columns if str(name).lower() in taken]:
        raise BadInput(
            f"the rows have columns that are called as features are: {', '.join(clashing)}; "
            "rename or drop them"
        )


@dataclass(frozen=True)
class Store:
    """One folder of Feast: `places.feature_store`."""

    places: Places

    @cached_property
    def feast(self) -> FeatureStore:
        """Feast's own store, by the settings in the folder: the embedded default at first."""
        folder = self.places.feature_store
        if not (folder / SETTINGS_FILE).exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(__file__).with_name(SETTINGS_FILE), folder / SETTINGS_FILE)
        opened = FeatureStore(repo_path=str(folder))
        if opened.config.online_store.type == "redis":
            # Feast leaves a row of the same day as it was, also where a backfill changed it.
            opened.config.online_store.skip_dedup = True
        _prepare_offline_store(opened.config.offline_store.type, self.places.lake)
        return opened

    @property
    def offline(self) -> str:
        """The offline store's type: duckdb or spark."""
        return str(self.feast.config.offline_store.type)

    @property
    def online(self) -> OnlineRows:
        config = self.feast.config
        if config.online_store.type == "redis":
            from feature_store.online_redis import RedisRows

            return RedisRows(config)
        path = self.places.feature_store / config.online_store.path
        return SqliteRows(path, config.project, config.entity_key_serialization_version)

    @property
    def registry_path(self) -> Path:
        return self.places.feature_store / str(self.feast.config.registry.path)

    @property
    def online_views(self) -> list[str]:
        """The views that have rows online: that of what was known is read from the lake alone."""
        return [str(view.name) for view in self.feast.list_feature_views() if view.online]

    @property
    def online_path(self) -> Path | None:
        """The SQLite file; None where the online rows are in Redis."""
        return self.online.path if isinstance(self.online, SqliteRows) else None

    def named_damage(self) -> AbstractContextManager[None]:
        """Errors of a damaged registry or online file end in one line that names the file."""
        return name_damage(self.registry_path, self.online_path)

    def put_damaged_files_aside(self) -> list[str]:
        """Registry and online rows are made from the lake, so a damaged file makes room for a
        new one; a line for each."""
        damaged = []
        if not (is_whole_registry(self.registry_path) and is_as_left(self.registry_path)):
            damaged.append(self.registry_path)
        online = self.online_path
        if online and not (is_whole_database(online) and is_as_left(online)):
            damaged.append(online)
        for path in damaged:
            put_aside(path)
        return [f"{path} was damaged: it is kept as {path.name}.damaged" for path in damaged]

    def note_checksums(self) -> None:
        """Of the registry and the online rows as they were just written."""
        note_checksums([path for path in (self.registry_path, self.online_path) if path])

    def apply(self, published: Published) -> str:
        """Register what is published; readers change model only in `materialize`."""
        new = feature_view(published.path, published.model_id, self.offline)
        of = (new, published.model_id, published.space_id)
        self.feast.apply([USER_ENTITY, new, pinning_service(*of)])
        if has_history(self.places):
            known = as_known_view(history_path(self.places), self.offline)
            self.feast.apply([USER_ENTITY, MODEL_ENTITY, known, as_known_service(known)])
        if self.serving() in (None, published.model_id):
            self.feast.apply([*following_services(*of)])
        return str(new.name)

    def serving(self) -> str | None:
        """The model_id that the service `user_embeddings` gives; None before the first apply."""
        try:
            service: FeatureService = self.feast.get_feature_service(CHAMPION_SERVICE)
        except FeatureServiceNotFoundException:
            return None
        return str(service.tags["model_id"])

    def materialize(self, published: Published, as_of: date) -> int:
        """Bring the online rows up to the newest vectors; the number of users there.

        It writes the days from `as_of` on, and from the first day on as of which a user's newest
        vector is not online yet: a backfill may have written it anew. Always up to the newest day:
        an old day alone would put old vectors over new ones.
        """
        if as_of not in published.days:
            raise MissingTable(
                f"nothing is published as of {as_of} (published: {published.days[0]} to "
                f"{published.days[-1]}): run `userbert published-embeddings --as-of {as_of}` first"
            )
        self._follow_moved_root()
        name, wanted = service_name(published.model_id), published.user_rows()
        self._view(name)
        for first in (self._first(name, wanted, as_of), published.days[0]):
            start, end = utc_midnight(first), utc_midnight(published.days[-1])
            self.feast.materialize(start, end, feature_views=[name])
            self.online.keep_only(name, published.users())
            if self.online.user_rows(name) == wanted:
                break
        if self.online.drop_other_models(name, published.model_id):
            raise BadInput(
                f"another model than {published.model_id} was published meanwhile; its vectors "
                "were taken out again: run `userbert features apply` and `materialize` once more"
            )
        self._serve(published)
        return self.online.count(name)

    def _follow_moved_root(self) -> None:
        """Register the table anew where the registry names the folder it was copied from."""
        paths = table_path(self.places), history_path(self.places)
        sources = [view.batch_source for view in self.feast.list_feature_views()]
        if any(getattr(source, "path", paths[0]) not in paths for source in sources):
            self.apply(Published.open(self.places))

    def _first(self, name: str, wanted: Mapping[str, UserRow], as_of: date) -> date:
        """The first day to write: `as_of`, or the first of a row that is not online."""
        online = self.online.user_rows(name)
        lacking = (day for user, (day, _) in wanted.items() if online.get(user) != wanted[user])
        return min([as_of, *lacking])

    def _view(self, name: str) -> FeatureView:
        found = {v.name: v for v in self.feast.list_feature_views()}
        if name not in found:
            raise MissingTable(f"Feast has no view {name}: run `userbert features apply` first")
        return found[name]

    def _serve(self, published: Published) -> None:
        """Point the services at the published model, and drop the views of all others."""
        name, of_space = service_name(published.model_id), service_name(published.space_id)
        if self.serving() != published.model_id:
            of = (self._view(name), published.model_id, published.space_id)
            self.feast.apply([*following_services(*of)])
        kept = (CHAMPION_SERVICE, AS_KNOWN_SERVICE, name, of_space)
        views = [v for v in self.feast.list_feature_views() if v.name not in kept]
        pinned = [s for s in self.feast.list_feature_services() if s.name not in kept]
        if views or pinned:
            sources = [v.batch_source for v in views]
            gone = [*pinned, *views, *sources]
            self.feast.apply([], objects_to_delete=gone, partial=False)

    def get(self, users: Sequence[str], service: str = CHAMPION_SERVICE) -> pd.DataFrame:
        """Each user's online features, in the order asked; null for a user who has none."""
        features = self._service(service)
        rows: Any = self.feast.get_online_features(
            features=features, entity_rows=[{USER_KEY: each} for each in users]
        )
        return exact_frame(rows.to_arrow())

    def history(self, rows: pd.DataFrame, service: str = CHAMPION_SERVICE) -> pd.DataFrame:
        """The features of (user_id, event_timestamp) rows as of each time, never later ones.

        They come in the order of `rows`.

        An error when the rows are not all of the model that the service is of: it was asked
        between a promotion and the next `materialize`.
        """
        _must_not_clash(rows)
        self._follow_moved_root()
        features = self._service(service)
        found = self._point_in_time(rows, features, as_known=False)
        models = set(found["model_id"].dropna())
        if models - {features.tags["model_id"]}:
            raise BadInput(
                f"{service} is of {features.tags['model_id']} and the table now holds "
                f"{', '.join(sorted(models))}: `userbert features apply` and `materialize` first"
            )
        return found

    def history_as_known(self, rows: pd.DataFrame, model_id: str | None = None) -> pd.DataFrame:
        """The same, of what had been published by each row's time: what a later backfill wrote is
        not seen, so the answer to times that have passed is the same for ever.

        Of the model that is served, or of another that is or was published.
        """
        _must_not_clash(rows)
        self._follow_moved_root()
        features = self._service(AS_KNOWN_SERVICE)
        asked = rows.assign(**{MODEL_KEY: model_id or self.serving()})
        found = self._point_in_time(asked, features, as_known=True)
        order = [*rows.columns, *feature_names()]
        found[MODEL_KEY] = found[MODEL_KEY].where(found["sequence_hash"].notna(), None)
        return found[order]

    def _point_in_time(
        self, rows: pd.DataFrame, features: FeatureService, as_known: bool
    ) -> pd.DataFrame:
        """Feast's join, in the order of `rows`, which Feast does not keep."""
        numbered = rows.assign(**{_ROW_NUMBER: range(len(rows))})
        asked = self.feast.get_historical_features(
            numbered, features, filter_by_created_timestamp=as_known
        )
        spark = getattr(asked, "to_spark_df", None)
        found = exact_frame(spark().toArrow() if spark else asked.to_arrow())
        return found.sort_values(_ROW_NUMBER, ignore_index=True).drop(columns=_ROW_NUMBER)

    def _service(self, name: str) -> FeatureService:
        try:
            return self.feast.get_feature_service(name)
        except FeatureServiceNotFoundException:
            known = ", ".join(s.name for s in self.feast.list_feature_services()) or "none"
            raise MissingTable(
                f"Feast has no service {name} (known to {self.registry_path}: {known}); a pinned "
                "one goes when another model is published, `userbert features apply` makes the "
                "champion's"
            ) from None
