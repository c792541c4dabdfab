"""One plain sentence for a run: published, worth a look, or stopped."""

from collections.abc import Iterator
from dataclasses import dataclass

from contracts.tables import BROWSING_LOGS
from userbert.report.arrivals import Arrivals, Comparison
from userbert.report.gate_history import Gate
from userbert.report.subject import Subject
from userbert.report.training_facts import TrainingFacts
from userbert.report.vector_health import Coverage, VectorHealth

# A day between half and twice the usual of its weekday is a usual day: of the demo's 195 days that
# have weeks before them none is outside. It has 9 to 29 refused lines a day.
_LEAST_RATIO, _MOST_RATIO = 0.5, 2.0
_MIN_REFUSED_LINES = 50  # lines; fewer say nothing of a day
_LEAST_RANK = 5.0  # of the vectors' effective rank; a collapsed space has 1 to 2
_LEAST_NEIGHBORS_KEPT = 0.2  # by chance, 10 of 600 users keep 0.02

GOOD, LOOK, STOPPED = "good", "look", "stopped"


@dataclass(frozen=True)
class Verdict:
    level: str  # good, look or stopped
    sentence: str
    remarks: list[str]  # what is worth a look, a sentence each


def judge_run(
    subject: Subject,
    gates: list[Gate],
    arrivals: Arrivals | None,
    coverage: Coverage | None,
    health: VectorHealth | None,
    training: TrainingFacts | None,
) -> Verdict:
    """Gates decide whether a run stopped. The remarks only point; they stop nothing."""
    refused = [gate for gate in gates if not gate.passed and gate.is_of_this_run]
    remarks = [
        *_arrival_remarks(arrivals),
        *_vector_remarks(health),
        *_missing_remarks(subject, gates, coverage),
    ]
    if refused:
        named = " and ".join(gate.table for gate in refused)
        return Verdict(
            STOPPED,
            f"Stopped: the gate of {named} refused what this run was about to write, so readers "
            "keep what was published before.",
            [*(gate.line for gate in refused), *remarks],
        )
    own_gates = [gate for gate in gates if gate.is_of_this_run]
    fact = _main_fact(subject, own_gates, coverage, training)
    if remarks:
        noun = "one thing is" if len(remarks) == 1 else f"{len(remarks)} things are"
        return Verdict(LOOK, f"Look closer: {fact}, and {noun} unusual.", remarks)
    return Verdict(GOOD, f"Good: {fact}, and nothing is unusual.", [])


def _main_fact(
    subject: Subject,
    gates: list[Gate],
    coverage: Coverage | None,
    training: TrainingFacts | None,
) -> str:
    gates_passed = f"{len(gates)} gates passed" if len(gates) != 1 else "one gate passed"
    if not gates:
        gates_passed = "no gate has a result"
    if subject.kind == "night" and coverage and coverage.published:
        return f"{coverage.published:,} users are published as of {subject.as_of}, {gates_passed}"
    if subject.kind == "backfill" and coverage and coverage.with_vector:
        return f"{coverage.with_vector:,} vectors are there as of {subject.as_of}, {gates_passed}"
    if subject.kind == "training" and training:
        return f"{training.model_id} is {training.status}, {gates_passed}"
    rows = sum(gate.rows for gate in gates if gate.table == BROWSING_LOGS.name)
    first, last = subject.landing_days
    days = str(last) if first == last else f"{first} to {last}"
    return f"{rows:,} views came in on {days}, {gates_passed}"


def _arrival_remarks(arrivals: Arrivals | None) -> Iterator[str]:
    for comparison in arrivals.comparisons if arrivals else ():
        if remark := _remark_on(comparison):
            yield remark


def _remark_on(comparison: Comparison) -> str:
    ratio = comparison.ratio
    if ratio is None or _LEAST_RATIO <= ratio <= _MOST_RATIO:
        return ""
    refused = comparison.name == "refused lines"
    if refused and (ratio < 1 or comparison.value < _MIN_REFUSED_LINES):
        return ""
    return (
        f"There are {comparison.value:,.0f} {comparison.name}, {ratio:.1f} times the usual "
        f"{comparison.usual:,.0f} of this weekday."
    )


def _vector_remarks(health: VectorHealth | None) -> Iterator[str]:
    if health is None:
        return
    if health.effective_rank is not None and health.effective_rank < _LEAST_RANK:
        yield (
            f"The vectors use {health.effective_rank:.1f} directions (effective rank): they tell "
            "users hardly apart."
        )
    moved = health.movement
    if moved and moved.neighbors_kept is not None and moved.neighbors_kept < _LEAST_NEIGHBORS_KEPT:
        yield (
            f"Users keep {moved.neighbors_kept:.0%} of their nearest users since {moved.from_day}."
        )


def _missing_remarks(
    subject: Subject, gates: list[Gate], coverage: Coverage | None
) -> Iterator[str]:
    """Steps of the run that left nothing."""
    if subject.kind == "night" and coverage is not None and not coverage.published:
        yield f"Nothing is published as of {subject.as_of}: readers have the day before."
    if not gates and subject.kind != "training":
        yield "This run left no gate result: it wrote nothing, or ended before its first table."
    older = [gate.table for gate in gates if not gate.is_of_this_run]
    if older:
        yield f"This run left no gate result of {', '.join(older)}: what is shown is older."
