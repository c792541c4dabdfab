"""The pipeline on a lake on S3, from views to forgetting, which `make test-object-store` adds."""

import gzip
import itertools
import json
import os
import subprocess
import sys
import threading
from datetime import date, timedelta

import pytest
import small_model
from small_s3 import SECRET, client, s3_server
from small_store import (
    BUCKET,
    STORE,
    done,
    environment,
    first_model,
    let_spark_ask,
    make_night,
    replace_model,
    rows,
)

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.storage.delta_reading import arrow_dataset, open_delta_table
from contracts.storage.landing_copy import LandingCopy
from contracts.tables import (
    BROWSING_LOGS,
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_HISTORY,
    TABLES,
    USER_EMBEDDINGS,
)
from erasure.object_scan import scan_old_versions
from erasure.object_versions import ObjectVersions
from erasure.user_patterns import Users
from spark_jobs.lake.table_lock import LockObject, TableLock
from userbert.cli import main

USERS = [f"reader{n}" for n in range(4)]
DAYS = [str(small_model.DAY + timedelta(days=n)) for n in range(3)]
LANDING = f"s3a://{BUCKET}/landing"
OLD, NEW = "nrms-2026-01-06-aaaaaaaaaa", "nrms-2026-01-06-bbbbbbbbbb"
SETTINGS = 'format = "jsonl"\n[columns]\nuser_id = "u"\nevent_time = "t"\ntitle = "p"\n'


def lines_of(day):
    """Each user views two titles in the morning of the day and one in the evening."""
    views = (
        {"u": user, "t": f"{day}T{hour}:00:00", "p": small_model.TITLES[title]}
        for user in USERS
        for hour, title in (("08", 11), ("09", 22), ("20", 33))
    )
    return "".join(f"{json.dumps(view)}\n" for view in views)


def land(s3, day):
    packed = gzip.compress(lines_of(day).encode())
    s3.put_object(Bucket=BUCKET, Key=f"landing/{day}/views.gz", Body=packed)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Two landing days in a bucket that keeps old versions of its objects; the places."""
    places = Places(tmp_path_factory.mktemp("store"))
    with s3_server(places.root / "requests", BUCKET) as names:
        s3 = client(names)
        kept = {"Bucket": BUCKET, "VersioningConfiguration": {"Status": "Enabled"}}
        s3.put_bucket_versioning(**kept)
        s3.put_object(Bucket=BUCKET, Key="landing/settings.toml", Body=SETTINGS.encode())
        for day in DAYS[:2]:
            land(s3, day)
        folders = {"USERBERT_DATA": str(places.root), "USERBERT_LAKE": STORE}
        with environment(**folders, USERBERT_LANDING=LANDING, **names):
            yield places


@pytest.fixture(scope="module")
def store_spark(spark, server):
    """Spark, with the keys of the server."""
    let_spark_ask(spark)
    return spark


@pytest.fixture(scope="module")
def places(store_spark, server):
    make_two_nights_and_another_model(server)
    return server


def make_two_nights_and_another_model(places):
    """Two nights of one model, then another one fills both days and takes its place."""
    small_model.save(places, OLD)
    small_model.save(places, NEW, query_width=16)
    first_model(OLD)
    for landed, as_of in itertools.pairwise(DAYS):
        make_night(landed, as_of)
    replace_model(NEW)


def said(capsys, *words):
    capsys.readouterr()
    done(*words)
    return capsys.readouterr().out


def test_nights_a_backfill_and_a_promotion_leave_their_rows(places):
    assert len(rows(STORE, BROWSING_LOGS)) == len(USERS) * 3 * 2
    vectors = rows(STORE, USER_EMBEDDINGS)
    assert [sum(model in row for row in vectors) for model in (OLD, NEW)] == [8, 8]
    published = rows(STORE, PUBLISHED_EMBEDDINGS)
    assert len(published) == 2 * len(USERS)
    assert all(NEW in row for row in published)
    assert not (places.root / "lake").exists()


def test_duckdb_and_analysts_read_what_delta_rs_reads(places, capsys):
    counted = said(capsys, "sql", "--csv", "SELECT count(*) AS n FROM published_history")
    assert int(counted.split()[-1]) == len(rows(STORE, PUBLISHED_HISTORY))
    assert USERS[1] in said(capsys, "neighbors", USERS[0], "-k", "3")


def test_maintenance_leaves_every_row(places):
    before = rows(STORE, USER_EMBEDDINGS)
    done("maintenance", "--table", USER_EMBEDDINGS.name)
    assert rows(STORE, USER_EMBEDDINGS) == before


def rows_by_table(lake):
    return {table.name: rows(lake, table) for table in TABLES}


def test_every_table_has_the_rows_of_a_lake_on_a_disk(places, tmp_path):
    on_disk = Places(tmp_path)
    settings = on_disk.landing / "settings.toml"
    settings.parent.mkdir()
    settings.write_text(SETTINGS)
    for day in DAYS[:2]:
        (on_disk.landing / day).mkdir()
        (on_disk.landing / day / "views.gz").write_bytes(gzip.compress(lines_of(day).encode()))
    folders = {"USERBERT_DATA": str(tmp_path), "USERBERT_LAKE": None, "USERBERT_LANDING": None}
    with environment(**folders):
        make_two_nights_and_another_model(on_disk)
    ours, theirs = rows_by_table(STORE), rows_by_table(on_disk.lake)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert ours[PUBLISHED_HISTORY.name]


APPEND = f"""
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.table_lock import table_lock
from spark_jobs.spark.session import session
lake = Lake(session("append"), "s3a://{BUCKET}/drivers")
rows = lake.spark.range(1)
for _ in range(8):
    with table_lock(lake.spark, lake.root, "appended"):
        rows.write.format("delta").mode("append").save(f"{{lake.root}}/appended")
