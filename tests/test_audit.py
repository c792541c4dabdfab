import json
import shutil
from datetime import date, datetime, timedelta

import pytest
from small_lake import embedding, vector, views, write

from analyst import open_lake
from analyst.questions.audit import audit
from contracts.paths import Places
from userbert.cli import main

MONDAY, TUESDAY = date(2026, 1, 5), date(2026, 1, 6)
NOON = datetime(2026, 1, 5, 12)


def minutes(*offsets):
    return [NOON + timedelta(minutes=n) for n in offsets]


def session(number, *times):
    return {
        "session_date": MONDAY,
        "user_id": "ann",
        "session_id": number,
        "start_time": times[0],
        "end_time": times[-1],
        "num_views": len(times),
        "title_ids": [1] * len(times),
        "event_times": list(times),
    }


def pair(a, b, number=0, as_of=TUESDAY):
    row = {"as_of": as_of, "user_id": "ann", "pair_id": number}
    ids = {"a_title_ids": [1] * len(a), "b_title_ids": [1] * len(b)}
    return row | ids | {"a_event_times": a, "b_event_times": b}


def view(number, user="ann"):
    row = {"event_date": MONDAY, "landing_day": MONDAY, "log_id": number, "user_id": user}
    return row | {"event_time": NOON, "title_id": 1}


