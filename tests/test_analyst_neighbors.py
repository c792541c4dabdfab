import json
from datetime import date

import numpy as np
import pytest
from small_lake import embedding, publish, views, write

from analyst import Vectors, open_lake
from analyst.questions.cohort import cohort
from analyst.questions.neighbors import neighbors
from analyst.vectors.model_space import BLOCK_ROWS
from analyst.vectors.search import nearest_rows, neighbors_kept_between
from contracts.errors import BadInput, MissingTable
from userbert.cli import main

MONDAY, TUESDAY = date(2026, 1, 5), date(2026, 1, 6)


@pytest.fixture
def places(places):
    """East, and ever more to the north; far is long, and its direction alone counts."""
    publish(
        places,
        [
            embedding("east", TUESDAY, [1, 0]),
            embedding("near", TUESDAY, [4, 3]),
            embedding("far", MONDAY, [30, 40]),
            embedding("north", TUESDAY, [0, 1]),
            embedding("twin", TUESDAY, [8, 6]),
        ],
    )
    write(
        places,
        "user_sequences",
        [
            views("east", TUESDAY, 1, 1, 2),
            views("near", TUESDAY, 2, 3, 2),
            views("far", MONDAY, 3),
            views("far", TUESDAY, 1),
            views("north", TUESDAY, 3),
            views("twin", TUESDAY, 2),
        ],
    )
    names = {1: "red shoes", 2: "green tea", 3: "rain"}
    titles = [{"title_id": i, "title": t, "words": t.split()} for i, t in names.items()]
    write(places, "titles", titles)
    return places


def vectors(matrix):
    """Users u0, u1, ... in the order of the rows."""
    users = np.array([f"u{i:06d}" for i in range(len(matrix))])
    days = np.full(len(matrix), np.datetime64(MONDAY))
    return Vectors("m1", MONDAY, users, days, np.asarray(matrix, np.float32))


def test_nearest_come_first_and_ties_go_by_user(places):
    found = neighbors(open_lake(places), "east", k=9)
    assert [(n.user_id, round(n.cosine, 6)) for n in found.neighbors] == [
        ("near", 0.8),
        ("twin", 0.8),
        ("far", 0.6),
        ("north", 0),
    ]
    assert (found.searched, found.model_id, found.as_of) == (5, "m1", TUESDAY)


def test_what_was_viewed_lately_comes_from_the_sequence_behind_the_vector(places):
    found = neighbors(open_lake(places), "east")
    assert found.recent_titles == ["green tea", "red shoes"]
    answer = {n.user_id: n.recent_titles for n in found.neighbors}
    assert answer["near"] == ["green tea", "rain"]
    assert answer["far"] == ["rain"]  # of Monday, as its vector; Tuesday's sequence is another


def test_what_two_neighbors_viewed_both_stands_with_its_weight(places):
    """Of five users with a vector, four viewed green tea, three rain, and east alone red shoes."""
    answer = {n.user_id: n for n in neighbors(open_lake(places), "near").neighbors}
    weights = {title: np.log(6 / (viewers + 0.5)) for title, viewers in (("tea", 3), ("rain", 3))}
    near = np.array([(1 + np.log(2)) * weights["tea"], weights["rain"]])
    near /= np.linalg.norm(near)
    (common,) = answer["twin"].common_titles
    assert (common.title, common.views, common.neighbor_views) == ("green tea", 2, 1)
    assert common.weight == pytest.approx(near[0])
    assert answer["twin"].overlap == pytest.approx(near[0])
    assert answer["north"].overlap == pytest.approx(near[1])
    assert [t.title for t in answer["far"].common_titles] == ["rain"]
    nothing = {n.user_id: n for n in neighbors(open_lake(places), "north").neighbors}
    assert (nothing["twin"].overlap, nothing["twin"].common_titles) == (0, [])


def test_titles_stand_as_most_lines_have_them(places):
    spellings = ("Green Tea", "GREEN tea", "Green Tea")
    lines = [{"title_id": 2, "title": title, "log_id": n} for n, title in enumerate(spellings)]
    write(places, "browsing_logs", lines)
    (first, *_) = neighbors(open_lake(places), "near").neighbors
    assert [(t.title, t.written) for t in first.common_titles] == [("green tea", "Green Tea")]
    assert "green tea" in first.recent_titles
    assert "Green Tea" in first.recent_written
    assert len(first.recent_written) == len(first.recent_titles)
    marks = cohort(open_lake(places), ["near", "twin"], k=2).marks
    assert [mark.written for mark in marks] == ["Green Tea", ""]


