"""A lake that an older commit wrote, opened by this code (tests/old_lake/make_old_lake.py)."""

import json
import tarfile
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest
import small_model
from small_lake import duckdb_rows

from analyst import open_lake
from contracts.errors import GateFailed
from contracts.tables import (
    BROWSING_LOGS,
    EVALUATIONS,
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_HISTORY,
    TABLES,
    USER_EMBEDDINGS,
    Column,
)
from contracts.vectors import own_space
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.schema_evolution import is_current
from spark_jobs.registry.model_status import with_champion
from spark_jobs.registry.registration import model_from_folder
from spark_jobs.tables.models import change_models, read_models
from userbert.cli import main

OLD = Path(__file__).parent / "old_lake" / "lake.tar.gz"
SETTINGS = """format = "jsonl"
[columns]
user_id = "user"
event_time = "at"
title = "title"
host = "site"
"""


@pytest.fixture
def old(spark, places):
    with tarfile.open(OLD) as packed:
        packed.extractall(places.root, filter="data")
    return Lake(spark, places.lake)


def done(*words):
    assert main(list(words)) == 0, words


def land(places, day):
    folder = places.landing / day
    folder.mkdir(parents=True)
    views = [
        {"user": user, "at": f"{day}T09:0{n}:00Z", "title": title, "site": "new.example"}
        for user, titles in (("u1", ["green tea", "Wool Socks"]), ("newcomer", ["red shoes"]))
        for n, title in enumerate(titles)
    ]
    (folder / "views.jsonl").write_text("".join(json.dumps(view) + "\n" for view in views))
    (places.landing / "settings.toml").write_text(SETTINGS)


def test_a_night_runs_on_a_lake_of_an_older_commit(old, places, monkeypatch):
    tables = [table for table in TABLES if Path(old.path(table)).exists()]
    # That code had no judge, and kept no history of what it published.
    assert set(TABLES) - set(tables) == {EVALUATIONS, PUBLISHED_HISTORY}
    before = {t.name: old.spark.read.format("delta").load(old.path(t)).count() for t in tables}
    assert not any(is_current(old.log(table).metadata(), table) for table in tables)
    held = {model.space_id for model in read_models(places).values()}
    assert held == {own_space(model_id) for model_id in read_models(places)}
    small_model.save(places, "today")
    model = model_from_folder(places.models / "today")
    change_models(
        old, places, "test", lambda held: with_champion({**held, "today": model}, "today", "test")
    )
    land(places, "2017-01-04")
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    published_before = next(old.log(PUBLISHED_EMBEDDINGS).commits()).at

    day = ("--from-day", "2017-01-04", "--to-day", "2017-01-04")
    # Three lines are far fewer than a usual day of this lake has.
    assert main(["browsing-logs", *day]) == GateFailed.exit_code
    done("gates", "accept", "2017-01-04", "--reason", "three lines are all that this test sends")
    done("browsing-logs", *day)
    done("titles")
    done("sessions")
    done("sequence-pairs", "--as-of", "2017-01-05")
    done("user-embeddings", "--as-of", "2017-01-04", "--model", "today")
    for command in ("user-sequences", "user-embeddings", "published-embeddings"):
        done(command, "--as-of", "2017-01-05")

    assert all(is_current(old.log(table).metadata(), table) for table in tables)
    assert old.read(BROWSING_LOGS).count() == before["browsing_logs"] + 3
    assert old.read(USER_EMBEDDINGS).count() == 2 * before["user_embeddings"] + 2
    published = old.read(PUBLISHED_EMBEDDINGS).where("as_of = '2017-01-05'").collect()
    assert {row["user_id"] for row in published} == {"u1", "newcomer"}
    assert {(row["model_id"], row["space_id"]) for row in published} == {("today", "space-today")}
    # What older code published is known since its files were written, in this table and the next.
    history = old.read(PUBLISHED_HISTORY).where("model_id <> 'today'").collect()
    assert len(history) == before["published_embeddings"]
    times = {row["written_at"].astimezone(UTC) for row in history}
    assert max(times) <= published_before, (times, published_before)
    (views,) = open_lake(places).sql("SELECT count(*) FROM browsing_logs").fetchone()
    assert views == before["browsing_logs"] + 3
    done("audit")


def test_a_column_that_the_logs_gain_reaches_a_lake_of_an_older_commit(old):
    referrer = Column("referrer", "string", "the page before", nullable=True)
    source = Column("source", "string", "who logged it", default="coalesce(host, 'unknown')")
    today = replace(
        BROWSING_LOGS,
        columns=(*BROWSING_LOGS.columns, referrer, source),
        checks=(*BROWSING_LOGS.checks, ("source_is_named", "source <> ''")),
    )
    before = old.version(today)
    rows = old.read(today).select("referrer", "source").distinct().collect()
    assert [tuple(row) for row in rows] == [(None, "shop.example")]
    assert old.version(today) == before + 1
    assert duckdb_rows(old.path(today), "DISTINCT referrer, source") == [(None, "shop.example")]
    assert old.watermark(today, today) == -1  # the commit has no provenance of its own
    assert old.metadata(today)["job"] == "browsing_logs"
