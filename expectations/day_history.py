"""The numbers of past landing days, what people accepted, and bounds that an installation changed.

gates/days/DAY.json is derived from the lake: it may be deleted, and is measured again. What a
person accepted (gates/accepted/DAY.json) is kept. landing/gates.toml changes bounds for all days:

    [views]
    low = 0.2            # of the usual level, as expectations/days/bounds.py has it
    severity = "soft"    # hard stops the day, soft warns, off does not look
"""

import getpass
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.storage.atomic_write import write_json
from contracts.storage.toml_files import read_toml
from contracts.tables import BROWSING_LOGS, PUBLISHED_EMBEDDINGS, USER_SEQUENCES
from expectations.days.bounds import DAY_MEASURES, Bound
from expectations.days.comparison import HISTORY_DAYS, Judged
from expectations.days.measures import DayFacts
from expectations.results import newest_readable
from expectations.suites import Expected

BOUNDS_FILE = "gates.toml"  # next to settings.toml
DAY_PREFIX = "day_"  # of an expectation about a whole landing day
_MAX_SEARCHED = 50  # results in which a day that was stopped is looked for
ACCEPTED_SLACK = 0.05  # by which a day may be further off than what was accepted


@dataclass(frozen=True)
class Accepted:
    """A day of which a person said that it is right as it is."""

    day: str
    by: str
    at: str  # UTC
    reason: str
    measures: Mapping[str, float]  # what was observed, by the names of the bounds that it broke

    @property
    def line(self) -> str:
        broken = ", ".join(f"{name} {value:.4g}" for name, value in self.measures.items())
        return f"{self.day} was accepted by {self.by} at {self.at} ({broken}): {self.reason}"


def load_days(places: Places, first: date, last: date) -> dict[date, DayFacts]:
    """The facts of the four weeks before `first`, and of the days to `last`, that are kept."""
    found = {}
    for n in range((last - first).days + HISTORY_DAYS + 1):
        day = first - timedelta(days=HISTORY_DAYS) + timedelta(days=n)
        try:
            facts = json.loads(_days_path(places, day).read_text(encoding="utf-8"))
            found[day] = DayFacts.from_json(facts)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue  # none yet, or torn: it is measured again
    return found


def save_days(places: Places, facts: Iterable[DayFacts]) -> None:
    for each in facts:
        write_json(_days_path(places, each.day), each.to_json())


def _days_path(places: Places, day: date) -> Path:
    return places.gates / "days" / f"{day}.json"


def _accepted_path(places: Places, day: str) -> Path:
    return places.gates / "accepted" / f"{day}.json"


def day_bounds(places: Places) -> tuple[Bound, ...]:
    """The bounds, as the installation changed them; BadInput says what is wrong with the file."""
    path = places.landing / BOUNDS_FILE
    if not path.exists():
        return DAY_MEASURES
    changes = read_toml(path)
    known = {bound.name: bound for bound in DAY_MEASURES}
    if unknown := sorted(set(changes) - set(known)):
        raise BadInput(f"{path}: {unknown[0]} is no measure of a day; they are {', '.join(known)}")
    return tuple(_changed(bound, changes.get(name, {}), path) for name, bound in known.items())


def _changed(bound: Bound, values: object, path: Path) -> Bound:
    if not isinstance(values, dict):
        raise BadInput(f"{path}: {bound.name} is {values!r}; write a table [{bound.name}]")
    changes = dict(values)
    severity = changes.pop("severity", "hard" if bound.is_hard else "soft")
    if severity not in ("hard", "soft", "off"):
        raise BadInput(f"{path}: {bound.name}.severity is {severity!r}; say hard, soft or off")
    for name, value in changes.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if getattr(bound, name, None) is None or name not in ("low", "high") or not is_number:
            ends = " or ".join(end for end in ("low", "high") if getattr(bound, end) is not None)
            raise BadInput(
                f"{path}: {bound.name}.{name} is {value!r}; a number may stand as {ends}"
            )
    low, high = changes.get("low", bound.low), changes.get("high", bound.high)
    return replace(
        bound,
        low=low,
        high=high,
        floor=bound.floor if low == bound.low else 0.0,
        ceiling=bound.ceiling if high == bound.high else float("inf"),
        is_hard=severity == "hard",
        is_off=severity == "off",
    )


def accepted_days(places: Places) -> list[Accepted]:
    """All that were accepted, in order."""
    paths = sorted((places.gates / "accepted").glob("*.json"))
    return [_read_accepted(path) for path in paths]


def _read_accepted(path: Path) -> Accepted:
    try:
        return Accepted(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise BadInput(
            f"{path} is damaged ({error}): remove it (`rm {path}`) and accept the day again"
        ) from None


def accept_day(places: Places, day: date, reason: str) -> Accepted:
    """Let a day pass that a gate has stopped; BadInput where none has."""
    if not reason.strip():
        raise BadInput("--reason is empty: say why the day is right, for whoever asks later")
    results = [
        result
        for table in (BROWSING_LOGS, USER_SEQUENCES, PUBLISHED_EMBEDDINGS)
        for result in newest_readable(places.gates, table.name, _MAX_SEARCHED)[0]
    ]
    broken = {
        each.expectation.removeprefix(DAY_PREFIX): each.observed
        for result in reversed(results)
        for each in result.failed
        if each.expectation.startswith(DAY_PREFIX)
        and each.says.startswith((f"landing day {day}:", f"as of {day}:"))
    }
    measures = {name: value for name, value in broken.items() if value is not None}
    if not measures:
        raise BadInput(
            f"no gate has stopped the day {day} for what it is like as a day: there is "
            "nothing to accept. `userbert gates list` shows what stopped"
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = {each.day: each.measures for each in accepted_days(places)}.get(str(day), {})
    measures = {**before, **measures}
    accepted = Accepted(str(day), getpass.getuser(), now, reason.strip(), measures)
    write_json(_accepted_path(places, str(day)), asdict(accepted))
    return accepted


def is_accepted(judged: Judged, accepted: Mapping[str, Accepted]) -> bool:
    """Whether a person has seen the day as far off as it is now."""
    held = accepted.get(str(judged.day))
    if held is None or judged.bound.name not in held.measures:
        return False
    seen = held.measures[judged.bound.name]
    further = ACCEPTED_SLACK * abs(seen)
    return judged.value >= seen - further if judged.is_low else judged.value <= seen + further


def day_expectations(judged: Iterable[Judged]) -> list[Expected]:
    """An expectation of each measure, about the day that is the furthest off.

    In the order of the bounds: lines that are missing are the cause, and fewer titles the effect.
    """
    worst: dict[str, Judged] = {}
    for each in judged:
        held = worst.get(each.bound.name)
        if held is None or each.excess > held.excess:
            worst[each.bound.name] = each
    return [_expected(worst[bound.name]) for bound in DAY_MEASURES if bound.name in worst]


def _expected(judged: Judged) -> Expected:
    return Expected(
        f"{DAY_PREFIX}{judged.bound.name}",
        f"landing day {judged.day}: {judged.bound.means}, usual are {judged.usual:.4g}; perhaps "
        f"{judged.bound.advice}. If the day is right as it is: `userbert gates accept "
        f"{judged.day} --reason WHY`, and run the same command again",
        least=judged.least,
        most=judged.most,
        from_job=lambda measures: judged.value,
    )
