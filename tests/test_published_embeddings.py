from datetime import UTC, date, datetime, timedelta
from functools import reduce
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame
from small_features import NO_FORECASTS

from contracts.errors import MissingTable
from contracts.storage.damage import DamagedFile, check_delta_log
from contracts.tables import PUBLISHED_EMBEDDINGS, USER_EMBEDDINGS
from contracts.terminal.command_line import build_command, run_command
from expectations.gate import run_gate
from spark_jobs.registry.model_status import with_champion
from spark_jobs.tables.models import Model, change_models
from spark_jobs.tables.published_embeddings import (
    newest_vectors,
    one_day,
    publish_day,
    published_models,
    published_now,
    published_rows,
    vectors_known_at,
)

MONDAY, TUESDAY = date(2017, 6, 26), date(2017, 6, 27)
NOON = datetime(2017, 6, 25, 12, tzinfo=UTC)


def model(model_id):
    facts = {"path": "/models", "trained_before": MONDAY, "settings": "{}", "inputs": "{}"}
    facts |= {"measures": "{}", "vocabulary_hash": "0" * 64, "code_version": "abc"}
    return Model(model_id, NOON, "candidate", NOON, "registered", **facts)


def vector(place, width=256):
    return [1.0 if i == place else 0.0 for i in range(width)]


@pytest.fixture
def embeddings(spark):
    def make(model_id, day, *users):
        """One unit vector a user, of one view."""
        rows = [
            (model_id, day, u, vector(i), 1.0, 1, NOON, i, *NO_FORECASTS)
            for i, u in enumerate(users)
        ]
        return spark.createDataFrame(rows, USER_EMBEDDINGS.ddl)

    return make


@pytest.fixture
def embed(lake, places, embeddings):
    def write(model_id, *days):
        """Vectors of ann and bob."""
        frame = reduce(DataFrame.union, (embeddings(model_id, day, "ann", "bob") for day in days))
        passed = run_gate(frame, USER_EMBEDDINGS, places=places, run=model_id)
        lake.replace(passed, f"model_id = '{model_id}'")

    return write


@pytest.fixture
def promote(lake, places):
    def write(model_id):
        change_models(
            lake,
            places,
            "test",
            lambda models: with_champion({model_id: model(model_id), **models}, model_id, "test"),
        )

    return write


@pytest.fixture
def run(capsys):
    """The exit code of a command, and what it wrote to stderr."""

    def run(read):
        def command():
            read()

        code = run_command(build_command(command, doc=None), [], "userbert")
        return code, capsys.readouterr().err

    return run


def live_files(lake, table, partition):
    return [
        Path(lake.path(table)) / row["path"]
        for row in lake.log(table).files().collect()
        if row["path"].startswith(partition)
    ]


def flip_a_bit(path):
    """Without Hadoop's checksum, which lies next to a file on a disk alone and would notice too."""
    path.with_name(f".{path.name}.crc").unlink()
    pages = pq.read_metadata(path).row_group(0)
    names = [pages.column(n).path_in_schema.split(".")[0] for n in range(pages.num_columns)]
    column = pages.column(names.index("user_id"))
    place = column.data_page_offset + column.total_compressed_size - 3
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])


def rows(lake):
    table = lake.read(PUBLISHED_EMBEDDINGS).orderBy("as_of", "user_id")
    return [(r["as_of"].day, r["user_id"], r["model_id"]) for r in table.collect()]


def test_the_features_time_is_the_first_instant_of_as_of(embeddings, spark):
    row = (
        published_rows(embeddings("m1", MONDAY, "ann"), model("m1"))
        .selectExpr("string(as_of_time)")
        .first()
    )
    assert row[0] == "2017-06-26 00:00:00"


def test_latest_is_each_users_newest_vector_and_as_of_knows_nothing_later(embeddings):
    both = embeddings("m1", MONDAY, "ann", "bob").union(embeddings("m1", TUESDAY, "ann"))
    table = published_rows(both, model("m1"))
    newest = {r["user_id"]: r["as_of"] for r in newest_vectors(table).collect()}
    assert newest == {"ann": TUESDAY, "bob": MONDAY}
    known = {r["user_id"]: r["as_of"] for r in vectors_known_at(table, MONDAY).collect()}
    assert known == {"ann": MONDAY, "bob": MONDAY}
    assert vectors_known_at(table, MONDAY - timedelta(days=1)).isEmpty()


