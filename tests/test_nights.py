"""Two nights and a rerun, by the very commands that the DAGs run, on generated logs."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from datetime import date, timedelta

import pytest
from spoiled_landing import rename_column, send_half_to_the_future

from contracts.landing_settings import read_settings
from contracts.paths import Places
from contracts.tables import BROWSING_LOGS, PUBLISHED_EMBEDDINGS, REJECTED_LOGS, USER_EMBEDDINGS
from userbert.cli import main
from userbert.commands.summary import gather_facts, open_table

USERBERT = [sys.executable, "-m", "userbert.cli"]
FIRST = date(2017, 1, 1)
HISTORY, NIGHTS, SPARE = 10, 2, 1  # landing days; a spare one is spoiled


def day(n):
    return str(FIRST + timedelta(days=n))


def done(*words):
    assert main(list(map(str, words))) == 0, words


def night(landed):
    """What the nightly DAG runs for the landing day `landed`."""
    as_of = day(landed + 1)
    done("browsing-logs", "--from-day", day(landed), "--to-day", day(landed))
    done("titles")
    done("sessions")
    done("user-sequences", "--as-of", as_of)
    done("user-embeddings", "--as-of", as_of)
    done("published-embeddings", "--as-of", as_of)
    done("features", "refresh", "--as-of", as_of)


def rows(places, table):
    """The table's rows, sorted: equal rows, equal text."""
    found = open_table(places, table).to_pyarrow_table()
    keys = [(key, "ascending") for key in table.key]
    return found.select(table.names).sort_by(keys).to_pylist()


def checksum(places):
    tables = (USER_EMBEDDINGS, PUBLISHED_EMBEDDINGS)
    return hashlib.sha256(repr([rows(places, table) for table in tables]).encode()).hexdigest()


@pytest.fixture(scope="module")
def nights(spark, tmp_path_factory):
    """A history, a model that is trained on it and promoted, and two nights."""
    root = tmp_path_factory.mktemp("nights")
    before = os.environ.get("USERBERT_DATA")
    os.environ["USERBERT_DATA"] = str(root)
    days = HISTORY + NIGHTS + SPARE
    done("logs", "generate", "--users", 80, "--days", days, "--seed", 3, "--broken", 0.01)
    done("browsing-logs", "--from-day", day(0), "--to-day", day(HISTORY - 1))
    done("titles")
    done("sessions")
    done("sequence-pairs", "--as-of", day(HISTORY))
    trained = subprocess.run(
        [*USERBERT, "pretrain", "--as-of", day(HISTORY), "--preset", "smoke"],
        check=True,
        capture_output=True,
        text=True,
    )
    model_id = trained.stdout.splitlines()[-1]
    done("models", "register", model_id)
    done("models", "promote", model_id, "--force", "--reason", "no judge for a model of days")
    for landed in range(HISTORY, HISTORY + NIGHTS):
        night(landed)
    yield Places(root), model_id
    os.environ.pop("USERBERT_DATA")
    if before is not None:
        os.environ["USERBERT_DATA"] = before


def test_the_first_night_has_a_vector_of_everybody_and_the_next_of_who_was_active(nights):
    places, model_id = nights
    found = rows(places, USER_EMBEDDINGS)
    views = rows(places, BROWSING_LOGS)
    for landed in range(HISTORY, HISTORY + NIGHTS):
        first = day(0 if landed == HISTORY else landed)
        active = {v["user_id"] for v in views if first <= str(v["event_date"]) <= day(landed)}
        vectors = [row for row in found if str(row["as_of"]) == day(landed + 1)]
        assert {row["user_id"] for row in vectors} == active
    assert {row["model_id"] for row in found} == {model_id}
    assert all(len(row["embedding"]) == 256 and row["norm"] > 0 for row in found)


def test_every_landing_line_is_accepted_or_refused(nights):
    places, _ = nights
    files = [p for n in range(HISTORY + NIGHTS) for p in (places.landing / day(n)).iterdir()]
    lines = sum(len(path.read_bytes().splitlines()) for path in files)
    facts = gather_facts(places)
    assert facts["lines_in"] == lines
    assert all(row["raw"] and row["reasons"] for row in rows(places, REJECTED_LOGS))


def test_a_night_run_again_leaves_the_same_bytes(nights):
    places, _ = nights
    before = checksum(places)
    night(HISTORY + NIGHTS - 1)
    assert checksum(places) == before


def test_an_embed_task_killed_half_way_and_run_again_leaves_the_same_bytes(nights):
    places, _ = nights
    before = checksum(places)
    as_of = day(HISTORY + NIGHTS)
    task = subprocess.Popen(
        [*USERBERT, "user-embeddings", "--as-of", as_of],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(12)  # somewhere in its work: Spark alone takes five seconds to start
    os.killpg(task.pid, signal.SIGKILL)
    task.wait()
    assert checksum(places) == before
    done("user-embeddings", "--as-of", as_of)
    assert checksum(places) == before


def test_a_spoiled_day_fails_at_the_gate_in_one_line_and_readers_keep_the_last(nights, capsys):
    places, _ = nights
    before, spare = checksum(places), HISTORY + NIGHTS
    folder = places.landing / day(spare)
    as_it_came = {path: path.read_bytes() for path in folder.iterdir()}
    theirs = read_settings(places.landing / "settings.toml").columns
    ingest = ["browsing-logs", "--from-day", day(spare), "--to-day", day(spare)]
    for spoil, says in (
        (lambda: rename_column(folder, theirs["user_id"], "uid"), "missing column"),
        (lambda: send_half_to_the_future(folder, theirs["event_time"]), "after its landing day"),
    ):
        assert spoil() > 0
        capsys.readouterr()
        assert main(ingest) == 3
        first_line = capsys.readouterr().err.splitlines()[0]
        assert first_line.startswith("userbert browsing-logs: UB-401: gate browsing_logs of")
        assert says in first_line
        for path, content in as_it_came.items():
            path.write_bytes(content)
    assert checksum(places) == before
