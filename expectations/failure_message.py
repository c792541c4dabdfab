"""How a failed gate says so: one line to read at 3 a.m., then all the rest."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from expectations.results import Finding

_MAX_REASONS = 3  # of refused lines that the line names


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