def test_an_earlier_day_knows_nothing_of_later_vectors(places):
    found = neighbors(open_lake(places), "far", as_of=MONDAY)
    assert (found.neighbors, found.searched) == ([], 1)


def test_the_search_finds_what_a_plain_search_in_double_precision_finds():
    rng = np.random.default_rng(0)
    many = vectors(rng.standard_normal((2 * BLOCK_ROWS + 5, 8)).astype(np.float32))
    queries = rng.standard_normal((3, 8)).astype(np.float32)
    units = many.matrix.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    plain = units @ (queries / np.linalg.norm(queries, axis=1, keepdims=True)).T
    found = nearest_rows(many, queries, 7)
    np.testing.assert_array_equal(found.rows, np.argsort(-plain, axis=0)[:7].T)
    np.testing.assert_allclose(found.cosine, np.sort(plain, axis=0)[::-1][:7].T, atol=1e-6)


def test_many_equal_users_come_in_their_order_wherever_they_lie():
    alike = vectors(np.tile(np.float32([0.1, 0.7, 0.3]), (BLOCK_ROWS + 100, 1)))
    found = nearest_rows(alike, alike.matrix[:1], 4, leave_out=np.array([1]))
    assert found.rows.tolist() == [[0, 2, 3, 4]]
    assert found.cosine.tolist() == [pytest.approx([1] * 4)]


def test_two_models_are_compared_by_the_neighbors_they_keep():
    line = vectors([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]])
    turned = vectors(line.matrix[:, ::-1])  # another space, the same neighborhoods
    assert neighbors_kept_between(line, turned, k=1) == 1
    assert neighbors_kept_between(line, vectors([[1, 0], [0, 1], [0.9, 0.1], [0.1, 0.9]]), k=1) == 0
    with pytest.raises(BadInput, match="share 1 users"):
        neighbors_kept_between(line, vectors([[1, 0]]))


def test_a_cohort_has_a_tightness_a_neighborhood_and_marks(places):
    found = cohort(open_lake(places), ["near", "twin", "near"], k=2)
    assert (found.users, found.tightness) == (2, pytest.approx(1))
    assert found.others == pytest.approx((0.8 + 0.96 + 0.6) / 3)
    assert [n.user_id for n in found.nearest_outside] == ["far", "east"]
    assert [n.cosine for n in found.nearest_outside] == pytest.approx([0.96, 0.8])
    tea, rain = found.marks
    assert (tea.title, tea.viewed_inside, tea.viewed_outside) == ("green tea", 2, 1)
    assert tea.log_odds == pytest.approx(np.log(2.5 / 0.5) - np.log(1.5 / 2.5))
    assert (rain.title, rain.viewed_inside, rain.viewed_outside) == ("rain", 1, 2)
    assert rain.log_odds == pytest.approx(np.log(1.5 / 1.5) - np.log(2.5 / 1.5))


def test_a_long_vector_does_not_rule_the_centroid(places):
    found = cohort(open_lake(places), ["east", "far"])
    assert dict(found.least_typical)["east"] == pytest.approx(dict(found.least_typical)["far"])


def test_a_cohort_may_come_from_a_file(places, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    (tmp_path / "users.txt").write_text("\ufeffnear\n\n# like him\n twin \n")
    assert main(["cohort", "--file", str(tmp_path / "users.txt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["users"] == 2
    assert main(["cohort"]) == 2
    assert "no user is named" in capsys.readouterr().err
    assert main(["cohort", "near", "eve"]) == MissingTable.exit_code
    assert "no vector of eve" in capsys.readouterr().err


def test_neighbors_are_printed_as_a_table_and_as_json(places, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    assert main(["neighbors", "east", "-k", "1"]) == 0
    assert "green tea · red shoes" in capsys.readouterr().out
    assert main(["neighbors", "east", "-k", "1", "--json", "--as-of", "2026-01-06"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["as_of"] == "2026-01-06"
    assert answer["neighbors"][0]["user_id"] == "near"
    assert main(["neighbors", "east", "-k", "1", "--csv"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "user,cosine,vector_of,overlap,viewed_by_both,viewed_lately",
        f"near,0.8,2026-01-06,{answer['neighbors'][0]['overlap']},green tea,green tea · rain",
    ]
    assert main(["neighbors", "east", "-k", "0"]) == 2
    assert main(["neighbors", "east", "--json", "--csv"]) == 2
