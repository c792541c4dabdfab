import codecs
import io
import json
import stat
from datetime import UTC, date, datetime, timedelta

import pytest
from deltalake import DeltaTable
from small_lake import embedding, filler, views, write

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.tables import (
    BROWSING_LOGS,
    MODELS,
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_HISTORY,
    REJECTED_LOGS,
    SEQUENCE_PAIRS,
    SESSIONS,
    TITLES,
    USER_EMBEDDINGS,
    USER_SEQUENCES,
)
from erasure import commands
from erasure.commands import search_everything
from erasure.forgetting import Forgetting
from erasure.known_users import USER_TABLES
from erasure.scan import scan_files
from erasure.user_patterns import Users
from spark_jobs.ingest.suppression_list import read_suppression_list
from spark_jobs.lake.lake import Lake
from spark_jobs.spark.delta_log import DeltaLog
from spark_jobs.tables import browsing_logs

DAY = date(2017, 6, 29)
NEXT = DAY + timedelta(days=1)
NOON = datetime(2017, 6, 29, 12)
GONE = ("u0000123", "7")
STAY = ("u00001234", "77")  # whose ids hold those of the others
SETTINGS = 'format = "jsonl"\n[columns]\nuser_id = "visitor"\nevent_time = "at"\ntitle = "page"\n'


def line(user, title="A page", at="2017-06-29T12:00:00"):
    return json.dumps({"visitor": user, "at": at, "page": title})


LINES = [
    line(GONE[0]),
    line(STAY[0], "7 ways"),
    line(7),
    '{"visitor": "7", "at"',  # half a line
    line(77),
    '{"visitor": "77", "at"',
    line(GONE[0], at="never"),
]


def add(lake, places, table, *rows):
    """Rows with the columns that matter, as one commit; by Spark, with a change feed, in two."""
    if table not in (BROWSING_LOGS, USER_EMBEDDINGS):
        write(places, table.name, rows)
        return
    lake.create(table)
    whole = [
        tuple(
            value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
            for value in (row.get(c.name, filler(c)) for c in table.columns)
        )
        for row in rows
    ]
    frame = lake.spark.createDataFrame(whole, table.ddl)
    frame.coalesce(1).write.format("delta").mode("append").save(lake.path(table))


def view(user, log_id, title_id):
    facts = {"event_date": DAY, "event_time": NOON, "landing_day": DAY}
    return facts | {"user_id": user, "log_id": log_id, "title_id": title_id, "title": "t"}


def session(user):
    facts = {"session_date": DAY, "start_time": NOON, "end_time": NOON, "num_views": 1}
    return facts | {"user_id": user, "title_ids": [1], "event_times": [NOON]}


def pair(user):
    a, b = NOON - timedelta(hours=2), NOON
    sides = {"a": a, "b": b}
    arrays = {f"{s}_title_ids": [1] for s in sides} | {
        f"{s}_event_times": [at] for s, at in sides.items()
    }
    ends = {f"{s}_{end}": at for s, at in sides.items() for end in ("start", "end")}
    return {"as_of": NEXT, "user_id": user, "pair_id": 0} | arrays | ends


def refused(number, raw):
    facts = {"landing_day": DAY, "file": f"{DAY}/a.jsonl", "line": number, "raw": raw}
    return facts | {"reasons": ["why"]}


def model(model_id, trained_before):
    facts = {"model_id": model_id, "trained_before": trained_before, "status": "candidate"}
    return facts | {"settings": "{}", "inputs": "{}", "measures": "{}"}


def fill(lake, places):
    """Of the views two commits, so that an older version of the table names a user too."""
    for user, other in zip(GONE, STAY, strict=True):
        add(lake, places, BROWSING_LOGS, view(user, hash(user), 1), view(other, hash(other), 2))
    everybody = (*GONE, *STAY)
    add(lake, places, SESSIONS, *map(session, everybody))
    add(lake, places, USER_SEQUENCES, *(views(u, NEXT, 1) for u in everybody))
    add(lake, places, SEQUENCE_PAIRS, *map(pair, everybody))
    for table in (USER_EMBEDDINGS, PUBLISHED_EMBEDDINGS, PUBLISHED_HISTORY):
        add(lake, places, table, *(embedding(u, NEXT, [1, 2], sequence_hash=1) for u in everybody))
    add(lake, places, REJECTED_LOGS, *(refused(n, LINES[n - 1]) for n in (4, 6, 7)))
    add(lake, places, TITLES, *({"title_id": n, "title": "t", "words": ["t"]} for n in (1, 2, 3)))
    add(lake, places, MODELS, model("saw", NEXT), model("older", DAY - timedelta(days=90)))


