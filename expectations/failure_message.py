"""How a failed gate says so: one line to read at 3 a.m., then all the rest, and what mends it."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from expectations.day_history import DAY_PREFIX
from expectations.results import Finding
from expectations.suites import COLUMNS_THAT_DIFFER, DUPLICATE_KEYS

_MAX_REASONS = 3  # of refused lines that the line names


@dataclass(frozen=True)
class GateAdvice:
    """What a person does about a broken expectation."""

    means: str
    mend: str
    call: str


@cache
def gate_advice() -> Mapping[str, GateAdvice]:
    """The advice of gate_advice.toml, by measure or by kind of expectation."""
    text = Path(__file__).with_name("gate_advice.toml").read_text(encoding="utf-8")
    return {name: GateAdvice(**entry) for name, entry in tomllib.loads(text).items()}


def advice_name(measure: str) -> str:
    """Which entry of `gate_advice` an expectation has: its own, or that of its kind."""
    kinds = {
        "DAY": measure.startswith(DAY_PREFIX),
        measure: measure in gate_advice(),
        "COLUMNS": measure == COLUMNS_THAT_DIFFER,
        "KEY": measure == DUPLICATE_KEYS,
        "NULL": measure.startswith("nulls_in_"),
        "ORDER": measure.endswith("_out_of_order"),
        "ONE": measure in ("model_ids", "space_ids"),
        "CHECK": True,
    }
    return next(name for name, fits in kinds.items() if fits)


def failure_message(
    table: str,
    run: str,
    found: Sequence[Finding],
    taken: Mapping[str, float],
    job_measures: Mapping[str, float],
    page: Path,
) -> str:
    """Empty when all passed. The first failure of `found` is the one that the line is about."""
    failed = [each for each in found if not each.passed]
    if not failed:
        return ""
    facts = [_fact(each, int(taken["rows"]), job_measures) for each in failed]
    example = f", e.g. {row_text(failed[0].rows[0])}" if failed[0].rows else ""
    first = (
        f"gate {table} of {run} failed: {facts[0]}{example}; nothing was written; details: {page}"
    )
    others = [f"  {fact}" for fact in facts[1:]]
    rows = [line for each in failed if each.rows for line in _rows(each)]
    return "\n".join([first, *others, *rows])


def row_text(row: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in row.items())


def _fact(found: Finding, rows: int, job_measures: Mapping[str, float]) -> str:
    if found.of_rows:
        return f"{found.observed:,.0f} of {rows:,} rows break {found.expectation} ({found.says})"
    bound = _broken_bound(found)
    value = "not measured" if found.observed is None else f"{found.observed:.6g}"
    reasons = commonest_reasons(job_measures) if found.expectation == "refused_share" else ""
    return f"{found.expectation} is {value}, {bound} is allowed ({found.says}){reasons}"


def _broken_bound(found: Finding) -> str:
    """Of two bounds the one that the observed value is beyond."""
    is_low = found.observed is not None and found.least is not None and found.observed < found.least
    if found.most is None or is_low:
        return f"at least {found.least:.6g}"
    return f"at most {found.most:.6g}"


def commonest_reasons(job_measures: Mapping[str, float]) -> str:
    """Why the job refused most of its lines, as the rest of a sentence; ties go by name."""
    reasons = {name: count for name, count in job_measures.items() if name.startswith("refused: ")}
    common = sorted(reasons, key=lambda name: (-reasons[name], name))[:_MAX_REASONS]
    return "".join(f", {reasons[name]:,.0f} {name}" for name in common)


def _rows(found: Finding) -> list[str]:
    return [f"  rows that break {found.expectation}:", *(f"    {row_text(r)}" for r in found.rows)]