def test_without_a_champion_nothing_is_published(lake, places):
    with pytest.raises(MissingTable, match=r"no model .* is the champion yet"):
        publish_day(lake, places, MONDAY)


def test_a_night_publishes_its_day_and_finishes_a_promotion_that_was_killed(
    lake, places, embed, promote
):
    promote("m1")
    embed("m1", MONDAY)
    embed("m2", MONDAY, TUESDAY)
    for _ in range(2):  # again is the same
        publish_day(lake, places, MONDAY)
    assert rows(lake) == [(26, "ann", "m1"), (26, "bob", "m1")]
    with pytest.raises(MissingTable, match="userbert user-embeddings --as-of 2017-06-27"):
        publish_day(lake, places, TUESDAY)

    promote("m2")  # in `models` alone
    publish_day(lake, places, TUESDAY)
    assert rows(lake) == [(day, user, "m2") for day in (26, 27) for user in ("ann", "bob")]


def test_a_night_that_a_promotion_overtakes_is_done_again_and_never_mixes(
    lake, places, embed, promote
):
    """The night has read the old champion's rows when the promotion commits."""
    promote("m1")
    embed("m1", MONDAY, TUESDAY)
    embed("m2", MONDAY, TUESDAY)
    publish_day(lake, places, MONDAY)
    attempts = []

    def night():
        attempts.append(published_models(lake))
        if len(attempts) == 1:
            stale = one_day(lake, places, model("m1"), published_now(lake), TUESDAY, NOON)
            promote("m2")
            publish_day(lake, places, MONDAY)  # finds m1's rows, so replaces them all
            return stale, f"as_of = '{TUESDAY}'", {}
        new = one_day(lake, places, model("m2"), published_now(lake), TUESDAY, NOON)
        return new, f"as_of = '{TUESDAY}'", {}

    lake.replace_alone(PUBLISHED_EMBEDDINGS, night)
    assert attempts == [{"m1"}, {"m2"}]
    assert rows(lake) == [(day, user, "m2") for day in (26, 27) for user in ("ann", "bob")]


def test_publishing_a_day_again_mends_its_damaged_file_as_the_error_says(
    lake, places, embed, promote, run
):
    promote("m1")
    embed("m1", MONDAY, TUESDAY)
    for day in (MONDAY, TUESDAY):
        publish_day(lake, places, day)
    whole = rows(lake)
    for day, damage in ((MONDAY, Path.unlink), (TUESDAY, flip_a_bit)):
        path, *_ = live_files(lake, PUBLISHED_EMBEDDINGS, f"as_of={day}")
        damage(path)
        code, err = run(lambda: rows(lake))
        assert code == 2
        assert err.startswith(f"userbert: UB-304: {path} is damaged: ")
        assert err.endswith(f"`userbert published-embeddings --as-of {day}`\n")
        assert err.count("\n") == 1
        publish_day(lake, places, day)
        assert rows(lake) == whole


def test_a_checksum_of_hadoop_that_does_not_fit_a_whole_file_is_named(lake, places, embed, run):
    embed("m1", MONDAY)
    path, *_ = live_files(lake, USER_EMBEDDINGS, f"model_id=m1/as_of={MONDAY}")
    checksums = path.with_name(f".{path.name}.crc")
    stored = checksums.read_bytes()
    checksums.write_bytes(stored[:8] + b"torn" + stored[12:])  # of the first 512 bytes
    code, err = run(lambda: lake.read(USER_EMBEDDINGS).collect())
    assert (code, err.count("\n")) == (2, 1)
    assert f"`rm {checksums}`" in err
    checksums.unlink()
    assert len(lake.read(USER_EMBEDDINGS).collect()) == 2


def test_a_commit_that_was_cut_off_at_the_end_of_a_line_is_named(lake, embed):
    embed("m1", MONDAY)
    log = Path(lake.path(USER_EMBEDDINGS)) / "_delta_log"
    check_delta_log(log.parent)
    commit = max(log.glob("*.json"))
    whole = commit.read_bytes()
    commit.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    with pytest.raises(DamagedFile, match=rf"{commit} is damaged: it is not what its checksum"):
        check_delta_log(log.parent)
    commit.with_name(f".{commit.name}.crc").write_bytes(b"torn")
    check_delta_log(log.parent)  # nobody can know any more