SEQUENCE = views("ann", TUESDAY, 1, 1)
VECTOR = embedding("ann", TUESDAY, [3, 4], sequence_hash=SEQUENCE["sequence_hash"])
SOUND = {
    "browsing_logs": [view(1), view(2)],
    "rejected_logs": [{"landing_day": MONDAY, "file": "a", "line": 3, "reasons": ["blank title"]}],
    "titles": [{"title_id": 1, "title": "tea", "words": ["tea"]}],
    "sessions": [session(1, *minutes(0, 30)), session(2, *minutes(61))],
    "user_sequences": [SEQUENCE],
    "sequence_pairs": [pair(minutes(0, 30), minutes(61))],
    "models": [{"model_id": "m1", "space_id": "space-m1", "status": "champion", "measures": "{}"}],
    "user_embeddings": [VECTOR],
    "published_embeddings": [VECTOR],
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound lake beside the landing file that it came from."""
    places = Places(tmp_path_factory.mktemp("sound"))
    for name, rows in SOUND.items():
        write(places, name, rows)
    folder = places.landing / str(MONDAY)
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_text("{}\n{}\n{}\n")
    (places.landing / "settings.toml").write_text(
        'format = "jsonl"\n[columns]\nuser_id = "u"\nevent_time = "at"\ntitle = "t"\n'
    )
    return places.root


@pytest.fixture
def places(sound, tmp_path):
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    return Places(tmp_path)


def broken(places):
    return {(each.table, each.rule): each.examples for each in audit(open_lake(places))
            if each.broken}  # fmt: skip


def test_a_sound_lake_breaks_no_rule(places, monkeypatch, capsys):
    found = list(audit(open_lake(places)))
    assert {each.rule: each.broken for each in found if each.broken} == {}
    assert all(each.rows for each in found)
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    assert main(["audit", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rules"]) == len(found)


BAD = {
    "A is over before B": ("sequence_pairs", pair(minutes(0, 31), minutes(31), 1)),
    "views in A and in B": ("sequence_pairs", pair(minutes(*range(101)), minutes(200), 1)),
    "no view from on or after as_of": (
        "sequence_pairs", pair([datetime(2026, 1, 4)], [datetime(2026, 1, 5)], 1, MONDAY)
    ),
    "views with a time each": ("user_sequences", views("bea", TUESDAY, *[1] * 2049)),
    "and no bot, has a sequence": ("browsing_logs", view(9, "cleo")),
    "days before the newest published day": ("browsing_logs", view(9, "cleo")),
    "at most 30 minutes from a view": ("sessions", session(3, *minutes(100, 131))),
    "more than 30 minutes from a session": ("sessions", session(3, *minutes(91))),
    "is in titles": ("user_sequences", views("bea", TUESDAY, 404)),
    "finite floats": (
        "user_embeddings", VECTOR | {"user_id": "bea", "embedding": vector(float("nan"))}
    ),
    "of a norm above 0": ("user_embeddings", VECTOR | {"user_id": "bea", "embedding": vector(0)}),
    "the one that is there": ("user_sequences", SEQUENCE | {"sequence_hash": 7}),
    "and has a sequence of it, has a vector": ("user_sequences", views("dan", TUESDAY, 1)),
    "published rows are the champion's": (
        "published_embeddings", VECTOR | {"user_id": "eve", "model_id": "m2"}
    ),
    "no model_id, as_of, user_id twice": ("user_embeddings", VECTOR),
    "lines of the landing files": ("browsing_logs", view(3)),
}  # fmt: skip


def test_each_rule_finds_the_row_that_breaks_it(places):
    for table, row in BAD.values():
        write(places, table, [row])
    found = broken(places)
    for rule, (table, row) in BAD.items():
        named = [rows for (_, says), rows in found.items() if rule in says]
        assert named, rule
        assert all(each for rows in named for each in rows), (table, row)


def test_a_day_in_the_middle_that_was_never_ingested_is_named_everywhere(
    places, monkeypatch, capsys
):
    """Monday is there, Thursday too (by a refused line alone), and Friday is not over yet."""
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    for words in (["summary"], ["gates", "list"]):
        assert main(words) == 0
        assert "has no line in the lake" not in capsys.readouterr().out
    refused = {"file": "b", "line": 1, "reasons": ["blank title"]}
    write(places, "rejected_logs", [refused | {"landing_day": date(2026, 1, 8)}])
    ((table, rule),) = broken(places)
    assert rule == "no landing day between the first and the last is missing"
    assert [row["day"] for row in broken(places)[table, rule]] == [TUESDAY, date(2026, 1, 7)]
    for words in (["summary"], ["gates", "list"]):
        assert main(words) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert "2 landing days have no line in the lake" in printed
        assert "2026-01-06, 2026-01-07. Ingest each by `userbert browsing-logs" in printed
    # Logs that end: a day without a folder had no views, and one with a folder was forgotten.
    (places.landing / str(TUESDAY)).mkdir(parents=True)
    (places.landing / "no-day-at-all").mkdir()
    (places.landing / "arrival.toml").write_text("days_expected = false\n")
    assert [row["day"] for row in broken(places)[table, rule]] == [TUESDAY]
    for words in (["summary"], ["gates", "list"]):
        assert main(words) == 0
        assert "1 landing day has no line in the lake" in " ".join(capsys.readouterr().out.split())


def test_a_root_without_a_table_is_no_sound_lake(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path / "empty"))
    assert main(["audit"]) == 4
    assert (
        f"no table below {tmp_path / 'empty'}/lake, and so no rule to ask"
        in capsys.readouterr().err
    )


def test_a_sequence_with_a_view_of_its_own_day_is_found(places):
    late = views("ann", TUESDAY + timedelta(days=1), 1) | {"as_of": TUESDAY, "user_id": "bea"}
    write(places, "user_sequences", [late])
    rule = ("user_sequences", "no view from on or after as_of")
    assert broken(places)[rule] == [{"as_of": TUESDAY, "user_id": "bea"}]


def test_a_broken_rule_is_named_with_an_example_and_exit_code_1(places, monkeypatch, capsys):
    write(places, "browsing_logs", [view(3, "cleo")])
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    assert main(["audit", "--sql"]) == 1
    out = capsys.readouterr().out
    assert "user_id cleo" in out
    assert "SELECT" in out


def test_csv_headers_and_hidden_files_are_no_lines(places):
    from analyst.landing_counts import lines_by_file

    settings = places.landing / "settings.toml"
    settings.write_text(settings.read_text().replace("jsonl", "csv"))
    folder = places.landing / str(MONDAY)
    (folder / ".copying").write_text("u,at,t\n1,2,3\n")
    (places.landing / "notes").mkdir()
    assert sum(lines for *_, lines in lines_by_file(places.landing)) == 2
