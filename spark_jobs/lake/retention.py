"""How long a table's replaced files must stay, so that a model's training data can be read.

A model that is not retired or refused names the Delta version of each table that it read
(`models.inputs`), and reproducible training promises that these can be read. VACUUM keeps by
time, not by version: a file stays for `delta.deletedFileRetentionDuration` after the commit that
removed it. Version v's files were removed after v's own commit, if at all, so a duration that
reaches back to that commit keeps all of them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from contracts.errors import BadInput
from spark_jobs.lake.table_properties import KEEP_DAYS

_ENDED_STATUSES = ("retired", "refused")  # statuses of models whose inputs need not be read again
# A duration is a table's property, and a change of it fails the commits that are under way. So it
# is set with KEEP_DAYS to spare and changed only when fewer than these are left: about every
# third week. Maintenance that fails for a week loses nothing.
_SPARE_DAYS = 10


@dataclass(frozen=True)
class Pin:
    """The oldest version of a table that a model in use names."""

    version: int
    model_id: str


def oldest_pins(models: Iterable[Mapping[str, str]]) -> dict[str, Pin]:
    """By table, from the rows of `models` (model_id, status, inputs). Ties go by model_id."""
    oldest: dict[str, Pin] = {}
    for model in sorted(models, key=lambda model: model["model_id"]):
        if model["status"] not in _ENDED_STATUSES:
            for table, version in _inputs(model).items():
                if table not in oldest or version < oldest[table].version:
                    oldest[table] = Pin(version, model["model_id"])
    return oldest


def _inputs(model: Mapping[str, str]) -> dict[str, int]:
    try:
        return {table: int(version) for table, version in json.loads(model["inputs"]).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise BadInput(
            f"models.inputs of {model['model_id']} is not JSON of versions by table "
            f"({model['inputs'][:80]!r}): nothing is vacuumed while it is unknown which versions "
            "are needed; repair the row, or retire the model"
        ) from error


def age_days(committed: Mapping[int, datetime], pin: Pin | None, now: datetime) -> int:
    """Whole days, rounded up, since the commit of the pinned version; 0 without a pin.

    A version that the log no longer has is older than all that it has.
    """
    if pin is None or not committed:
        return 0
    at = committed.get(pin.version, min(committed.values()))
    return -(-(now - at) // timedelta(days=1))


def keep_days(held: int, age: int, wanted: int = KEEP_DAYS) -> int:
    """How many days replaced files shall stay: `held`, as now, while that is about right, or
    `wanted`, and longer where a version of `age` is pinned."""
    if not age:
        return wanted
    least = max(wanted, age + _SPARE_DAYS)
    return held if least <= held <= least + wanted else wanted + age
