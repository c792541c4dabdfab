"""What a run wrote: of each table the commit, with its provenance."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from contracts.tables import BROWSING_LOGS, REJECTED_LOGS, Table
from userbert.report.lake_tables import LakeTables
from userbert.report.subject import Subject

_MAX_COMMITS = 20  # newest commits of a table that are searched


@dataclass(frozen=True)
class TableCommit:
    table: str
    version: int
    rows: int
    bytes: int
    written_at: str  # UTC
    job: str
    run: str  # DAG, run and task, or "by hand"
    code: str
    inputs: dict[str, int]  # Delta versions, by table
    model_id: str
    predicate: str  # which rows were replaced; empty for rows that were appended


def gather_commits(tables: LakeTables, subject: Subject) -> list[TableCommit]:
    """The commit of each of the run's tables; of a table without provenance none.

    The commits that replaced a day of the run name the run. Of the other tables, whose rows belong
    to no run's day, the run's own commit counts, or else the newest.
    """
    recent = {table.name: _recent_commits(tables, table) for table in subject.tables}
    of_days = [
        commit
        for table in subject.tables
        for commit in recent[table.name]
        if (day := _written_day(table, subject)) and str(day) in commit.predicate
    ]
    run = run_prefix(of_days)
    chosen = []
    for commits in recent.values():
        candidates = [commit for commit in commits if commit in of_days] or [
            commit for commit in commits if run and commit.run.startswith(run)
        ]
        chosen += (candidates or commits)[:1]
    return chosen


def _written_day(table: Table, subject: Subject) -> date | None:
    """The day whose rows the run replaced in `table`; None where rows belong to no run's day."""
    if table in (BROWSING_LOGS, REJECTED_LOGS):
        return subject.landing_days[0]
    return subject.as_of if "as_of" in table.partition_by else None


def _recent_commits(tables: LakeTables, table: Table) -> list[TableCommit]:
    """Those with provenance, the newest first."""
    opened = tables.open(table)
    commits = opened.history(_MAX_COMMITS) if opened else []
    return [_described(table, commit) for commit in commits if "userMetadata" in commit]


def _predicate(commit: dict[str, Any]) -> str:
    return str(commit.get("operationParameters", {}).get("predicate", ""))


def _described(table: Table, commit: dict[str, Any]) -> TableCommit:
    provenance = json.loads(commit["userMetadata"])
    metrics = commit.get("operationMetrics", {})
    written = datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)
    return TableCommit(
        table.name,
        commit["version"],
        int(metrics.get("numOutputRows", 0)),
        int(metrics.get("numOutputBytes", 0)),
        written.isoformat(timespec="seconds"),
        provenance.get("job", ""),
        provenance.get("run", ""),
        provenance.get("code", ""),
        provenance.get("inputs", {}),
        provenance.get("model", ""),
        _predicate(commit),
    )


def run_prefix(commits: Sequence[TableCommit]) -> str:
    """The DAG and run that wrote most of these, with a slash; empty for a run by hand."""
    prefixes = [commit.run.rpartition("/")[0] for commit in commits]
    named = [prefix for prefix in prefixes if prefix]
    return f"{max(named, key=named.count)}/" if named else ""
