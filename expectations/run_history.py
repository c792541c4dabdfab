"""Numbers of a day's table beside those of the four weeks before, which its gate results keep."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

from contracts.paths import Places
from contracts.storage.damage import DamagedFile
from contracts.tables import Table
from expectations.day_history import ACCEPTED_SLACK, DAY_PREFIX, accepted_days
from expectations.days.bounds import Bound
from expectations.days.comparison import HISTORY_DAYS, usual_ends
from expectations.results import load_result, result_path
from expectations.suites import Expected

_MIN_ROWS = 50  # of a day; the numbers of fewer are noise
_USUAL_ROWS = 100.0  # by which chance is reckoned where nobody has counted yet


def usual_expectations(
    places: Places,
    table: Table,
    day: date,
    bounds: Iterable[Bound],
    *,
    sql: Mapping[str, str] | None = None,
    num_rows: float = _USUAL_ROWS,
) -> list[Expected]:
    """For each bound, that the number of `day` is like those of the days before.

    A bound's number is taken by its `sql`, or else from the job's measures; chance is that of
    `num_rows`. With fewer than three earlier days, or of days of few rows, all numbers pass, and
    are kept.
    """
    return [
        _expectation(places, table, day, bound, (sql or {}).get(bound.name, ""), num_rows)
        for bound in bounds
    ]


def _expectation(
    places: Places, table: Table, day: date, bound: Bound, sql: str, num_rows: float
) -> Expected:
    name = f"{DAY_PREFIX}{bound.name}"
    usual, least, most = usual_ends(bound, day, _earlier(places, table, day, name), num_rows)
    least, most = _with_accepted(places, day, bound.name, least, most)
    level = f"{usual:.4g}"
    if least is None and most is None:
        level, least = "not known yet", 0.0  # no number is less; Great Expectations wants an end
    return Expected(
        name,
        f"as of {day}: {bound.means}, usual are {level}; perhaps {bound.advice}. If the day is "
        f"right as it is: `userbert gates accept {day} --reason WHY`, and run the same command "
        "again",
        least=least,
        most=most,
        sql=sql,
        from_job=None if sql else lambda measures: measures[bound.name],
    )


def _earlier(places: Places, table: Table, day: date, name: str) -> dict[date, float]:
    """What was observed on each of the four weeks' days of which a result is kept."""
    found = {}
    for n in range(1, HISTORY_DAYS + 1):
        earlier = day - timedelta(days=n)
        path = result_path(places.gates, table.name, str(earlier))
        try:
            result = load_result(path)
        except (FileNotFoundError, DamagedFile):
            continue
        observed = [each.observed for each in result.expectations if each.expectation == name]
        if result.passed and result.rows >= _MIN_ROWS and observed and observed[0] is not None:
            found[earlier] = observed[0]
    return found


def _with_accepted(
    places: Places, day: date, name: str, least: float | None, most: float | None
) -> tuple[float | None, float | None]:
    """The ends, as far out as a person has seen the day and called it right."""
    for accepted in accepted_days(places):
        if accepted.day == str(day) and name in accepted.measures:
            seen = accepted.measures[name]
            further = ACCEPTED_SLACK * abs(seen)
            least = None if least is None else min(least, seen - further)
            most = None if most is None else max(most, seen + further)
    return least, most