def leave_traces(places):
    """In landing files, gate results, a task's log, arrays and a neighbor cache."""
    texts = {
        places.landing / "settings.toml": SETTINGS,
        places.landing / str(DAY) / "a.jsonl": "\n".join(LINES) + "\n",
        places.gates / "a.json": '{"rows": [{"user_id": "7", "n": "7"}]}',
        places.airflow / "logs" / "a.log": "gate of a failed, e.g. user_id=u0000123, n=7\n",
        places.arrays / "a" / "users.txt": "u0000123",
        places.root / "neighbours" / "a" / "users.txt": "u0000123",
        places.evaluations / "2017-07-01-a" / "vectors" / "users.npy": "u0000123",
        places.evaluations / "2017-07-01-a" / "evaluation.md": "nearest: u0000123, n=7",
        places.evaluations / "shared" / "2017-07-01-b" / "labels.jsonl": '{"user": "u0000123"}',
        places.evaluations / "models" / "a" / "rows.parquet": "u0000123",
        places.root / "experiments" / "data" / "views.npz": "u0000123",
        places.root / "experiments" / "models" / "a" / "users.json": '["u0000123"]',
        places.root / "experiments" / "cells" / "a.json": '{"auc": 0.5}',
        places.reports / "nights" / "a.html": "<td>u0000123</td>",
        places.event_logs / "eventlog_v2_a" / "events_1_a": '{"plan": "u0000123"}',
        places.event_logs / "eventlog_v2_b" / "events_1_b": '{"plan": "u00001234"}',
    }
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def serve_online(places):
    from feature_store.published import Published
    from feature_store.store import Store

    store, published = Store(places), Published.open(places)
    store.apply(published)
    store.materialize(published, NEXT)
    return store


