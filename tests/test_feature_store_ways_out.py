"""Feast by Spark and Redis, as docs/feature-store.md sets them, and its own servers over HTTP."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from small_features import publish, row

sys.path.insert(0, str(Path(__file__).parents[1]))
from contracts.errors import GateFailed
from contracts.vectors import service_name
from tests.faults.consistency_trials import find_planted_faults
from userbert.local.ports import free_port

PAGE = (Path(__file__).parents[1] / "docs" / "feature-store.md").read_text()
DAYS = {26: ["u1", "u2"], 27: ["u1"], 28: ["u3"]}
NEWEST = date(2017, 6, 28)
POINTS = 10_000


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    """A real server of its own, which keeps what it holds in a file when asked to."""
    program, port = shutil.which("redis-server"), free_port()
    assert program, "no redis-server: `apt install redis-server`, or `brew install redis`"
    folder = tmp_path_factory.mktemp("redis")
    flags = ["--port", str(port), "--dir", str(folder), "--save", "3600 1"]
    server = subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL)
    yield f"localhost:{port}", folder
    server.terminate()
    server.wait()


def settings(redis_address):
    """The page's own blocks in the place of the default's."""
    from feature_store import store

    text = Path(store.__file__).with_name("feature_store.yaml").read_text()
    for block in re.findall(r"^```yaml\n(.+?)^```", PAGE, re.DOTALL | re.MULTILINE):
        name = block.partition(":")[0]
        text = re.sub(rf"^{name}:\n(  .*\n)+", block, text, flags=re.MULTILINE)
    return text.replace("redis.example.org:6379", redis_address)


def opened(tmp_path_factory, text=None):
    from contracts.paths import Places
    from feature_store.store import Store

    places = Places(tmp_path_factory.mktemp("features"))
    if text:
        places.feature_store.mkdir()
        (places.feature_store / "feature_store.yaml").write_text(text)
    store = Store(places)
    published = publish(store, "m1", DAYS)
    store.apply(published)
    store.materialize(published, NEWEST)
    return store, published


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    return opened(tmp_path_factory)


@pytest.fixture(scope="module")
def way_out(spark, redis, tmp_path_factory):
    yield opened(tmp_path_factory, settings(redis[0]))
    spark.conf.unset("spark.sql.parser.quotedRegexColumnNames")  # Feast sets it


def test_spark_and_redis_serve_what_the_table_holds(way_out):
    from feature_store.online_check import check_online

    store, published = way_out
    assert (store.offline, store.feast.config.online_store.type) == ("spark", "redis")
    line = check_online(store, published, NEWEST)
    assert line.startswith("online: 3 users, newest as of 2017-06-28, m1; 0 mismatch, 0 missing")
    found = store.get(["u1", "u9"])
    assert np.array_equal(
        np.float32(found["embedding"][0]), np.float32(row("m1", date(2017, 6, 27), "u1")[4])
    )
    assert found["model_id"].isna().tolist() == [False, True]


def test_in_redis_too_each_planted_fault_is_found_and_named(way_out):
    said = find_planted_faults(*way_out)
    assert [line.partition(" (")[0].split(", ")[-1] for line in said.values()] == [
        "1 mismatch",
        "1 missing",
        "1 extra",
        "1 mismatch",
    ]


def test_a_redis_store_of_older_code_is_filled_whole_by_its_first_refresh(way_out):
    """Its rows have no space_id, which the features gained last."""
    from feast.infra.online_stores.helpers import _mmh3

    from feature_store.online_check import check_online

    store, published = way_out
    for user in published.users():
        lost = _mmh3(f"{service_name(published.model_id)}:space_id")
        store.online.client.hdel(store.online.key(user), lost)
    with pytest.raises(GateFailed, match="0 mismatch, 3 missing"):
        check_online(store, published, NEWEST)
    assert store.materialize(published, NEWEST) == 3
    check_online(store, published, NEWEST)
    assert set(store.get(["u1", "u2", "u3"])["space_id"]) == {"space-m1"}


def test_at_10000_points_both_offline_stores_equal_a_plain_query(embedded, way_out):
    from feature_store.historical_check import check_points

    lines = [check_points(*each, POINTS) for each in (embedded, way_out)]
    assert "history (duckdb): 10,000 of 10,000 points equal a plain query" in lines[0]
    assert lines[1] == lines[0].replace("duckdb", "spark")
    assert "0 newer than asked" in lines[0]


def test_points_that_differ_are_named(embedded, monkeypatch):
    from feature_store import historical_check

    store, published = embedded
    asked = historical_check.sample_points(published, 30)
    later = published.newest_before(asked.assign(event_timestamp=asked["event_timestamp"].max()))
    monkeypatch.setattr(type(published), "newest_before", lambda self, rows: later)
    with pytest.raises(GateFailed, match=r"\(duckdb\) are not .* as of 30 points: \d+ differ"):
        historical_check.check_points(store, published, 30)


def test_in_redis_too_who_is_gone_is_gone_from_memory_and_disk(way_out, redis):
    store, _ = way_out
    gone = store.online.key("u2")
    store.online.client.save()
    assert gone in (redis[1] / "dump.rdb").read_bytes()
    published = publish(store, "m1", {26: ["u1"], 27: ["u1"], 28: ["u3"]})
    store.materialize(published, NEWEST)
    assert not store.online.client.exists(gone)
    (view,) = [view.name for view in store.feast.list_feature_views()]
    assert store.online.forget(view, ["u1", "u9"]) == 1
    store.online.rewrite()
    held = (redis[1] / "dump.rdb").read_bytes()
    assert [store.online.key(user) in held for user in ("u1", "u2", "u3")] == [False, False, True]


def test_in_redis_too_a_new_champion_is_served_whole_or_not_at_all(way_out):
    from feature_store.online_check import check_online

    store, _ = way_out
    published = publish(store, "m-2", {28: ["u1", "u3"]})
    store.apply(published)
    assert store.serving() == "m1"
    store.materialize(published, NEWEST)
    assert set(store.get(["u1", "u3"])["model_id"]) == {"m-2"}
    check_online(store, published, NEWEST)
    fields = store.online.client.hkeys(store.online.key("u3"))
    assert [name for name in fields if name.startswith(b"_ts:")] == [b"_ts:user_embeddings_m_2"]
    assert store.online.drop_other_models("user_embeddings_m_2", "m3") == 2
    assert store.online.count("user_embeddings_m_2") == 0


def started(store, *words):
    """`feast serve` or `feast ui` as docs/feature-store.md has it, and its address."""
    port = free_port()
    feast = [sys.executable, "-c", "from feast.cli.cli import cli; cli()"]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    command = [*feast, "--chdir", str(store.places.feature_store), *words, *where]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, start_new_session=True, **quiet), f"http://127.0.0.1:{port}"


def answered(server, address, body=None):
    """What it says, once it is up."""
    data, headers = (
        (json.dumps(body).encode() if body else None),
        {"content-type": "application/json"},
    )
    asked = Request(address, data, headers)
    for _ in range(1500):
        assert server.poll() is None, "the server has ended"
        try:
            with urlopen(asked, timeout=30) as answer:
                return answer.read()
        except HTTPError as error:
            raise AssertionError(error.read()) from error
        except (URLError, ConnectionError):
            time.sleep(0.2)
    raise TimeoutError(address)


def test_feast_serve_and_feast_ui_open_the_repo_as_it_is(embedded):
    store, _ = embedded
    servers = [started(store, "serve"), started(store, "ui")]
    try:
        (serve, at), (ui, ui_at) = servers
        body = {"feature_service": "user_embeddings", "entities": {"user_id": ["u3", "u9"]}}
        answer = json.loads(answered(serve, f"{at}/get-online-features", body))
        place = answer["metadata"]["feature_names"].index("embedding")
        vector, nothing = answer["results"][place]["values"]
        assert np.array_equal(np.float32(vector), np.float32(row("m1", NEWEST, "u3")[4]))
        assert nothing is None
        assert b"<html" in answered(ui, ui_at)
    finally:
        for server, _ in servers:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
