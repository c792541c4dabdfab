import csv
import io
import json
from datetime import date, datetime

import numpy as np
import pytest
from small_lake import embedding, publish, write
from small_model import DAY, TITLES, save

from analyst import open_lake
from analyst.lake_access.registered_models import title_candidates
from analyst.questions.forecast import forecasts, propensity
from contracts.errors import BadInput, MissingTable
from contracts.forecasts import FORECAST_NAMES
from model.storage.checkpoint import load_model
from userbert.cli import main

NEXT = date(2026, 1, 7)
FUTURES = {"ann": (0.1, 0.05, 40.0, 9.0, 1.5), "bob": (0.9, 0.7, 2.0, 1.0, 20.0)}


def forecast_of(user):
    return dict(zip(FORECAST_NAMES, FUTURES[user], strict=True))


def view(number, title_id, host):
    day = date(2026, 1, 5)
    row = {"event_date": day, "landing_day": day, "log_id": number, "user_id": "ann"}
    return row | {"event_time": datetime(2026, 1, 5, 12), "title_id": title_id, "host": host}


@pytest.fixture
def places(places, monkeypatch):
    """Tea has three views, two of them at tea.example; bob was embedded a day earlier than ann."""
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    save(places, "m1")
    titles = [{"title_id": i, "title": t, "words": t.split()} for i, t in TITLES.items()]
    write(places, "titles", titles)
    hosts = [(11, "shoes.example"), (33, "Tea.example"), (33, "tea.example"), (22, "tea.example")]
    write(places, "browsing_logs", [view(n, title, host) for n, (title, host) in enumerate(hosts)])
    draw = np.random.default_rng(0)
    publish(
        places,
        [
            embedding(user, day, draw.standard_normal(256), **forecast_of(user))
            for user, day in (("ann", NEXT), ("bob", DAY))
        ],
    )
    return places


def test_forecasts_are_those_of_each_users_newest_vector(places):
    found = forecasts(open_lake(places), ["bob", "ann"])
    assert [(u.user_id, u.vector_of) for u in found.users] == [("bob", DAY), ("ann", NEXT)]
    for user in found.users:
        assert user.forecasts == pytest.approx(forecast_of(user.user_id))


def test_users_are_ordered_by_a_forecast_from_either_end(places):
    lake = open_lake(places)
    first = [
        forecasts(lake, by=by, k=1, lowest=lowest).users[0].user_id
        for by in ("no_view_7_days", "views_28_days")
        for lowest in (False, True)
    ]
    assert first == ["bob", "ann", "ann", "bob"]
    with pytest.raises(BadInput, match="no forecast luck; there are no_view_7_days"):
        forecasts(lake, by="luck")


def softmax_shares(lake, places):
    """{user: the share of each title} out of the vectors and the candidates themselves."""
    vectors, trained = lake.embeddings(), load_model(places.models / "m1")
    texts = [title.split() for title in TITLES.values()]
    logits = vectors.matrix @ title_candidates(trained, np.array([*TITLES]), texts).T  # (U, T)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return {
        user: dict(zip(TITLES.values(), row, strict=True))
        for user, row in zip(vectors.user_ids.tolist(), shares, strict=True)
    }


def test_a_share_is_the_softmax_of_the_vector_times_the_candidates(places):
    lake = open_lake(places)
    expected = softmax_shares(lake, places)
    for text in TITLES.values():
        found = {s.user_id: s for s in propensity(lake, "title", f" {text.upper()}  ").scores}
        for user, score in found.items():
            assert score.share == pytest.approx(expected[user][text], rel=1e-4, abs=1e-12)
            views, no_view = (
                forecast_of(user)["views_28_days"],
                forecast_of(user)["no_view_28_days"],
            )
            assert score.expected_views == pytest.approx(views * score.share, rel=1e-4)
            among_viewers = 1 - np.exp(-views * score.share / (1 - no_view))
            assert score.chance == pytest.approx((1 - no_view) * among_viewers, rel=1e-4)


