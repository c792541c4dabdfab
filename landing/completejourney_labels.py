"""Labels of the demo's households for the judge, out of the same package.

userbert logs demo-labels --as-of 2017-06-03

writes labels/NAME.parquet and NAME.toml: age, income and children, which do not change, and coupon
redemption and spend in the 28 days from the cut on. Of 2,469 households 801 have demographic facts.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer

from contracts.paths import Places
from contracts.storage.atomic_write import atomic_file, write_text
from contracts.terminal.options import AsOf
from contracts.terminal.printing import print_parts
from landing.completejourney import package_data

_DEFAULT_DAYS = 28


@dataclass(frozen=True)
class _Labels:
    """A file of labels, and what its settings say."""

    name: str
    kind: str
    is_static: bool
    doc: str
    table: pa.Table

    @property
    def is_sensitive(self) -> bool:
        """Facts about people, as against what they buy: the privacy card asks about them."""
        return self.is_static


def _demographic_labels(demographics: pa.Table) -> Iterator[_Labels]:
    """Age and income by their classes, and whether there are children."""
    for name, column in (("age", "age"), ("income", "income")):
        values: Any = demographics[column].cast(pa.string())
        table = pa.table({"user_id": _user_ids(demographics), "value": values}).drop_null()
        yield _Labels(name, "classes", True, f"{name} group of the household's head", table)
    kids: Any = demographics["kids_count"].cast(pa.string())
    has_children = pc.not_equal(kids, pa.scalar("0"))
    table = pa.table({"user_id": _user_ids(demographics), "value": has_children.cast(pa.int64())})
    yield _Labels("children", "binary", True, "the household has children", table.drop_null())


def _later_labels(
    transactions: pa.Table, redemptions: pa.Table, households: Any, as_of: date, days: int
) -> Iterator[_Labels]:
    """Redemption and spend of each of `households` in the `days` from `as_of` on."""
    last = as_of + timedelta(days=days - 1)
    redeemed = _between(redemptions, "redemption_date", as_of, days)["household_id"]
    value = pc.is_in(households, value_set=redeemed.combine_chunks()).cast(pa.int64())
    doc = f"a coupon is redeemed from {as_of} to {last}"
    yield _Labels("redemption", "binary", False, doc, _dated(households, value, as_of))
    bought: Any = _between(transactions, "transaction_timestamp", as_of, days)
    sums = bought.group_by("household_id").aggregate([("sales_value", "sum")])
    place = pc.index_in(households, value_set=sums["household_id"].combine_chunks())
    value = sums["sales_value_sum"].combine_chunks().take(place).fill_null(0.0)
    doc = f"dollars spent from {as_of} to {last}"
    yield _Labels("spend", "number", False, doc, _dated(households, value, as_of))


def _between(table: pa.Table, column: str, as_of: date, days: int) -> pa.Table:
    begin = datetime.combine(as_of, datetime.min.time())
    times = table[column].cast(pa.timestamp("us"))
    ends = pa.scalar(begin, times.type), pa.scalar(begin + timedelta(days=days), times.type)
    return table.filter(pc.and_(pc.greater_equal(times, ends[0]), pc.less(times, ends[1])))


def _dated(households: Any, values: Any, as_of: date) -> pa.Table:
    times = pa.array([as_of] * len(values), pa.date32())
    return pa.table({"user_id": households.cast(pa.string()), "value": values, "event_time": times})


def _user_ids(table: pa.Table) -> Any:
    return table["household_id"].cast(pa.string())


def _write_labels(folder: Path, labels: _Labels) -> None:
    """NAME.parquet and NAME.toml, each whole or not there."""
    with atomic_file(folder / f"{labels.name}.parquet") as hidden:
        pq.write_table(labels.table, hidden)
    settings: Mapping[str, object] = {
        "kind": labels.kind,
        "is_static": labels.is_static,
        "doc": labels.doc,
        "is_sensitive": labels.is_sensitive,
    }
    # A JSON string or truth value is written in TOML as it is in JSON.
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    write_text(folder / f"{labels.name}.toml", text)


def main(
    as_of: AsOf,
    days: Annotated[
        int, typer.Option("--days", min=1, help="How many days redemption and spend cover.")
    ] = _DEFAULT_DAYS,
) -> None:
    data, folder = package_data(), Places.from_environment().labels
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["household_id", "transaction_timestamp", "sales_value"]
    transactions = pq.read_table(data / "transactions.parquet", columns=columns)
    redemptions = pq.read_table(data / "coupon_redemptions.parquet")
    demographics = pq.read_table(data / "demographics.parquet")
    households = pc.unique(transactions["household_id"]).sort()
    later = _later_labels(transactions, redemptions, households, as_of, days)
    for labels in (*_demographic_labels(demographics), *later):
        _write_labels(folder, labels)
        print_parts(
            f"{folder / labels.name}.parquet: {labels.table.num_rows:,} users, {labels.doc}"
        )
