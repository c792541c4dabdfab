"""Forget users: take them out of every table and version, file, log, cache and store, with a proof.

userbert forget USER... [--file IDS.txt] [--yes]
userbert forget USER... --check                    the proof alone: changes nothing

It says which ids no table knows. It removes the users' rows from all tables, with their older
versions and their logs; their lines from the landing files; training arrays, neighbor caches and
Spark event logs that may hold them; their rows of the online store; their names from gate results
and task logs. Later ingests refuse their lines, and keep nothing of them. At the end every file
below the data root is looked through. The models that had learned from the users are listed: a
model cannot unlearn, so train another one; what its own training took stands beside it, and
`userbert models list` marks it from then on.

Pause the DAGs first: nothing else may use the lake meanwhile, and older versions of the tables can
be read no more. Safe to run again; what a kill leaves undone is done then. The ids appear in no
file, but in this command's own line: --file keeps them out of the shell's history as well.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.settings.pseudonyms import ids_as_stored, must_not_rotate, read_key_ring
from contracts.terminal.options import ArePseudonyms, UserFile
from contracts.user_lists import named_users

if TYPE_CHECKING:  # pyarrow, DuckDB and Spark are imported when the command runs
    from erasure.object_scan import Scanned
    from erasure.scan import Finding
    from erasure.user_patterns import Users
    from spark_jobs.lake.lake import Lake

_MAX_SHOWN = 20  # findings
_MIB = 1 << 20


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
    pseudonyms: ArePseudonyms = False,
) -> int:
    from contracts.storage.landing_copy import fetch_landing
    from erasure.landing_search import landing_settings, user_columns
    from erasure.user_patterns import Users

    places = Places.from_environment()
    must_not_rotate(places)
    fetch_landing(places, [])  # the settings alone, which name the column of the users
    columns = user_columns(landing_settings(places))
    named = named_users(users or [], file, columns)
    if named.num_comments:
        _print(f"{file}: {named.num_comments} comment lines that begin with # name nobody")
    stored = tuple(ids_as_stored(named.ids, pseudonyms, places))
    wanted = Users(stored, columns, named.spellings, ring=read_key_ring(places))
    if check:
        return 1 if search_everything(places, _with_spellings(places, wanted)) else 0
    _confirm(len(named.ids), yes)
    return 1 if search_everything(places, _forget_users(places, wanted)) else 0


def _forget_users(places: Places, users: Users) -> Users:
    """Forget them, and print each step; the users, with the spellings that tables had of them."""
    from erasure.forgetting import Forgetting
    from spark_jobs.tables.forgotten_users import describe_cost

    work = Forgetting(places, users, lambda: _start_lake(places))
    models, unknown = work.put_on_list()
    if unknown:
        _print(unknown)
    for name, step in work.steps():
        began = time.monotonic()
        result = step()
        _print(f"{name}: {result} ({time.monotonic() - began:.1f} s)")
    _print(f"models that had learned from them: {', '.join(models) or 'none'}")
    for model_id in models:
        _print(f"  {model_id}: {describe_cost(places.models / model_id)}")
    return work.known_users


def _start_lake(places: Places) -> Lake:
    from spark_jobs.lake.lake import Lake
    from spark_jobs.spark.session import session

    # This application's own event log would hold the ids.
    return Lake(session("forget", logged=False), places.lake)


def _with_spellings(places: Places, users: Users) -> Users:
    """The users, with the spellings that tables have of them now; says whom no table knows."""
    from analyst.lake_access.open_lake import open_lake
    from erasure.known_users import describe_unknown, with_table_spellings
    from spark_jobs.ingest.suppression_list import read_suppression_list

    with open_lake(places) as lake:
        users, known = with_table_spellings(lake, users)
    listed = read_suppression_list(places)
    before = {user for user in users.ids if listed and user in listed}
    if unknown := describe_unknown(users.ids, known, before):
        _print(unknown)
    return users


def search_everything(places: Places, users: Users) -> list[Finding]:
    """Look through every file, and print what was looked for and found: the residual mentions."""
    from contracts.storage.landing_copy import store_addresses
    from erasure.landing_search import search_landing_files
    from erasure.scan import scan_files

    roots = [places.root]
    is_on_disk = "://" not in places.lake
    if is_on_disk and not Path(places.lake).is_relative_to(places.root):
        roots.append(Path(places.lake))
    began, in_store = time.monotonic(), ""
    unsent = _unsent_landing_files(places)
    found, files, size = scan_files(roots, users, search_landing_files(places, users))
    found += unsent
    if addresses := store_addresses(places):
        more, objects, num_bytes = _search_store(places, addresses, users)
        found, size = [*found, *more], size + num_bytes
        in_store = f" and {objects:,} objects of {', '.join(addresses)}"
    mentions = [each for each in found if not each.page]
    _print(
        f"proof: {files:,} files{in_store}, {size / _MIB:,.1f} MiB, looked through in "
        f"{time.monotonic() - began:.1f} s; {len(mentions)} name a user"
    )
    for line in users.describe_search():
        _print(f"  looked for {line}")
    for each in mentions[:_MAX_SHOWN]:
        _print(f"  {each}")
    for each in [each for each in found if each.page][:_MAX_SHOWN]:
        _print(f"  not a mention of the user: a page's text in {each}")
    return mentions


def _unsent_landing_files(places: Places) -> list[Finding]:
    """Bring the copies of landing files to what their store has; those that were erased here, and
    not there, are named."""
    from contracts.storage.landing_copy import landing_copy
    from erasure.scan import Finding

    if (copy := landing_copy(places)) is None:
        return []
    copy.fetch_all_days()
    where = f"its lines were erased on the disk alone, not in {copy.address}: forget them again"
    return [Finding(Path(name), where) for name in copy.changed_names()]


def _search_store(places: Places, addresses: list[str], users: Users) -> Scanned:
    """Look through the objects of a lake on S3, and through the old versions that buckets keep.

    The landing files were looked through already: their copies hold what the store has.
    """
    from erasure.object_scan import scan_objects, scan_old_versions
    from erasure.object_versions import ObjectVersions

    spark = _start_lake(places).spark
    parts = [scan_old_versions(ObjectVersions(spark, address), users) for address in addresses]
    if places.lake in addresses:
        parts.append(scan_objects(places.lake, users))
    found, objects, sizes = zip(*parts, strict=True)
    return [each for part in found for each in part], sum(objects), sum(sizes)


def _confirm(count: int, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput("nobody is there to confirm it: pass --yes")
    question = f"forget {count} users for good, and all older versions of the tables? [y/N] "
    if input(question).strip().lower() not in ("y", "yes"):
        raise BadInput("nothing was changed")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
