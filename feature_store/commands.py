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

import argparse
import logging
import sys
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import BadInput
from contracts.paths import Places

if TYPE_CHECKING:  # Feast takes five seconds to import; `--help` must not
    from feature_store.store import Store

SERVICE = "user_embeddings"


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("apply", help="register what is published")
    materialize = actions.add_parser("materialize", help="fill the online store")
    check = actions.add_parser("check", help="compare both stores with the table")
    refresh = actions.add_parser("refresh", help="apply, materialize and check")
    for each, required in ((materialize, True), (check, False), (refresh, True)):
        about = "a published UTC day" + ("" if required else " (default: the newest)")
        each.add_argument("--as-of", required=required, type=date.fromisoformat, help=about)
    refresh.set_defaults(points=0)
    check.add_argument(
        "--points", type=int, default=0, help="past (user, time) to compare (default: none)"
    )
    get = actions.add_parser("get", help="online features as JSON lines")
    get.add_argument("users", metavar="USER", nargs="+")
    history = actions.add_parser("history", help="features as of past times")
    history.add_argument(
        "--file", required=True, type=Path, help="CSV of user_id, event_timestamp (UTC)"
    )
    history.add_argument("--out", required=True, type=Path, help="a Parquet file")
    for each in (get, history):
        each.add_argument(
            "--service",
            default=SERVICE,
            help="user_embeddings_MODEL_ID pins a model; default: the champion's",
        )
    return parser


def main(action: str, **flags: object) -> None:
    warnings.filterwarnings("ignore", module="feast")  # of what it will call otherwise one day
    logging.getLogger("feast").setLevel(logging.WARNING)
    from feature_store.store import Store

    told = ACTIONS[action](Store(Places.from_environment()), argparse.Namespace(**flags))
    sys.stdout.write(f"{told}\n")


def _apply(store: "Store", flags: argparse.Namespace) -> str:
    from feature_store.published import Published

    name = store.apply(Published.open(store.places))
    return f"registered {name} in {store.places.feature_store}; serving {store.serving()}"


def _materialize(store: "Store", flags: argparse.Namespace) -> str:
    from feature_store.published import Published

    published = Published.open(store.places)
    users = store.materialize(published, flags.as_of)
    return f"online: {users:,} users of {published.model_id}, newest as of {published.days[-1]}"


def _check(store: "Store", flags: argparse.Namespace) -> str:
    from feature_store.historical_check import check_points
    from feature_store.online_check import check
    from feature_store.published import Published

    published = Published.open(store.places)
    told = [check(store, published, flags.as_of or published.days[-1])]
    if flags.points:
        told.append(check_points(store, published, flags.points))
    return "\n".join(told)


def _refresh(store: "Store", flags: argparse.Namespace) -> str:
    """In one process, for to import Feast takes longer than the three."""
    return "\n".join(step(store, flags) for step in (_apply, _materialize, _check))


def _get(store: "Store", flags: argparse.Namespace) -> str:
    found = store.get(flags.users, flags.service)
    return str(found.to_json(orient="records", lines=True, date_format="iso")).rstrip()


def _history(store: "Store", flags: argparse.Namespace) -> str:
    import pandas as pd

    rows = pd.read_csv(flags.file, dtype={"user_id": str})
    if missing := {"user_id", "event_timestamp"} - set(rows.columns):
        raise BadInput(f"{flags.file} has no column {', '.join(sorted(missing))}")
    rows["event_timestamp"] = pd.to_datetime(rows["event_timestamp"], utc=True)
    found = store.history(rows, flags.service)
    found.to_parquet(flags.out, index=False)
    return f"{flags.out}: {len(found):,} rows, {found['model_id'].isna().sum():,} without a vector"


ACTIONS: dict[str, Callable[["Store", argparse.Namespace], str]] = {
    "apply": _apply,
    "materialize": _materialize,
    "check": _check,
    "refresh": _refresh,
    "get": _get,
    "history": _history,
}
