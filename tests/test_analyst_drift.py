import json
from datetime import date
from xml.etree import ElementTree

import numpy as np
import pytest
from small_lake import embedding, publish, write

from analyst import Vectors, open_lake
from analyst.questions.drift import drift
from analyst.vectors.population_drift import energy_distances, population_drift
from contracts.errors import BadInput
from userbert.cli import main

MONDAY, TUESDAY, FRIDAY = date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 9)


@pytest.fixture
def places(places):
    """Ann turns by a right angle, Bob turns a little, Cat stays, Dan is new."""
    publish(
        places,
        [
            embedding("ann", MONDAY, [1, 0]),
            embedding("bob", MONDAY, [1, 0]),
            embedding("cat", MONDAY, [0, 7]),
            embedding("ann", TUESDAY, [0, 2]),
            embedding("bob", TUESDAY, [4, 3]),
            embedding("dan", TUESDAY, [1, 0]),
        ],
    )
    return places


def day(matrix, first=0):
    users = np.array([f"u{i:04d}" for i in range(first, first + len(matrix))])
    days = np.full(len(matrix), np.datetime64(MONDAY))
    return Vectors("m1", MONDAY, users, days, np.asarray(matrix, np.float32))


def test_who_moved_how_far_counts_those_embedded_anew(places):
    found = drift(open_lake(places), MONDAY, FRIDAY)
    assert (found.users_from, found.users_to, found.in_both, found.embedded_anew) == (3, 4, 3, 2)
    assert found.moved_most == [("ann", pytest.approx(1)), ("bob", pytest.approx(0.2))]
    assert found.moves.mean == pytest.approx(0.6)
    assert found.moves.quantiles["0.5"] == pytest.approx(0.6)
    old, new = np.array([2 / 3, 1 / 3]), np.array([1.8 / 4, 2.6 / 4])
    assert found.mean_shift == pytest.approx(np.linalg.norm(new - old))


def test_the_verdict_is_a_sentence_with_what_chance_makes():
    spread = np.random.default_rng(0).standard_normal((120, 4))
    moved = population_drift(day(spread), day(spread + np.array([0, 2, 0, 0])))
    still = population_drift(day(spread), day(spread, first=120))
    assert moved.verdict.startswith("The population moved: the energy distance between the days")
    assert f"95 of 100 stayed below {moved.by_lot_95:.4f} (p 0.0025)" in moved.verdict
    assert still.verdict.startswith("No sign that the population moved")


def test_nobody_embedded_anew_has_not_moved(places):
    found = drift(open_lake(places), TUESDAY, FRIDAY)
    assert (found.embedded_anew, found.moves, found.moved_most) == (0, None, [])
    assert found.population.energy_distance == pytest.approx(0)
    assert found.population.p == 1


def test_the_energy_distance_is_what_its_formula_says():
    places = np.array([0.0, 2.0, 5.0])  # X is 0 and 2, Y is 5
    distances = np.abs(places[:, None] - places)
    expected = 2 * (5 + 3) / 2 - (0 + 2 + 2 + 0) / 4 - 0
    assert energy_distances(distances, np.array([[1.0, 1.0, -1.0]])) == pytest.approx([expected])


def test_a_population_that_turns_differs_from_one_whose_users_only_jitter():
    rng = np.random.default_rng(0)
    base = rng.standard_normal((200, 8))
    jittered = [base + 0.3 * rng.standard_normal(base.shape) for _ in range(2)]
    turned = jittered[1] + 0.2 * np.eye(8)[0]
    assert population_drift(day(jittered[0]), day(jittered[1])).p > 0.05
    assert population_drift(day(jittered[0]), day(turned)).p < 0.01


def test_two_halves_of_other_users_do_not_differ():
    points = np.random.default_rng(1).standard_normal((200, 8))
    found = population_drift(day(points[:120]), day(points[120:], first=120))
    assert found.p > 0.05
    assert 0 < found.by_lot_median < found.by_lot_95


def test_equal_vectors_give_an_equal_answer(places):
    assert drift(open_lake(places), MONDAY, TUESDAY) == drift(open_lake(places), MONDAY, TUESDAY)


def test_days_must_be_in_order_and_of_one_model(places):
    with pytest.raises(BadInput, match="--from 2026-01-09 must be before"):
        drift(open_lake(places), FRIDAY, MONDAY)
    write(places, "user_embeddings", [embedding("ann", TUESDAY, [5], model="m2")])
    with pytest.raises(LookupError, match=r"m2 as of 2026-01-05; it has m1 .* m2 from 2026-01-06"):
        drift(open_lake(places), MONDAY, TUESDAY, model_id="m2")


def test_drift_is_printed_and_drawn(places, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    days = ["drift", "--from", str(MONDAY), "--to", str(TUESDAY)]
    picture = tmp_path / "drift.svg"
    assert main([*days, "--picture", str(picture)]) == 0
    assert "3 (100.0% of the first)" in capsys.readouterr().out
    svg = "{http://www.w3.org/2000/svg}"
    drawn = ElementTree.fromstring(picture.read_text())
    dots = drawn.findall(f".//{svg}g[@id='PathCollection_1']//{svg}use")
    assert len(dots) == 3  # of the users of both days, and as many of the later one
    texts = [text.text for text in drawn.iter(f"{svg}text")]
    assert "2 embedded anew" in " ".join(filter(None, texts))
    first = picture.read_bytes()
    assert main([*days, "--picture", str(picture)]) == 0
    assert picture.read_bytes() == first
    assert b"http" not in first.replace(b"http://www.w3.org/", b"")  # names, no addresses
    assert main([*days, "--picture", str(tmp_path / "drift.png")]) == 0
    capsys.readouterr()
    assert main([*days, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["in_both"] == 3
    assert main([*days, "--picture", "drift.gif"]) == 2
