import csv
import io
import json
from datetime import date

import numpy as np
import pytest
from small_lake import embedding, publish, views, write

from analyst import open_lake
from analyst.questions.clusters import clusters
from userbert.cli import main

DAY = date(2026, 1, 6)
TITLES = {1: "red <b>shoes</b>", 2: "green tea"}


@pytest.fixture
def places(places):
    """Twelve users to the east view shoes, eight to the north view tea."""
    east = [f"east {n:02}" for n in range(12)]
    north = [f"north {n:02}" for n in range(8)]
    publish(places, [embedding(u, DAY, [20 + n, 1]) for n, u in enumerate(east)])
    publish(places, [embedding(u, DAY, [0, 1 + n, 1]) for n, u in enumerate(north)])
    sequences = [*(views(u, DAY, 1) for u in east), *(views(u, DAY, 2) for u in north)]
    write(places, "user_sequences", sequences)
    titles = [{"title_id": i, "title": t, "words": t.split()} for i, t in TITLES.items()]
    write(places, "titles", titles)
    write(places, "browsing_logs", [{"title_id": 1, "title": "Red <b>Shoes</b>"}])
    return places


def test_clusters_are_named_by_the_titles_that_mark_them(places):
    found = clusters(open_lake(places), k=2)
    assert [(c.number, c.users, c.name) for c in found.clusters] == [
        (1, 12, "Red <b>Shoes</b>"),
        (2, 8, "green tea"),
    ]
    assert found.numbers["east 00"] == 1
    assert found.numbers["north 07"] == 2
    assert all(0.9 < c.tightness <= 1.0001 for c in found.clusters)
    assert clusters(open_lake(places), k=2) == found


def test_fewer_directions_than_clusters_give_fewer_clusters(places):
    publish(places, [embedding("far", date(2026, 1, 7), [0, 0, 0, 5])])
    assert len(clusters(open_lake(places), k=500).clusters) <= 21


def test_what_users_view_is_grouped_and_not_how_much_where_the_model_keeps_the_two_apart(places):
    """The first two floats are the activity of both; with them the clusters would be others."""
    settings = json.dumps({"model": {"form": "memory", "activity_width": 2}})
    write(places, "models", [{"model_id": "m2", "settings": settings}])
    rows = [
        embedding(f"u{n}", DAY, [100 * (n % 3), 50, *vector], model="m2")
        for n, vector in enumerate(np.repeat([[1.0, 0], [0, 1.0]], 5, axis=0).tolist())
    ]
    write(places, "user_embeddings", rows)
    found = clusters(open_lake(places), k=2, model_id="m2")
    assert [found.numbers[f"u{n}"] for n in range(10)] == [1] * 5 + [2] * 5
    assert found.clusters[0].name == "cluster 1, which no title marks"


def test_the_command_prints_names_or_a_line_a_user(places, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    assert main(["clusters", "-k", "2"]) == 0
    assert "Red <b>Shoes</b>" in capsys.readouterr().out
    assert main(["clusters", "-k", "2", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 20
    assert rows[0] == {"user_id": "east 00", "cluster": "1", "name": "Red <b>Shoes</b>"}
    assert main(["clusters", "-k", "0"]) == 2


def test_a_notebook_shows_lake_and_vectors_and_data_is_no_markup(places):
    lake = open_lake(places)
    assert "<td>user_sequences</td>" in lake._repr_html_()
    publish(places, [embedding("<script>", DAY, [1])])
    shown = open_lake(places).embeddings()._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert "<td>21</td>" in shown