def rows(lake, table):
    found = DeltaTable(lake.path(table)).to_pyarrow_table().select(table.names)
    return sorted(map(repr, found.to_pylist()))


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return Places(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def lake(spark, places):
    return Lake(spark, places.lake)


@pytest.fixture(scope="module")
def forgotten(lake, places):
    """What the tables held of the others, after a call that was killed and one that was not."""
    fill(lake, places)
    leave_traces(places)
    serve_online(places)
    tables = (*USER_TABLES, MODELS)
    before = {table.name: [r for r in rows(lake, table) if of_others(r)] for table in tables}
    users = Users(GONE, ("user_id", "visitor"))
    assert len(search_everything(places, users)) > 20
    work = Forgetting(places, users, lambda: lake)
    work.put_on_list()
    with pytest.MonkeyPatch.context() as patch:
        remove_history = _killed_at_the_second(DeltaLog.remove_history)
        patch.setattr(DeltaLog, "remove_history", remove_history)
        with pytest.raises(Killed):
            work.erase_rows()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USERBERT_DATA", str(places.root))
        output = io.StringIO()
        patch.setattr("sys.stdout", output)
        code = commands.main([GONE[0]], _file(places, GONE[1]), yes=True, check=False)
    return before, code, output.getvalue()


UNKNOWN = "nobody-17"


def _file(places, user):
    """A list beside the data, as a person would have it."""
    path = places.root.with_name("ids.txt")
    path.write_bytes(codecs.BOM_UTF8 + f"{user}\r\n\r\n# by mail\r\n{UNKNOWN}\r\n".encode())
    return path


def of_others(row):
    return not any(f"'user_id': '{user}'" in row for user in GONE)


def _killed_at_the_second(remove_history):
    calls = []

    def killed(log):
        calls.append(log)
        if len(calls) == 2:
            raise Killed
        remove_history(log)

    return killed


def test_after_a_kill_and_a_second_call_no_file_names_the_users(places, forgotten):
    _, code, output = forgotten
    assert code == 0, output
    assert "; 0 name a user" in output
    assert f'no table knows 1 of the 3 users: user 3 "{UNKNOWN}"\n' in output
    assert "looked for user 1: as a value of user columns, and as a word" in output
    assert "looked for user 2: only as a value of user columns" in output
    assert scan_files([places.root], Users((*GONE,), ("user_id",)))[0] == []


def test_the_others_rows_are_as_they_were_in_every_table(lake, forgotten):
    before, _, output = forgotten
    after = {name: rows(lake, table) for name, table in _by_name(before).items()}
    assert after == before
    assert "other rows are as before" in output


def _by_name(names):
    return {table.name: table for table in (*USER_TABLES, MODELS) if table.name in names}


def test_no_older_version_can_be_read(spark, lake, forgotten):
    for table in USER_TABLES:
        with pytest.raises(Exception, match=r"(?i)version|reconstruct|recreate"):
            spark.read.format("delta").option("versionAsOf", 1).load(lake.path(table)).count()


def test_refused_lines_and_unviewed_titles_go_and_others_stay(lake, forgotten):
    kept = lake.read(REJECTED_LOGS).select("line", "raw").collect()
    assert [(row["line"], row["raw"]) for row in kept] == [(6, LINES[5])]
    titles = lake.read(TITLES).orderBy("title_id").collect()
    assert [row["title_id"] for row in titles] == [1, 2]  # the others' sessions hold title 1


def test_landing_files_keep_the_other_lines_at_their_numbers(places, forgotten):
    path = places.landing / str(DAY) / "a.jsonl"
    assert path.read_text().split("\n") == ["", LINES[1], "", "", LINES[4], LINES[5], "", ""]


def test_what_judge_and_experiments_hold_of_users_goes_and_their_figures_stay(places, forgotten):
    judged, experiments = places.evaluations, places.root / "experiments"
    assert [path.name for path in judged.iterdir()] == ["2017-07-01-a"]
    assert [path.name for path in (judged / "2017-07-01-a").iterdir()] == ["evaluation.md"]
    assert [path.name for path in experiments.iterdir()] == ["cells"]


def test_logs_are_redacted_and_event_logs_with_the_users_go(places, forgotten):
    gates = (places.gates / "a.json").read_text()
    assert gates == '{"rows": [{"user_id": "(forgotten)", "n": "7"}]}'
    report = (places.evaluations / "2017-07-01-a" / "evaluation.md").read_text()
    assert report == "nearest: (forgotten), n=7"
    assert (places.reports / "nights" / "a.html").read_text() == "<td>(forgotten)</td>"
    log = (places.airflow / "logs" / "a.log").read_text()
    assert log == "gate of a failed, e.g. user_id=(forgotten), n=7\n"
    assert [path.name for path in places.event_logs.iterdir()] == ["eventlog_v2_b"]
    assert not places.arrays.exists()


def test_the_online_store_serves_the_others_alone(places, forgotten):
    from feature_store.store import Store

    store = Store(places)
    (view,) = (view for view in store.feast.list_feature_views() if view.online)
    assert store.online.count(view.name) == len(STAY)


def test_the_models_that_had_learned_from_them_are_named_after_a_kill_too(forgotten):
    assert "models that had learned from them: saw\n" in forgotten[2]


def test_the_list_tells_nobody_who_is_on_it_but_whoever_asks_with_the_key(places, forgotten):
    key = places.root / "forgotten" / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    listed = read_suppression_list(places)
    assert all(user in listed for user in GONE)
    assert not any(user in listed for user in STAY)
    text = (places.root / "forgotten" / "users.jsonl").read_text()
    assert not any(f'"{user}"' in text for user in GONE)


def test_a_later_ingest_keeps_nothing_of_them(lake, places, forgotten, monkeypatch):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    path = places.landing / str(NEXT) / "a.jsonl"
    path.parent.mkdir()
    path.write_text("\n".join(LINES) + "\n" + "\n".join([line(77)] * 5))
    browsing_logs.main(NEXT, NEXT, False)
    refusals = lake.read(REJECTED_LOGS).where(f"landing_day = '{NEXT}'").orderBy("line").collect()
    of_nobody = [
        (row["line"], row["raw"]) for row in refusals if row["reasons"] == ["forgotten user"]
    ]
    assert of_nobody == [(1, ""), (3, ""), (4, ""), (7, "")]
    assert lake.measures(BROWSING_LOGS)["forgotten"] == 4
    path.unlink()
    assert scan_files([places.root], Users(GONE, ("user_id", "visitor")))[0] == []


def test_nobody_is_forgotten_by_mistake(places, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(BadInput, match="pass --yes"):
        commands._confirm(1, yes=False)
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    with pytest.raises(BadInput, match="no user is named"):
        commands.main([" "], None, yes=True, check=False)
    with pytest.raises(BadInput, match=r"none.txt cannot be read: No such file"):
        commands.main([], places.root / "none.txt", yes=True, check=False)
