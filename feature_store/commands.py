"""The feature store (Feast) over published_embeddings: the champion's vectors, online and as of.

userbert features apply                        register what is published
userbert features materialize --as-of DAY      bring the online store up to the newest vectors
userbert features check --as-of DAY            who is mismatched, missing or extra? exit code 3
userbert features check --points 1000          and is history right, as of 1,000 (user, time)?
userbert features refresh --as-of DAY          all three, as a night does
userbert features get USER...                  the online features of some users
userbert features history --file rows.csv --out features.parquet
                                               of (user_id, event_timestamp) rows, as of each
userbert features history --as-known ...       the same, of what was published by each time

`feast --chdir data/feature_store serve` and `... ui` open the same store.
"""

import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import BadInput, MissingTable
from contracts.paths import Places
from contracts.settings.pseudonyms import ids_as_stored
from contracts.terminal.command_line import command_group
from contracts.terminal.options import ArePseudonyms, AsOfOrNewest, day_option
from contracts.vectors import CHAMPION_SERVICE

if TYPE_CHECKING:  # Feast takes five seconds to import; `--help` must not
    from feature_store.published import Published
    from feature_store.store import Store


app = command_group(__doc__)

_Service = Annotated[
    str,
    typer.Option(
        "--service",
        metavar="NAME",
        help="The feature service; user_embeddings_MODEL_ID pins a model, "
        "user_embeddings_SPACE_ID a space.",
    ),
]
_PublishedDay = Annotated[date, day_option("--as-of", help="A published UTC day, YYYY-MM-DD.")]


def _open_store() -> "Store":
    warnings.filterwarnings("ignore", module="feast")  # of what it will call otherwise one day
    logging.getLogger("feast").setLevel(logging.WARNING)
    from feature_store.store import Store

    return Store(Places.from_environment())


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _print_each(lines: Iterable[str]) -> None:
    for line in lines:
        _print(line)


@app.command()
def apply() -> None:
    """Register what is published."""
    store = _open_store()
    _print_each(store.put_damaged_files_aside())
    _print(_apply(store, _open_published(store)))


@app.command()
def materialize(as_of: _PublishedDay) -> None:
    """Bring the online store up to the newest vectors."""
    store = _open_store()
    with store.named_damage():
        _print(_materialize(store, _open_published(store), as_of))


@app.command()
def check(
    as_of: AsOfOrNewest = None,
    points: Annotated[
        int, typer.Option("--points", help="Past (user, time) points to compare as well.")
    ] = 0,
    fetches: Annotated[
        int | None,
        typer.Option(
            "--fetches",
            min=0,
            help="Users whose features are fetched and compared whole, other ones as of each day. "
            "[default: 10,000]",
        ),
    ] = None,
) -> None:
    """Count users who are mismatched, missing or extra online; exit code 3 if there are any.

    The day of everybody's vector is compared with the table, and all features of --fetches users.
    """
    store = _open_store()
    with store.named_damage():
        _print_each(_check(store, _open_published(store), as_of, points, fetches))


@app.command()
def refresh(as_of: _PublishedDay) -> None:
    """Apply, materialize and check, as a night does; what is damaged is made anew."""
    # In one process, since importing Feast takes longer than the three.
    store = _open_store()
    _print_each(store.put_damaged_files_aside())
    published = _open_published(store)
    _print(_apply(store, published))
    _print(_materialize(store, published, as_of))
    _print_each(_check(store, published, as_of))


@app.command()
def get(
    users: Annotated[list[str], typer.Argument(metavar="USER", help="The ids of the users.")],
    service: _Service = CHAMPION_SERVICE,
    pseudonyms: ArePseudonyms = False,
) -> None:
    """Print the online features of some users as JSON lines; exit code 4 if one has none."""
    store = _open_store()
    users = ids_as_stored(users, pseudonyms, store.places)
    with store.named_damage():
        rows = store.get(users, service)
    known = rows[rows["model_id"].notna()]
    if len(known):
        _print(str(known.to_json(orient="records", lines=True, date_format="iso")).rstrip())
    if unknown := [user for user in dict.fromkeys(users) if user not in set(known["user_id"])]:
        raise MissingTable(
            f"{service} has no vector of {', '.join(unknown)} online: "
            f"`userbert coverage --users {' '.join(unknown)}` says why"
        )


@app.command()
def history(
    file: Annotated[
        Path,
        typer.Option("--file", metavar="FILE", help="A CSV of user_id and event_timestamp (UTC)."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A Parquet file to write.")],
    service: _Service = CHAMPION_SERVICE,
    as_known: Annotated[
        bool,
        typer.Option(
            "--as-known",
            help="Only what had been published by each row's time: no later backfill is seen.",
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL_ID",
            help="With --as-known: a model that is or was published. [default: the champion]",
        ),
    ] = None,
    pseudonyms: ArePseudonyms = False,
) -> None:
    """Write the features of users as of past times, in the order of the file's rows."""
    from feature_store.history_file import read_points

    if model and not as_known:
        raise BadInput("--model goes with --as-known; --service pins the model that is published")

    points = read_points(file)
    points["user_id"] = ids_as_stored(points["user_id"], pseudonyms)
    if not out.parent.is_dir():
        raise BadInput(f"--out {out}: there is no folder {out.parent}")
    store = _open_store()
    _open_published(store)
    with store.named_damage():
        features = (
            store.history_as_known(points, model) if as_known else store.history(points, service)
        )
    try:
        features.to_parquet(out, index=False)
    except OSError as error:
        raise BadInput(f"--out {out} cannot be written: {error.strerror or error}") from None
    _print(f"{out}: {len(features):,} rows, {features['model_id'].isna().sum():,} without a vector")


def _open_published(store: "Store") -> "Published":
    """The table at its newest version, whose pages are whole."""
    from feature_store.published import Published

    published = Published.open(store.places)
    published.check_pages(store.places)
    return published


def _apply(store: "Store", published: "Published") -> str:
    name = store.apply(published)
    store.note_checksums()
    return f"registered {name} in {store.places.feature_store}; serving {store.serving()}"


def _materialize(store: "Store", published: "Published", as_of: date) -> str:
    users = store.materialize(published, as_of)
    store.note_checksums()
    return f"online: {users:,} users of {published.model_id}, newest as of {published.days[-1]}"


def _check(
    store: "Store",
    published: "Published",
    as_of: date | None,
    points: int = 0,
    fetches: int | None = None,
) -> Iterator[str]:
    from feature_store.historical_check import check_points
    from feature_store.online_check import MAX_FETCHES, check_online

    num_fetches = MAX_FETCHES if fetches is None else fetches
    yield check_online(store, published, as_of or published.days[-1], num_fetches)
    if points:
        yield check_points(store, published, points)
