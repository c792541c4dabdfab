"""Users, forgotten: out of every table and version, file, log, cache and store, with a proof.

userbert forget USER... [--file IDS.txt] [--yes]
userbert forget USER... --check                    the proof alone: changes nothing

It removes their rows from all tables, their older versions and their logs; their lines from the
landing files; training arrays, neighbor caches and Spark event logs that may hold them; their rows
of the online store; their names from gate results and task logs. Later ingests refuse their lines,
and keep nothing of them. At the end every file below the data root is looked through. The models
that had learned from the users are listed: a model cannot unlearn, so train another one.

Pause the DAGs first: nothing else may use the lake meanwhile, and older versions of the tables can
be read no more. Safe to run again; what a kill leaves undone is done then. The ids appear in no
file, but in this command's own line: --file keeps them out of the shell's history as well.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import BadInput, UserbertError
from contracts.landing_settings import LandingSettings, read_settings
from contracts.options import UserFile
from contracts.paths import Places
from contracts.user_lists import USER_COLUMN, named_users
from erasure.scan import PACKED, Finding, Special, Users, redact, scan

if TYPE_CHECKING:
    from spark_jobs.ingest.parsing.parsed_lines import Part
    from spark_jobs.lake.lake import Lake

NAMED = 20  # findings that are shown
MIB = 1 << 20


class StillThere(UserbertError):
    """A file names a user after all."""


@dataclass(frozen=True)
class Forgetting:
    """The deeds of one call. Each may be repeated."""

    lake: Lake
    places: Places
    users: Users

    def note(self) -> list[str]:
        """Put them on the list first, with the models that saw them, while that can be told."""
        from spark_jobs.ingest.suppression_list import add_users, models_of

        known = models_of(self.places, self.users.ids)
        models = sorted(known | set(models_that_saw(self.lake, self.users.ids)))
        add_users(self.places, self.users.ids, models)
        return models

    def landing_files(self) -> str:
        from erasure.landing_files import erase_lines
        from spark_jobs.ingest.suppression_list import read_suppression_list

        forgotten, settings = read_suppression_list(self.places), landing_settings(self.places)
        if settings is None or forgotten is None:
            return "there are none"
        return "{:,} lines out of {:,} files".format(
            *erase_lines(self.places.landing, settings, forgotten)
        )

    def tables(self) -> str:
        from erasure.delta_tables import erase_users
        from spark_jobs.ingest.suppression_list import read_suppression_list

        forgotten = read_suppression_list(self.places)
        assert forgotten is not None
        settings = landing_settings(self.places)
        names = names_a_user(settings, self.users)
        done = erase_users(self.lake, self.users.ids, names)
        changed = [one.table for one in done if not one.others_untouched]
        if changed:
            raise StillThere(
                f"other users' rows of {', '.join(changed)} are not what they were: did another "
                "job write meanwhile? Run this again while none does, and compare the tables"
            )
        rows = ", ".join(f"{one.rows:,} of {one.table}" for one in done if one.rows)
        others = sum(one.others_after.rows for one in done)
        return f"{rows or 'no rows'}; the checksums of the {others:,} other rows are as before"

    def caches(self) -> str:
        from analyst.vectors.vector_cache import snapshots_folder

        folders = (self.places.arrays, snapshots_folder(self.places))
        there = [folder for folder in folders if folder.exists()]
        for folder in there:
            shutil.rmtree(folder)
        return f"removed {', '.join(f.name for f in there) or 'nothing'}: made again when needed"

    def online_store(self) -> str:
        if not (self.places.feature_store / "feature_store.yaml").exists():
            return "there is none"
        from feature_store.store import Store

        store = Store(self.places)
        views = [str(view.name) for view in store.feast.list_feature_views()]
        rows = sum(store.online.forget(view, self.users.ids) for view in views)
        store.online.rewrite()
        return f"{rows:,} rows"

    def logs(self) -> str:
        """Names in gate results, Data Docs and task logs are blotted out; event logs go whole."""
        logs = self.places.event_logs
        gone = {
            logs / found.path.relative_to(logs).parts[0] for found in scan([logs], self.users)[0]
        }
        for log in gone:
            shutil.rmtree(log) if log.is_dir() else log.unlink(missing_ok=True)
        blotted = sum(redact(path, self.users) for path in texts(self.places))
        return f"{blotted:,} files redacted, {len(gone):,} Spark event logs removed"

    def steps(self) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "landing files", self.landing_files
        yield "tables", self.tables
        yield "caches", self.caches
        yield "online store", self.online_store
        yield "logs", self.logs


def texts(places: Places) -> Iterator[Path]:
    """The files of logs and reports, whose text may be changed; event logs are packed."""
    kept = {places.landing, places.models, places.event_logs, Path(places.lake), places.arrays}
    kept |= {places.root / "forgotten", places.feature_store}
    for path in sorted(places.root.rglob("*")):
        ours = path.suffix not in (*PACKED, ".parquet", ".npy") and kept.isdisjoint(path.parents)
        if ours and path.is_file() and not path.is_symlink():
            yield path


def names_a_user(settings: LandingSettings | None, users: Users) -> Callable[[str], bool]:
    """Whether a refused line is of one of `users`, or names one that cannot be mistaken."""
    from spark_jobs.ingest.formats import landing_format

    form = landing_format(settings) if settings else None
    wanted, words = frozenset(users.ids), any_word(users.ids)
    plain = any_word(users.plain)

    def names(raw: str) -> bool:
        user = form.user_of(raw) if form else None
        return plain(raw) or (words(raw) if user is None else user in wanted)

    return names


def any_word(ids: Sequence[str]) -> Callable[[str], bool]:
    """Whether a text has one of `ids` between other than word characters."""
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, ids))})(?!\w)")
    return lambda text: bool(ids) and pattern.search(text) is not None


def in_landing_files(places: Places, users: Users) -> Special:
    """Landing files are looked through line by line, as an ingest reads them.

    Another user's page may name the user in its title: that is told, and is no trace.
    """
    from spark_jobs.ingest.landing_files import lines_with_users, parts_of_all_days
    from spark_jobs.ingest.parsing.packed_files import DamagedFile

    settings = landing_settings(places)
    if settings is None:
        return lambda path: None
    parts: dict[Path, list[Part]] = {}
    for part in parts_of_all_days(places.landing, settings):
        parts.setdefault(part.path, []).append(part)
    wanted, words, plain = frozenset(users.ids), any_word(users.ids), any_word(users.plain)

    def look(path: Path) -> list[Finding] | None:
        try:
            lines = [line for part in parts[path] for line in lines_with_users(part, settings)]
        except (DamagedFile, KeyError):  # then its bytes are looked through
            return None
        found = {}
        for line, raw, user in lines:
            is_theirs = words(raw) if user is None else user in wanted
            if is_theirs or plain(raw):
                found[is_theirs] = Finding(path, f"line {line}", page=not is_theirs)
        return list(found.values())

    return look


def landing_settings(places: Places) -> LandingSettings | None:
    path = places.landing / "settings.toml"
    return read_settings(path) if path.exists() else None


def user_columns(settings: LandingSettings | None) -> tuple[str, ...]:
    """What the user column is called: here, and in the landing files."""
    theirs = settings.columns["user_id"] if settings else USER_COLUMN
    last_step = theirs.split(".")[-1]  # of a path into values, the name that stands next to the id
    return tuple(dict.fromkeys([USER_COLUMN, theirs, last_step]))


def models_that_saw(lake: Lake, users: Sequence[str]) -> Iterator[str]:
    """The models whose pairs had one of `users`; where those pairs are gone, who may have had."""
    from datetime import timedelta

    from pyspark.sql import functions as F

    from contracts.limits import PRETRAINING_DAYS
    from contracts.tables import SEQUENCE_PAIRS, SESSIONS
    from spark_jobs.tables.models import load_models

    ours = F.trim("user_id").isin(list(users))
    for model in load_models(lake).values():
        end = model.trained_before
        pairs = lake.read_or_empty(SEQUENCE_PAIRS).where(F.col("as_of") == F.lit(end))
        start = end - timedelta(days=PRETRAINING_DAYS)
        inside = F.col("session_date").between(F.lit(start), F.lit(end - timedelta(days=1)))
        seen = lake.read_or_empty(SESSIONS).where(inside) if pairs.isEmpty() else pairs
        if not seen.where(ours).isEmpty():
            yield model.model_id


def proof(places: Places, users: Users) -> list[Finding]:
    """Look through every file, and say what was looked for and found."""
    roots = [places.root]
    if "://" in places.lake:
        _print(f"not looked through: {places.lake}, an object store; its tables were rewritten")
    elif not Path(places.lake).is_relative_to(places.root):
        roots.append(Path(places.lake))
    began = time.monotonic()
    found, files, size = scan(roots, users, in_landing_files(places, users))
    traces = [each for each in found if not each.page]
    _print(
        f"proof: {files:,} files, {size / MIB:,.1f} MiB, looked through in "
        f"{time.monotonic() - began:.1f} s; {len(traces)} name a user"
    )
    for line in users.looked_for():
        _print(f"  looked for {line}")
    for each in traces[:NAMED]:
        _print(f"  {each}")
    for each in [each for each in found if each.page][:NAMED]:
        _print(f"  not a trace: a page's text in {each}")
    return traces


def confirm(count: int, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput("nobody is there to confirm it: pass --yes")
    question = f"forget {count} users for good, and all older versions of the tables? [y/N] "
    if input(question).strip().lower() not in ("y", "yes"):
        raise BadInput("nothing was changed")


def main(
    users: Annotated[
        list[str] | None,
        typer.Argument(metavar="USER", help="The ids of the users, as the tables have them."),
    ] = None,
    file: UserFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only look for them; exit code 1 if anything is found."),
    ] = False,
) -> int:
    places = Places.from_environment()
    columns = user_columns(landing_settings(places))
    named = named_users(users or [], file, columns)
    if named.num_comments:
        _print(f"{file}: {named.num_comments} comment lines that begin with # name nobody")
    wanted = Users(named.ids, columns, named.spellings)
    if not check:
        confirm(len(named.ids), yes)
        forget(places, wanted)
    return 1 if proof(places, wanted) else 0


def forget(places: Places, users: Users) -> None:
    from spark_jobs.lake.lake import Lake
    from spark_jobs.spark.session import session

    # This application's own event log would hold the ids.
    work = Forgetting(Lake(session("forget", logged=False), places.lake), places, users)
    models = work.note()
    for name, step in work.steps():
        began = time.monotonic()
        did = step()
        _print(f"{name}: {did} ({time.monotonic() - began:.1f} s)")
    _print(f"models that had learned from them: {', '.join(models) or 'none'}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
