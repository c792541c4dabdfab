"""The session gap is set in one place: contracts/limits.py. Everything else follows it."""

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from pyspark.sql import functions as F

ROOT = Path(__file__).parents[1]
START = datetime(2026, 1, 5, 12)

# What a process of another gap makes of it, as JSON: it has no Spark, so it takes two seconds.
DERIVED = """
import json
from datetime import datetime, timedelta, timezone
import pyarrow as pa
from analyst.questions.audit import _AUDIT_RULES
from contracts.tables import SESSIONS
from expectations.suites import suite_expectations
from landing.synthetic.browsing import _LONGEST_GAP_SECONDS
from spark_jobs.tables import sessions

start = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)
offsets = [0, 20, 65, 66]  # minutes: gaps of 20, 45 and 1
count = len(offsets)
views = pa.RecordBatch.from_arrays(
    [
        pa.array([7] * count, pa.int64()),
        pa.array(["u"] * count),
        pa.array([start + timedelta(minutes=n) for n in offsets], pa.timestamp("us", "UTC")),
        *[pa.array(range(count), pa.int64())] * 2,
    ],
    ["user_hash", "user_id", "event_time", "log_id", "title_id"],
)
(cut,) = sessions._cut_all([views], 99)
gate = next(e for e in suite_expectations(SESSIONS, {}) if e.measure.startswith("gaps_over"))
rules = [rule for rule in _AUDIT_RULES if rule.over is SESSIONS and "minutes" in rule.says]
print(json.dumps({
    "sessions": cut.column("title_ids").to_pylist(),
    "near": sessions._GAP_INTERVAL,
    "gate": [gate.measure, gate.says, gate.aggregate],
    "audit": [[rule.says, rule.broken] for rule in rules],
    "generator": _LONGEST_GAP_SECONDS,
    "doc": SESSIONS.doc,
}))
"""


def derived(folder, minutes):
    """What the code derives from a gap of `minutes`, set in a copy of contracts/ alone."""
    shutil.copytree(ROOT / "contracts", folder / "contracts")
    limits = folder / "contracts" / "limits.py"
    line = "SESSION_GAP_MINUTES = 30\n"
    assert limits.read_text().count(line) == 1
    limits.write_text(limits.read_text().replace(line, f"SESSION_GAP_MINUTES = {minutes}\n"))
    path = os.pathsep.join((str(folder), str(ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", DERIVED],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def times(*offsets):
    return [START + timedelta(minutes=n) for n in offsets]


def broken_rows(rule, *sessions):
    """What the audit's query finds of sessions, each a list of the minutes of its views."""
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE sessions (session_date DATE, user_id VARCHAR, session_id INT, "
        "start_time TIMESTAMP, end_time TIMESTAMP, num_views INT, event_times TIMESTAMP[])"
    )
    for number, offsets in enumerate(sessions):
        row = [START.date(), "u", number, *times(offsets[0], offsets[-1])]
        row += [len(offsets), times(*offsets)]
        connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    return len(connection.execute(rule).fetchall())


@pytest.mark.parametrize(("minutes", "sessions"), [(20, [[0, 1], [2, 3]]), (45, [[0, 1, 2, 3]])])
def test_jobs_gate_audit_and_generator_follow_the_gap_of_the_contract(
    spark, tmp_path, minutes, sessions
):
    found = derived(tmp_path, minutes)
    assert found["sessions"] == sessions
    assert found["near"] == f"interval {minutes} minutes"

    measure, says, aggregate = found["gate"]
    assert (measure, says.endswith(f"{minutes} minutes")) == (f"gaps_over_{minutes}_minutes", True)
    rows = [(times(0, minutes), 2), (times(0, minutes + 1), 2)]  # the second one breaks the rule
    frame = spark.createDataFrame(rows, "event_times array<timestamp>, num_views int")
    assert frame.agg(F.expr(aggregate)).first()[0] == 1
    assert frame.limit(1).agg(F.expr(aggregate)).first()[0] == 0

    (inside, within), (between, apart) = found["audit"]
    assert all(f" {minutes} minutes" in rule for rule in (inside, between))
    assert broken_rows(within, [0, minutes], [99, 100 + minutes]) == 1
    assert broken_rows(apart, [0], [minutes], [2 * minutes + 1]) == 1

    assert 0 < found["generator"] < minutes * 60
    assert f"over {minutes} minutes" in found["doc"]


def test_no_other_module_names_the_gap_in_minutes():
    """A rule that names it for itself would not follow."""
    own_number = ("30 minutes", "30 minute", "30' minute", "minutes=30")
    folders = ("analyst", "contracts", "expectations", "landing", "spark_jobs")
    found = [
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if any(words in path.read_text().lower() for words in own_number)
    ]
    assert found == []
