"""What differs between two reports of one kind."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LEAST_CHANGE = 0.01  # of a number; smaller changes are left out


@dataclass(frozen=True)
class Difference:
    what: str
    before: str
    now: str
    change: float | None  # of a number, as a share of the value before


def earlier_report(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The facts of the newest report in `folder` whose run is before this one."""
    names = sorted(
        path for path in folder.glob("*.json") if path.stem < facts["name"] or _is_by_model(facts)
    )
    for path in reversed(names):
        if path.stem != facts["name"] and (earlier := read_report(path)) is not None:
            return earlier
    return None


def _is_by_model(facts: Mapping[str, Any]) -> bool:
    """Trainings are named by models, whose order says nothing of time."""
    return bool(facts["kind"] == "training")


def read_report(path: Path) -> dict[str, Any] | None:
    """None for a file that is not whole: a report is written again by its command."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and "verdict" in facts else None


def list_differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Names that changed come first, then numbers, the largest change first."""
    before, after = dict(_compared(earlier)), dict(_compared(now))
    changed = [
        _difference(what, before[what], after[what])
        for what in after
        if what in before and before[what] != after[what]
    ]
    kept = [each for each in changed if each.change is None or abs(each.change) >= _LEAST_CHANGE]
    return sorted(kept, key=lambda each: (each.change is not None, -abs(each.change or 0)))


def _difference(what: str, before: object, now: object) -> Difference:
    if isinstance(before, int | float) and isinstance(now, int | float):
        change = (now - before) / before if before else None
        return Difference(what, f"{before:,.6g}", f"{now:,.6g}", change)
    return Difference(what, str(before), str(now), None)


def _compared(facts: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Everything that two runs are compared by."""
    for comparison in (facts["arrivals"] or {}).get("comparisons", ()):
        yield comparison["name"], comparison["value"]
    for gate in facts["gates"]:
        yield f"rows at the gate of {gate['table']}", gate["rows"]
    for commit in facts["commits"]:
        yield f"code that wrote {commit['table']}", commit["code"]
        yield f"model in {commit['table']}", commit["model_id"]
    for name, value in (facts["coverage"] or {}).items():
        if isinstance(value, int):
            yield f"users: {name.replace('_', ' ')}", value
    for cost in facts["costs"]:
        yield f"seconds of {cost['step']}", cost["seconds"]
    yield from _compared_vectors(facts["vectors"] or {})
    yield from _compared_model(facts["training"] or {})


def _compared_vectors(vectors: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name in ("effective_rank", "uniformity", "norm_median"):
        if vectors.get(name) is not None:
            yield f"vectors: {name.replace('_', ' ')}", vectors[name]


def _compared_model(training: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    if training:
        yield "model", training["model_id"]
        for name, value in training["settings"].items():
            yield f"setting {name}", str(value)
        for name, value in training["measures"].items():
            if "_bin_" not in name:
                yield f"measure {name}", value
