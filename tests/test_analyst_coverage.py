import json
from datetime import date, datetime

import pytest
from small_lake import embedding, publish, views, write

from analyst import open_lake
from analyst.questions.coverage import coverage
from contracts.limits import MAX_VIEWS_A_DAY
from userbert.cli import main

SUNDAY, MONDAY, TUESDAY = date(2026, 1, 4), date(2026, 1, 5), date(2026, 1, 6)


def view(user, day, title_id=1, count=1):
    time = datetime(day.year, day.month, day.day, 12)
    row = {"event_date": day, "user_id": user, "event_time": time, "title_id": title_id}
    return [row | {"log_id": n, "landing_day": day} for n in range(count)]


@pytest.fixture
def places(places):
    """A user for each reason, as of Tuesday."""
    logs = [
        *view("embedded", MONDAY),
        *view("older", SUNDAY),
        *view("older-active", MONDAY),
        *view("tomorrow", TUESDAY),
        *view("robot", MONDAY, count=MAX_VIEWS_A_DAY + 1),
        *view("untitled", MONDAY, title_id=404),
        *view("unembedded", MONDAY),
        *view("unsequenced", MONDAY),
        *view("long-gone", SUNDAY),
    ]
    write(places, "browsing_logs", logs)
    write(places, "titles", [{"title_id": 1, "title": "tea", "words": ["tea"]}])
    publish(
        places,
        [
            embedding("embedded", TUESDAY, [1]),
            embedding("older", MONDAY, [1]),
            embedding("older-active", MONDAY, [1]),
        ],
    )
    write(
        places, "user_sequences", [views("unembedded", TUESDAY, 1), views("untitled", TUESDAY, 404)]
    )
    lines = ['{"visitor": "refused", "at": "never"}', '{"visitor": "older"}', "broken {", "[]"]
    write(places, "rejected_logs", [{"raw": raw, "line": n} for n, raw in enumerate(lines, 1)])
    places.landing.mkdir()
    (places.landing / "settings.toml").write_text(
        'format = "jsonl"\n[columns]\nuser_id = "visitor"\nevent_time = "at"\ntitle = "title"\n'
    )
    return places


def test_each_user_has_one_reason(places):
    found = coverage(open_lake(places))
    assert (found.model_id, found.as_of) == ("m1", TUESDAY)
    assert {reason.reason: reason.examples for reason in found.reasons} == {
        "embedded on the day": ["embedded"],
        "has an older vector: no view on the day before": ["older"],
        "has an older vector, though active on the day before": ["older-active"],
        "only refused lines": ["refused"],
        "no view before the day": ["tomorrow"],
        "excluded as a bot: more than 5,000 views on each of its days": ["robot"],
        "none of the titles is in `titles`": ["untitled"],
        "has a sequence, and no vector under this model": ["unembedded"],
        "active on the day before, and no sequence as of the day": ["unsequenced"],
        "in the window, and not active before a day that was embedded": ["long-gone"],
    }
    assert (found.users, found.with_vector, found.refused_unnamed) == (10, 3, 2)


def test_an_earlier_day_knows_nothing_of_later_ones(places):
    found = coverage(open_lake(places), as_of=MONDAY)
    reasons = {user: r.reason for r in found.reasons for user in r.examples}
    assert reasons["older"] == "embedded on the day"
    assert reasons["long-gone"] == "active on the day before, and no sequence as of the day"
    by_name = coverage(open_lake(places), MONDAY, users=["embedded", "robot"]).asked
    assert [user.reason for user in by_name] == ["no view before the day"] * 2


def test_another_model_is_another_question(places):
    write(places, "user_embeddings", [embedding("unembedded", TUESDAY, [1], model="m2")])
    found = coverage(open_lake(places), TUESDAY, "m2", ["unembedded", "embedded"])
    assert found.with_vector == 1
    assert [user.vector_day for user in found.asked] == [None, TUESDAY]


def test_users_are_asked_by_name_and_by_a_list(places, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    (places.root / "ids.csv").write_text("n,user_id\n1,robot\n")
    named = ["--users", "nobody", "--file", str(places.root / "ids.csv")]
    assert main(["coverage", "--as-of", "2026-01-06", "--json", *named]) == 0
    robot, nobody = json.loads(capsys.readouterr().out)["asked"]
    assert (robot["views_before"], robot["last_view_day"]) == (MAX_VIEWS_A_DAY + 1, None)
    assert nobody["reason"] == "no line names this user"
    assert main(["coverage"]) == 0
    assert "3 of 10 users have a vector of m1 as of 2026-01-06" in capsys.readouterr().out
    assert main(["coverage", "--model", "m9"]) == 4


@pytest.mark.parametrize("name", ["Kunden-Nr.", 'a"b', "$x/~y", "*", ".", "user.id", " "])
def test_a_refused_line_names_its_user_under_any_name_of_the_column(name, places):
    lines = [{name: "u-named"}, {"user": {"id": "u-inside"}}]
    rows = [{"raw": json.dumps(line), "line": n} for n, line in enumerate(lines, 10)]
    write(places, "rejected_logs", rows)
    (places.landing / "settings.toml").write_text(
        f'format = "jsonl"\n[columns]\nuser_id = {json.dumps(name)}\n'
        'event_time = "at"\ntitle = "title"\n'
    )
    refused = {r.reason: r.examples for r in coverage(open_lake(places)).reasons}
    expected = ["u-inside", "u-named"] if name == "user.id" else ["u-named"]
    assert refused["only refused lines"] == expected
