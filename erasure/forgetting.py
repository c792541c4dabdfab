"""The steps of forgetting users, in an order in which a kill at any moment loses nothing."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from analyst.lake_access.open_lake import open_lake
from contracts.errors import UserbertError
from contracts.paths import Places
from contracts.storage.landing_copy import landing_copy, store_addresses
from erasure.delta_tables import erase_users
from erasure.known_users import describe_unknown, models_that_saw, with_table_spellings
from erasure.landing_files import erase_lines
from erasure.landing_search import landing_settings, refused_line_test
from erasure.object_versions import ObjectVersions
from erasure.redaction import redact_logs
from erasure.user_patterns import Users
from spark_jobs.ingest.suppression_list import add_users, models_of, read_suppression_list
from spark_jobs.lake.lake import Lake


class _RowsChanged(UserbertError):
    """Other users' rows are not what they were before."""


@dataclass(frozen=True)
class Forgetting:
    """The steps of one call. Each may be repeated."""

    places: Places
    users: Users
    start_lake: Callable[[], Lake]  # a Spark application is started when the first step needs one
    _known: list[Users] = field(default_factory=list)

    def put_on_list(self) -> tuple[list[str], str]:
        """The models that saw the users, and in words which users no table knows.

        Comes first: the models are put on the list with the users, while the tables still show
        which ones they are.
        """
        ids = self.users.ids
        listed = read_suppression_list(self.places)
        listed_before = {user for user in ids if listed and user in listed}
        with open_lake(self.places) as lake:
            models = set(models_that_saw(lake, ids))
            users, known = with_table_spellings(lake, self.users)
        models |= models_of(self.places, ids)
        add_users(self.places, ids, models)
        self._known.append(users)
        return sorted(models), describe_unknown(ids, known, listed_before)

    @property
    def known_users(self) -> Users:
        """The users, with all spellings by which the tables knew them before they were erased."""
        return self._known[-1] if self._known else self.users

    def erase_landing_lines(self) -> str:
        copy = landing_copy(self.places)
        if copy:
            copy.fetch_all_days()
        settings, suppressed = landing_settings(self.places), read_suppression_list(self.places)
        if settings is None or suppressed is None:
            return "there are none"
        lines, files = erase_lines(self.places.landing, settings, suppressed)
        sent = f", {copy.send_back():,} objects replaced in {copy.address}" if copy else ""
        return f"{lines:,} lines out of {files:,} files{sent}"

    def erase_rows(self) -> str:
        test = refused_line_test(landing_settings(self.places), self.known_users)
        tables = erase_users(self.start_lake(), self.places, self.users.ids, test)
        if changed := [one.table for one in tables if not one.others_untouched]:
            raise _RowsChanged(
                f"other users' rows of {', '.join(changed)} are not what they were: did another "
                "job write meanwhile? Run this again while none does, and compare the tables"
            )
        rows = ", ".join(f"{one.rows:,} of {one.table}" for one in tables if one.rows)
        others = sum(one.others_after.rows for one in tables)
        return f"{rows or 'no rows'}; the checksums of the {others:,} other rows are as before"

    def remove_old_versions(self) -> str:
        addresses = store_addresses(self.places)
        if not addresses:
            return "a disk keeps none"
        spark = self.start_lake().spark
        removed = sum(ObjectVersions(spark, address).remove() for address in addresses)
        return f"{removed:,} removed"

    def remove_caches(self) -> str:
        there = [folder for folder in self._derived_folders() if folder.exists()]
        for folder in there:
            shutil.rmtree(folder)
        names = ", ".join(str(folder.relative_to(self.places.root)) for folder in there)
        return f"removed {names or 'nothing'}: made again when needed"

    def _derived_folders(self) -> list[Path]:
        """What holds vectors, labels or lines of users and can be made again.

        Results of the judge and of experiments are figures, and stay.
        """
        judged, experiments = self.places.evaluations, self.places.root / "experiments"
        runs = [path for path in judged.glob("*-*/*") if path.is_dir()]
        parts = [judged / "models", judged / "shared", *sorted(runs)]
        parts += [experiments / "data", experiments / "models"]
        return [self.places.arrays, self.places.neighbors, *parts]

    def erase_online_rows(self) -> str:
        if not (self.places.feature_store / "feature_store.yaml").exists():
            return "there is none"
        from feature_store.store import Store  # Feast takes five seconds to import

        store = Store(self.places)
        rows = sum(store.online.forget(view, self.known_users.texts) for view in store.online_views)
        store.online.rewrite()
        return f"{rows:,} rows"

    def redact_logs(self) -> str:
        """Names in gate results, Data Docs and task logs are replaced; event logs go whole."""
        redacted, gone = redact_logs(self.places, self.known_users)
        return f"{redacted:,} files redacted, {gone:,} Spark event logs removed"

    def steps(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """All steps after the first, by what they are about."""
        yield "landing files", self.erase_landing_lines
        yield "tables", self.erase_rows
        yield "old versions of objects", self.remove_old_versions
        yield "caches", self.remove_caches
        yield "online store", self.erase_online_rows
        yield "logs", self.redact_logs
