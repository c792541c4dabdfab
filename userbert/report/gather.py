"""All that a report says, as plain values: its JSON, which its page is drawn from."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from contracts.errors import MissingTable
from contracts.provenance import code_version
from contracts.tables import PUBLISHED_EMBEDDINGS, USER_SEQUENCES
from userbert.report.arrivals import gather_arrivals
from userbert.report.differences import earlier_report, list_differences, read_report
from userbert.report.gate_history import gather_gates
from userbert.report.lake_tables import LakeTables
from userbert.report.refusals import gather_refusals
from userbert.report.step_costs import gather_costs
from userbert.report.subject import Subject
from userbert.report.table_commits import gather_commits, run_prefix
from userbert.report.training_facts import champion_id, gather_training
from userbert.report.vector_health import gather_coverage, gather_vectors
from userbert.report.verdict import judge_run

_MAX_EARLIER_NIGHTS = 30  # whose vectors' measures are drawn


def newest_as_of(tables: LakeTables) -> date:
    """The newest day that a night has worked on."""
    days = [*tables.days(PUBLISHED_EMBEDDINGS), *tables.days(USER_SEQUENCES)]
    if not days:
        raise MissingTable(
            f"no night has run on {tables.places.lake}: name the run by `--of history --from DAY "
            "--to DAY`, or run the pipeline by `userbert run`"
        )
    return max(days)


def gather_report(tables: LakeTables, subject: Subject) -> dict[str, Any]:
    places = tables.places
    commits = gather_commits(tables, subject)
    run = run_prefix(commits)
    gates = gather_gates(places, subject, commits)
    arrivals = gather_arrivals(tables, subject.landing_days[1]) if subject.has_arrivals else None
    active = arrivals.of_the_day.users if arrivals and arrivals.of_the_day else None
    has_day = subject.has_vectors
    coverage = gather_coverage(tables, subject.as_of, active) if has_day else None
    of_model = None if subject.kind == "night" else subject.model_id
    health = gather_vectors(tables, subject.as_of, of_model) if has_day else None
    model_id = subject.model_id or (champion_id(tables) if subject.has_model else None)
    training = gather_training(tables, model_id)
    facts: dict[str, Any] = {
        "kind": subject.kind,
        "name": subject.name,
        "title": subject.title,
        "as_of": str(subject.as_of),
        "landing_days": [str(day) for day in subject.landing_days],
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": code_version(),
        "run": run.rstrip("/"),
        "verdict": asdict(judge_run(subject, gates, arrivals, coverage, health, training)),
        "arrivals": asdict(arrivals) if arrivals else None,
        "refusals": [asdict(each) for each in _refusals(tables, subject)],
        "gates": [asdict(gate) for gate in gates],
        "commits": [asdict(commit) for commit in commits],
        "coverage": asdict(coverage) if coverage else None,
        "vectors": asdict(health) if health else None,
        "training": asdict(training) if training else None,
        "costs": [asdict(cost) for cost in gather_costs(places, subject, run)],
    }
    return {**facts, **_next_to_earlier(places.reports / subject.kind, facts)}


def _refusals(tables: LakeTables, subject: Subject) -> list[Any]:
    return gather_refusals(tables, *subject.landing_days) if subject.has_arrivals else []


def _next_to_earlier(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    earlier = earlier_report(folder, facts)
    differences = list_differences(earlier, facts) if earlier else []
    return {
        "earlier": earlier["name"] if earlier else "",
        "earlier_seconds": {c["step"]: c["seconds"] for c in earlier["costs"]} if earlier else {},
        "differences": [asdict(each) for each in differences],
        "nights": [*_earlier_nights(folder, facts)] if facts["kind"] == "night" else [],
    }


def _earlier_nights(folder: Path, facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The measures of the vectors of the newest nights, the oldest first, this one last."""
    paths = [path for path in sorted(folder.glob("*.json")) if path.stem < facts["name"]]
    earlier = (read_report(path) for path in paths[-_MAX_EARLIER_NIGHTS:])
    for each in (*earlier, facts):
        if each and each.get("vectors"):
            yield _night_measures(each["as_of"], each["vectors"])


def _night_measures(as_of: str, vectors: dict[str, Any]) -> dict[str, Any]:
    movement = vectors["movement"] or {}
    return {
        "as_of": as_of,
        "users": vectors["users"],
        "effective_rank": vectors["effective_rank"],
        "uniformity": vectors["uniformity"],
        "neighbors_kept": movement.get("neighbors_kept"),
    }
