"""docs/runbook.md: what to do at night, an entry for each gate and for each kind of error."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from contracts.tables import TABLES
from contracts.terminal.error_codes import error_codes, group_titles
from expectations.data_docs import bound_text
from expectations.days.bounds import DAY_MEASURES
from expectations.failure_message import advice_name, gate_advice
from expectations.suites import Expected, suite_expectations

# What jobs measure, so that every suite is whole; the numbers themselves do not matter here.
_JOB_MEASURES: Mapping[str, float] = dict.fromkeys(
    (
        *("lines_in", "accepted", "refused", "duplicates", "future_share"),
        *("title_words", "title_sequences", "users_without_vector"),
    ),
    1.0,
)
_KINDS = {
    "COLUMNS": "The columns of a table",
    "KEY": "The key of a table",
    "NULL": "A value that is missing",
    "CHECK": "A rule of one row",
    "ORDER": "The order of times",
    "ONE": "One model, one space",
    "DAY": "A day as a whole",
}
_MAX_LISTED = 4  # expectations that an entry lists; a kind may have a hundred


def runbook_page() -> str:
    """The page as Markdown."""
    head = Path(__file__).with_name("runbook_head.md.j2").read_text(encoding="utf-8")
    return "\n".join([head, "## Gates\n", *_gate_entries(), "## Codes\n", *_code_rows(), ""])


def _gate_entries() -> Iterator[str]:
    """An entry for each piece of advice, with the expectations that it is for."""
    entries: dict[str, list[str]] = defaultdict(list)
    for table in TABLES:
        for each in suite_expectations(table, _JOB_MEASURES):
            entries[advice_name(each.measure)].append(_printed(table.name, each))
    entries["DAY"] = [f"`day_{b.name}`: {b.means}; perhaps {b.advice}" for b in DAY_MEASURES]
    for name, advice in gate_advice().items():
        yield f"### {_KINDS.get(name, name)}\n\n{advice.means}\n"
        listed = entries[name]
        yield from (f"- {line}" for line in listed[:_MAX_LISTED])
        if more := len(listed) - _MAX_LISTED:
            yield from [f"- and {more} more: `userbert gates docs` has all of them"] * (more > 0)
        yield f"\nWhat mends it: {advice.mend}\n\nWhom to call: {advice.call}\n"


def _printed(table: str, expected: Expected) -> str:
    """As the message names it: the measure, what must hold, and what is allowed."""
    return f"`{table}`, `{expected.measure}`: {expected.says} (allowed: {bound_text(expected)})"


def _code_rows() -> Iterator[str]:
    yield "The whole entry of a code: [troubleshooting](troubleshooting.md).\n"
    for number, title in group_titles().items():
        yield f"### UB-{number}xx: {title}\n\n| code | what it is | what mends it | whom to call |"
        yield "|---|---|---|---|"
        for each in error_codes().values():
            if each.group == number:
                code = f"[{each.code}](troubleshooting.md#{each.code.lower()})"
                yield f"| {code} | {each.title} | {each.mend} | {each.call} |"
        yield ""