def test_who_views_nothing_views_none_of_the_titles_asked_for(places):
    """bob has a chance of 0.3 of any view, and is expected to have two."""
    found = propensity(open_lake(places), "host", "tea.example")
    assert len(found.scores) == 2
    for score in found.scores:
        assert score.chance <= 1 - forecast_of(score.user_id)["no_view_28_days"] + 1e-6


def test_users_are_ordered_by_their_expected_views_and_compared_by_percentile(places):
    lake = open_lake(places)
    found = propensity(lake, "title", "green tea")
    expected = [s.expected_views for s in found.scores]
    assert expected == sorted(expected, reverse=True)
    assert [s.percentile for s in found.scores] == [0.5, 0]
    only = propensity(lake, "title", "green tea", ["bob"])
    assert [s.user_id for s in only.scores] == ["bob"]
    assert only.scores[0].expected_views in expected


def test_a_word_and_a_host_have_the_shares_of_all_their_titles(places):
    lake = open_lake(places)
    each = softmax_shares(lake, places)
    for kind, text in (("word", "Tea"), ("host", "TEA.example")):
        found = propensity(lake, kind, text)
        assert found.num_titles == 2
        for score in found.scores:
            shares = each[score.user_id]
            both = shares["tea"] + shares["green tea"]
            assert score.share == pytest.approx(both, rel=1e-4, abs=1e-12)


def test_a_title_that_nobody_has_viewed_is_read_by_its_words(places):
    lake = open_lake(places)
    found = propensity(lake, "title", "tea shoes")
    assert found.num_titles == 1
    assert all(0 <= s.share <= 1 for s in found.scores)
    with pytest.raises(BadInput, match="--word 'coffee': no title in the lake has it"):
        propensity(lake, "word", "coffee")
    with pytest.raises(BadInput, match="--title ' ': no title"):
        propensity(lake, "title", " ")


def test_the_command_answers_people_and_programs(places, capsys):
    assert main(["forecast", "ann"]) == 0
    assert "forecasts of m1 as of 2026-01-07, 1 users" in capsys.readouterr().out
    assert main(["forecast", "--by", "views_28_days", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [u["user_id"] for u in answer["users"]] == ["ann", "bob"]
    assert main(["forecast", "--csv", "--all"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["no_view_7_days"]) for row in rows] == pytest.approx([0.9, 0.1])
    assert main(["forecast", "--word", "tea", "-k", "1", "--csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["percentile"] == "0.5"
    assert main(["forecast", "--host", "tea.example"]) == 0
    assert 'propensity for host "tea.example" (2 titles) of 2 users' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nobody"], 4, "no vector of nobody under m1"),
        (["--word", "tea", "--host", "tea.example"], 2, "one of --word and --host at a time"),
        (["-k", "0"], 2, "ask for one user or more"),
        (["--json", "--csv"], 2, "say --json or --csv, not both"),
        (["--by", "luck"], 2, "'luck' is not one of no_view_7_days"),
        (["--host", "no.example"], 2, "--host 'no.example': no title in the lake has it"),
    ],
)
def test_what_cannot_be_answered_is_one_line(places, capsys, words, code, message):
    assert main(["forecast", *words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_model_without_forecasts_is_named_and_still_scores_titles(places, capsys):
    other = open_lake(places).embeddings()["ann"].tolist()
    write(places, "user_embeddings", [embedding("ann", DAY, other, model="m2")])
    save(places, "m2")
    lake = open_lake(places)
    with pytest.raises(MissingTable, match=r"m2 has made no forecasts.*without the task next_per"):
        forecasts(lake, model_id="m2")
    (score,) = propensity(lake, "word", "tea", model_id="m2").scores
    assert (score.expected_views, score.chance, score.percentile) == (None, None, 0)
    assert 0 <= score.share <= 1