"""


def test_two_drivers_that_write_one_table_side_by_side_lose_no_commit(server):
    words = [sys.executable, "-c", APPEND]
    drivers = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said_by_them = [driver.communicate()[1] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], said_by_them
    path = f"s3a://{BUCKET}/drivers/appended"
    assert arrow_dataset(open_delta_table(path), path).count_rows() == 16


def lock(store_spark, table, owner, lease_s=1.2):
    return TableLock(LockObject(store_spark, f"{STORE}-locks/{table}.json"), table, owner, lease_s)


def test_a_job_waits_for_the_one_that_holds_the_lock_and_says_so(store_spark, capsys):
    first, second = (
        lock(store_spark, "waited", "the first"),
        lock(store_spark, "waited", "the second"),
    )
    first.acquire()
    threading.Timer(2, first.release).start()  # longer than the lease: it gives signs of life
    second.acquire()
    assert first._released.is_set()
    assert capsys.readouterr().err == "waiting for the table waited: the first is writing it\n"
    second.release()


def test_a_lock_without_signs_of_life_is_taken_and_its_holder_learns_it(store_spark):
    killed, next_one = (
        lock(store_spark, "taken", "the killed"),
        lock(store_spark, "taken", "the next"),
    )
    killed._released.set()  # so it gives none
    killed.acquire()
    next_one.acquire()
    with pytest.raises(Exception, match=r"taken: this job gave no sign of life .*`userbert audit`"):
        killed.release()
    next_one.release()


def test_of_many_that_try_at_the_same_instant_one_has_the_lock(store_spark):
    place = lock(store_spark, "raced", "").place
    found = []
    tries = [
        threading.Thread(target=lambda n=n: found.append(place.write({"n": n}, "")))
        for n in range(4)
    ]
    for one in tries:
        one.start()
    for one in tries:
        one.join()
    assert len([etag for etag in found if etag]) == 1


def test_a_store_that_ignores_conditions_is_refused(store_spark, monkeypatch):
    held = lock(store_spark, "careless", "the first")
    monkeypatch.setattr(LockObject, "write", lambda self, content, etag: "an etag")
    with pytest.raises(BadInput, match="ignores If-None-Match"):
        held._store_must_refuse()


def test_every_write_released_its_lock(places):
    s3 = client(os.environ)
    held = s3.list_objects_v2(Bucket=BUCKET, Prefix="lake/_locks/")["Contents"]
    assert f"lake/_locks/{USER_EMBEDDINGS.name}.json" in {each["Key"] for each in held}
    bodies = [s3.get_object(Bucket=BUCKET, Key=e["Key"])["Body"].read() for e in held]
    assert {json.loads(body)["owner"] for body in bodies} == {""}


@pytest.fixture
def copy(server, tmp_path):
    """A landing folder of its own on S3, and put(name, content) to write an object there."""
    made, s3 = LandingCopy(tmp_path, f"s3a://{BUCKET}/other"), client(os.environ)

    def put(name, content=b"a line\n"):
        s3.put_object(Bucket=BUCKET, Key=f"other/{name}", Body=content)

    yield made, put
    for each in s3.list_objects_v2(Bucket=BUCKET, Prefix="other/").get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=each["Key"])


def files_below(folder):
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def test_a_copy_holds_what_the_store_has_now(copy):
    made, put = copy
    for name in ("settings.toml", "notes.txt", "2026-01-06/a.gz", "2026-01-06/host 1/b", "x/c"):
        put(name)
    put("2026-01-07/", b"")  # a day without views
    days = [date(2026, 1, 6), date(2026, 1, 7), date(2026, 1, 8)]
    made.fetch(days)
    kept = {"settings.toml", "2026-01-06/a.gz", "2026-01-06/host 1/b"}
    assert files_below(made.folder).keys() == {*kept, ".copied.json"}
    assert (made.folder / "2026-01-07").is_dir()
    assert not (made.folder / "2026-01-08").exists()
    put("2026-01-06/a.gz", b"a seam\n")  # as long as before
    client(os.environ).delete_object(Bucket=BUCKET, Key="other/2026-01-06/host 1/b")
    (made.folder / "2026-01-06" / "by hand").write_text("stays\n")
    made.fetch(days)
    found = files_below(made.folder)
    assert found.keys() == {*kept, ".copied.json", "2026-01-06/by hand"} - {"2026-01-06/host 1/b"}
    assert found["2026-01-06/a.gz"].read_bytes() == b"a seam\n"


def test_what_was_erased_here_replaces_the_object_and_is_not_copied_back_before(copy):
    made, put = copy
    put("2026-01-06/a", b"one\ntwo\n")
    made.fetch_all_days()
    (made.folder / "2026-01-06" / "a").write_bytes(b"\ntwo\n")
    made.fetch_all_days()
    assert made.changed_names() == ["2026-01-06/a"]
    assert made.send_back() == 1
    s3 = client(os.environ)
    sent = s3.get_object(Bucket=BUCKET, Key="other/2026-01-06/a")["Body"].read()
    assert sent == b"\ntwo\n"
    assert made.changed_names() == []


@pytest.mark.parametrize("name", ["2026-01-06/../../out", "2026-01-06/./a"])
def test_a_name_that_leads_out_of_the_folder_is_refused(copy, name):
    made, put = copy
    put(name)
    with pytest.raises(BadInput, match="cannot be a file's name"):
        made.fetch_all_days()
    assert not (made.folder.parent / "out").exists()


def test_old_versions_are_looked_through_and_removed(store_spark):
    s3, address = client(os.environ), f"s3a://{BUCKET}/versions"
    for text in ("reader8,1", "reader9,1", "x,1"):
        s3.put_object(Bucket=BUCKET, Key="versions/a.csv", Body=text.encode())
    s3.put_object(Bucket=BUCKET, Key="versions/gone", Body=b"reader7,1")
    s3.delete_object(Bucket=BUCKET, Key="versions/gone")
    s3.put_object(Bucket=BUCKET, Key="versions-of-others", Body=b"1")
    s3.delete_object(Bucket=BUCKET, Key="versions-of-others")
    versions = ObjectVersions(store_spark, address)
    users = Users(["reader7", "reader8"], ("user_id",))
    found, objects, _ = scan_old_versions(versions, users)
    assert sorted(each.path.parts[1].split(" ")[0] for each in found) == ["a.csv", "gone"]
    assert objects == 3
    assert versions.remove() == 4  # with the mark that one was removed
    assert list(versions.old_versions()) == []
    listed = s3.list_object_versions(Bucket=BUCKET, Prefix="versions")
    assert [each["Key"] for each in listed["Versions"]] == ["versions-of-others", "versions/a.csv"]
    assert [each["Key"] for each in listed["DeleteMarkers"]] == ["versions-of-others"]


def test_forgetting_leaves_no_mention_in_any_object_or_old_version(places, capsys):
    user = USERS[-1]
    assert main(["forget", user, "--check"]) == 1
    found = capsys.readouterr().out
    assert "(old version " in found
    assert main(["forget", user, "--yes"]) == 0
    assert "; 0 name a user" in capsys.readouterr().out
    s3 = client(os.environ)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for each in page["Versions"]:
            if not each["Key"].startswith(("lake/", "landing/")):
                continue
            key = {"Key": each["Key"], "VersionId": each["VersionId"]}
            body = s3.get_object(Bucket=BUCKET, **key)["Body"].read()
            body += gzip.decompress(body) if each["Key"].endswith(".gz") else b""
            assert user.encode() not in each["Key"].encode() + body
            assert SECRET.encode() not in body
    kept = rows(STORE, PUBLISHED_HISTORY)
    assert kept
    assert not [row for row in kept if f"'{user}'" in row]
