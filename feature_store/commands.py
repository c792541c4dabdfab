"""The feature store (Feast) over published_embeddings: the champion's vectors, online and as of.

userbert features apply                        register what is published
userbert features materialize --as-of DAY      bring the online store up to the newest vectors
userbert features check --as-of DAY            do they equal the table's? exit code 3 if not
userbert features check --points 1000          and is history right, as of 1,000 (user, time)?
userbert features refresh --as-of DAY          all three, as a night does
userbert features get USER...                  the online features of some users
userbert features history --file rows.csv --out features.parquet
                                               of (user_id, event_timestamp) rows, as of each

`feast --chdir data/feature_store serve` and `... ui` open the same store.
"""

import logging
import sys
import warnings
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.command_line import command_group
from contracts.errors import BadInput
from contracts.options import AsOfOrNewest, day_option
from contracts.paths import Places

if TYPE_CHECKING:  # Feast takes five seconds to import; `--help` must not
    from feature_store.store import Store

SERVICE = "user_embeddings"


app = command_group(__doc__)

Service = Annotated[
    str,
    typer.Option(
        "--service",
        metavar="NAME",
        help="The feature service; user_embeddings_MODEL_ID pins a model.",
    ),
]
PublishedDay = Annotated[date, day_option("--as-of", help="A published UTC day, YYYY-MM-DD.")]


def _open_store() -> "Store":
    warnings.filterwarnings("ignore", module="feast")  # of what it will call otherwise one day
    logging.getLogger("feast").setLevel(logging.WARNING)
    from feature_store.store import Store

    return Store(Places.from_environment())


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


@app.command()
def apply() -> None:
    """Register what is published."""
    _print(_apply(_open_store()))


@app.command()
def materialize(as_of: PublishedDay) -> None:
    """Bring the online store up to the newest vectors."""
    _print(_materialize(_open_store(), as_of))


@app.command()
def check(
    as_of: AsOfOrNewest = None,
    points: Annotated[
        int, typer.Option("--points", help="Past (user, time) points to compare as well.")
    ] = 0,
) -> None:
    """Compare both stores with the table; exit code 3 if they differ."""
    _print(_check(_open_store(), as_of, points))


@app.command()
def refresh(as_of: PublishedDay) -> None:
    """Apply, materialize and check, as a night does."""
    # In one process, since importing Feast takes longer than the three.
    store = _open_store()
    for step in (_apply(store), _materialize(store, as_of), _check(store, as_of, points=0)):
        _print(step)


@app.command()
def get(
    users: Annotated[list[str], typer.Argument(metavar="USER", help="The ids of the users.")],
    service: Service = SERVICE,
) -> None:
    """Print the online features of some users as JSON lines."""
    rows = _open_store().get(users, service)
    _print(str(rows.to_json(orient="records", lines=True, date_format="iso")).rstrip())


@app.command()
def history(
    file: Annotated[
        Path,
        typer.Option("--file", metavar="FILE", help="A CSV of user_id and event_timestamp (UTC)."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A Parquet file to write.")],
    service: Service = SERVICE,
) -> None:
    """Write the features of users as of past times."""
    import pandas as pd

    rows = pd.read_csv(file, dtype={"user_id": str})
    if missing := {"user_id", "event_timestamp"} - set(rows.columns):
        raise BadInput(f"{file} has no column {', '.join(sorted(missing))}")
    rows["event_timestamp"] = pd.to_datetime(rows["event_timestamp"], utc=True)
    features = _open_store().history(rows, service)
    features.to_parquet(out, index=False)
    _print(f"{out}: {len(features):,} rows, {features['model_id'].isna().sum():,} without a vector")


def _apply(store: "Store") -> str:
    from feature_store.published import Published

    name = store.apply(Published.open(store.places))
    return f"registered {name} in {store.places.feature_store}; serving {store.serving()}"


def _materialize(store: "Store", as_of: date) -> str:
    from feature_store.published import Published

    published = Published.open(store.places)
    users = store.materialize(published, as_of)
    return f"online: {users:,} users of {published.model_id}, newest as of {published.days[-1]}"


def _check(store: "Store", as_of: date | None, points: int) -> str:
    from feature_store.historical_check import check_points
    from feature_store.online_check import check
    from feature_store.published import Published

    published = Published.open(store.places)
    results = [check(store, published, as_of or published.days[-1])]
    if points:
        results.append(check_points(store, published, points))
    return "\n".join(results)
