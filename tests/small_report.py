"""A data root of six weeks and two nights, written without Spark: what a report is made from."""

import json
from datetime import date, datetime, timedelta

import numpy as np
from deltalake import CommitProperties, write_deltalake
from small_lake import BY_NAME, arrow_schema, embedding, filler, record_contract, write

from expectations.results import Finding, GateResult, save_result

AS_OF = date(2026, 3, 2)
DAY = AS_OF - timedelta(days=1)
USERS = [f"user {number}" for number in range(30)]
MODEL = "m1"
HOSTILE = '{"title": "<script>alert(1)</script> $x$ &amp;"}'


def view(user, day, hour, title):
    time = datetime(day.year, day.month, day.day, hour, 30)
    return {"event_date": day, "user_id": user, "event_time": time, "title_id": title}


def views_of(day, users=USERS):
    """Three views a user."""
    return [view(user, day, hour, hour) for user in users for hour in (8, 9, 20)]


def gate_result(table, run, *, passed=True, observed=0.0, line="", checked_at="2026-03-02T00:00"):
    finding = Finding(
        "refused_share", "few lines are refused", passed, observed, None, 0.2, False, []
    )
    facts = {"rows": 90, "seconds": 1.5, "checked_at": checked_at, "code": "abc", "measures": {}}
    return GateResult(table, run, passed, line, expectations=[finding], **facts)


def write_night(places, as_of, users=USERS, seed=0):
    """The vectors of a night, whose commit says which run made it, and its gates."""
    vectors = np.random.default_rng(seed).normal(size=(len(users), 8))
    rows = [embedding(u, as_of, v.tolist(), MODEL) for u, v in zip(users, vectors, strict=True)]
    provenance = {"job": "published_embeddings", "run": f"nightly/{as_of}/published_embeddings"}
    facts = json.dumps({**provenance, "code": "abc", "inputs": {"models": 0}})
    for name in ("user_embeddings", "published_embeddings"):
        _write_with(places, name, rows, f"as_of = '{as_of}'", facts)
    save_result(places.gates, gate_result("browsing_logs", str(as_of - timedelta(days=1))))
    save_result(places.gates, gate_result("user_embeddings", f"{as_of} {MODEL}"))
    save_result(places.gates, gate_result("published_embeddings", str(as_of)))


def _write_with(places, name, rows, predicate, provenance):
    """As Spark's writer does: the day is replaced, and the commit carries its provenance."""
    import pyarrow as pa

    table, folder = BY_NAME[name], f"{places.lake}/{name}"
    rows = [{c.name: row.get(c.name, filler(c)) for c in table.columns} for row in rows]
    is_new = not (places.root / "lake" / name).exists()
    write_deltalake(
        folder,
        pa.Table.from_pylist(rows, schema=arrow_schema(table)),
        partition_by=list(table.partition_by),
        mode="append" if is_new else "overwrite",
        predicate=None if is_new else predicate,
        commit_properties=CommitProperties(custom_metadata={"userMetadata": provenance}),
    )
    if is_new:
        record_contract(places.root / "lake" / name / "_delta_log" / f"{0:020}.json", table)


def write_root(places):
    days = [DAY - timedelta(days=ago) for ago in range(42)]
    write(places, "browsing_logs", [row for day in days for row in views_of(day)])
    refused = {"landing_day": DAY, "file": "a/<b>.jsonl", "line": 7, "raw": HOSTILE}
    write(places, "rejected_logs", [{**refused, "reasons": ["blank title (of 3)", "<i>odd</i>"]}])
    model = {"model_id": MODEL, "status": "champion", "measures": "{}", "path": "gone"}
    write(places, "models", [model])
    write_night(places, AS_OF - timedelta(days=1), seed=1)
    write_night(places, AS_OF)
