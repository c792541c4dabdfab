"""A small lake that was copied to an S3 server: what reads it without Spark reads as on a disk."""

import os
import shutil

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from small_demo import SATURDAY, USERS, write_demo
from small_s3 import SECRET, client, s3_server
from small_store import let_spark_ask

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.storage import object_store
from contracts.storage.delta_reading import open_delta_table
from contracts.storage.object_store import ObjectStore
from contracts.tables import USER_SEQUENCES
from model.data.delta_source import Source
from userbert.cli import main
from userbert.commands.summary import gather_facts

BUCKET = "demo"
STORE = f"s3a://{BUCKET}/lake"


@pytest.fixture(scope="module")
def facts_and_places(tmp_path_factory):
    """The summary of the lake while it lay on the disk, and the places with the lake on S3."""
    places = Places(tmp_path_factory.mktemp("readers"))
    write_demo(places)
    models = DeltaTable(f"{places.lake}/models")
    models.update({"measures": "'{}'", "inputs": "'{}'", "status": "'champion'"})
    facts = gather_facts(places)
    with s3_server(places.root / "requests", BUCKET) as names:
        lake = places.root / "lake"
        for path in filter(lambda path: path.is_file(), lake.rglob("*")):
            client(names).upload_file(str(path), BUCKET, f"lake/{path.relative_to(lake)}")
        shutil.rmtree(lake)
        names = {**names, "USERBERT_DATA": str(places.root), "USERBERT_LAKE": STORE}
        before = {name: os.environ.get(name) for name in names}
        os.environ.update(names)
        yield facts, places
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value


@pytest.fixture
def places(facts_and_places):
    return facts_and_places[1]


@pytest.fixture
def said(places, capsys):
    def said(*words):
        capsys.readouterr()
        assert main(list(words)) == 0, words
        return capsys.readouterr().out

    return said


def test_the_summary_is_that_of_the_disk(facts_and_places):
    on_disk, places = facts_and_places
    assert gather_facts(places) == {**on_disk, "lake": STORE}
    assert not (places.root / "lake").exists()


def test_duckdb_and_arrow_read_the_same_rows(places, said):
    counted = said("sql", "--csv", "SELECT count(*) AS n FROM user_sequences")
    assert int(counted.split()[-1]) == 2 * len(USERS)
    source = Source.open(places.lake, USER_SEQUENCES, None, as_of=SATURDAY)
    users = [user for batch in source.batches("user_id") for user in batch["user_id"].to_pylist()]
    assert sorted(users) == sorted(USERS)


def test_analysts_and_the_checks_find_it(said):
    assert USERS[1] in said("neighbors", USERS[0], "-k", "2")
    assert "are whole" in said("doctor")
    assert "champion" in said("models", "list")


def test_feast_serves_it(said, tmp_path):
    said("features", "refresh", "--as-of", str(SATURDAY))
    assert USERS[0] in said("features", "get", USERS[0])
    points, out = tmp_path / "points.csv", tmp_path / "features.parquet"
    points.write_text(f"user_id,event_timestamp\n{USERS[0]},{SATURDAY}T01:00:00Z\n")
    said("features", "history", "--file", str(points), "--out", str(out))
    assert duckdb.sql(f"SELECT len(embedding) FROM '{out}'").fetchall() == [(256,)]


def test_the_proof_of_forgetting_looks_through_every_object(places, spark, capsys):
    let_spark_ask(spark)
    assert main(["forget", USERS[-1], "--check"]) == 1
    proof = capsys.readouterr().out
    listed = client(os.environ).list_objects_v2(Bucket=BUCKET)["KeyCount"]
    assert f"and {listed} objects of {STORE}" in proof
    assert f"column user_id, in {STORE}" in proof


def test_a_query_reads_no_other_object_and_shows_no_key(said, places):
    assert main(["sql", f"SELECT * FROM 's3://{BUCKET}/lake/models/_delta_log/*.json'"]) == 2
    assert SECRET not in said("sql", "SELECT current_setting('s3_secret_access_key') AS k")
    store = ObjectStore.from_environment()
    assert SECRET not in f"{store.spark_settings()} {store}"


def test_of_two_writers_by_delta_rs_both_commits_stay(places):
    address, rows = f"s3://{BUCKET}/other", pa.table({"n": [1]})
    options = ObjectStore.from_environment().delta_options()
    write_deltalake(address, rows, storage_options=options)
    for opened in [DeltaTable(address, storage_options=options) for _ in range(2)]:
        write_deltalake(opened, rows, mode="append")  # both were opened at version 0
    assert DeltaTable(address, storage_options=options).to_pyarrow_table().num_rows == 3
    s3, first = client(os.environ), f"other/_delta_log/{0:020}.json"
    with pytest.raises(s3.exceptions.ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=BUCKET, Key=first, Body=b"", IfNoneMatch="*")
    for found in s3.list_objects_v2(Bucket=BUCKET, Prefix="other/")["Contents"]:
        s3.delete_object(Bucket=BUCKET, Key=found["Key"])


def test_what_is_missing_is_said_in_one_line(places, monkeypatch, tmp_path, capsys):
    def look():
        open_delta_table(f"{STORE}/models")
        object_store.let_duckdb_read(duckdb.connect(), STORE)

    def refused(match, **names):
        with monkeypatch.context() as changed:
            for name, value in names.items():
                changed.setenv(name, value)
            with pytest.raises(BadInput, match=match):
                look()

    refused("begin it with http", AWS_ENDPOINT_URL="store.example")
    refused("AWS_ACCESS_KEY_ID is not set", AWS_ACCESS_KEY_ID="")
    monkeypatch.setattr(object_store, "DUCKDB_EXTENSION", tmp_path / "none")
    refused("make object-store")
    monkeypatch.setattr(object_store, "OBJECT_STORE_JARS", tmp_path / "none")
    with pytest.raises(BadInput, match="make object-store"):
        object_store.spark_settings(STORE, has_own_jars=False)
    assert object_store.spark_settings(STORE, has_own_jars=True)["fs.s3a.endpoint"]
    assert main(["sql", "SELECT 1"]) == 2
    assert "UB-309" in capsys.readouterr().err
