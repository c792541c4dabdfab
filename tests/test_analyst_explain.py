import json
from datetime import date

import numpy as np
import pytest
import torch
from small_lake import embedding, publish, views, write
from small_model import DAY, TITLES, save

from analyst import open_lake
from analyst.lake_access.registered_models import load_registered_model
from analyst.questions.explain import (
    explain_vector,
    read_sequence,
    weigh_views,
)
from contracts.errors import MissingTable
from model.data.ragged import Ragged
from model.inference.vectors import to_numpy, user_vectors
from model.layers.packed_histories import PackedHistories
from model.layers.packed_sequences import Layout
from model.storage import checkpoint
from userbert.cli import main


@pytest.fixture
def places(places):
    """Ann views red shoes, tea, green tea, tea, and a title that `titles` lacks."""
    write(
        places,
        "titles",
        [{"title_id": i, "title": t, "words": t.split()} for i, t in TITLES.items()],
    )
    write(places, "user_sequences", [views("ann", DAY, 11, 33, 22, 33, 99), views("bob", DAY, 22)])
    return places


def embed(places, model, user="ann"):
    """The vector as the embedding job makes it."""
    write(places, "user_embeddings", [embedding(user, DAY, [1], model=model)])
    lake = open_lake(places)
    sequence, _ = read_sequence(lake, user, DAY)
    return weigh_views(load_registered_model(lake, model), sequence, DAY).vector


def stored(places, model, user="ann"):
    vector = embed(places, model, user)
    publish(places, [embedding(user, date(2026, 1, 7), vector.tolist(), model=model)])
    write(places, "user_sequences", [views(user, date(2026, 1, 7), 11, 33, 22, 33, 99)])
    return open_lake(places)


@pytest.mark.parametrize("aggregator", ["attentive", "max", "average", "last"])
@pytest.mark.parametrize("behavior", ["cnn", "id"])
def test_the_weights_are_the_aggregators(places, behavior, aggregator):
    save(places, "m1", behavior_encoder=behavior, aggregator=aggregator)
    found = explain_vector(stored(places, "m1"), "ann")
    assert (found.num_views, found.unknown_titles, found.aggregator) == (4, 1, aggregator)
    assert found.is_the_stored_vector
    weights = [view.weight for view in found.views]
    assert sum(weights) == pytest.approx(1)
    assert weights == sorted(weights, reverse=True)
    if aggregator == "average":
        assert weights == pytest.approx([0.25] * 4)
    if aggregator == "last":
        assert weights == [1, 0, 0, 0]
        assert [view.title for view in found.views] == ["tea", "green tea", "tea", "red shoes"]


def test_moves_are_how_far_the_vector_is_without_the_view(places):
    save(places, "m1")
    embed(places, "m1")
    lake = open_lake(places)
    trained, (sequence, _) = load_registered_model(lake, "m1"), read_sequence(lake, "ann", DAY)
    weighed = weigh_views(trained, sequence, DAY)
    shorter = {
        name: np.delete(np.array(part, object), 1).tolist() for name, part in vars(sequence).items()
    }
    arrays = {name: np.array(shorter[name], np.int64) for name in ("title_ids", "micros")}
    without = weigh_views(trained, type(sequence)(**shorter | arrays), DAY).vector
    vector = weighed.vector
    cosine = vector @ without / np.linalg.norm(vector) / np.linalg.norm(without)
    (nth,) = np.flatnonzero(weighed.places == 1)
    assert weighed.moves[nth] == pytest.approx(1 - cosine, abs=1e-6)
    assert len(weighed.weights) == len(weighed.moves) == 4


@pytest.mark.parametrize("form", ["window", "memory"])
def test_titles_are_summed_over_their_views(places, form):
    """Ann views tea twice."""
    save(places, "m1", form=form)
    found = explain_vector(stored(places, "m1"), "ann")
    assert {t.title: t.views for t in found.titles} == {"red shoes": 1, "green tea": 1, "tea": 2}
    assert sum(t.weight for t in found.titles) == pytest.approx(1)
    tea = next(t for t in found.titles if t.title == "tea")
    assert tea.weight == pytest.approx(sum(v.weight for v in found.views if v.title == "tea"))
    assert tea.last_viewed_at == max(v.viewed_at for v in found.views if v.title == "tea")
    by_title = {t.title: t.moves for t in found.titles}
    alone = {v.title: v.moves for v in found.views if v.title != "tea"}
    assert {t: by_title[t] for t in alone} == pytest.approx(alone)
    sequence, _ = read_sequence(open_lake(places), "ann", date(2026, 1, 7))
    keep = [place for place, title in enumerate(sequence.titles) if title != "tea"]
    shorter = {name: [part[p] for p in keep] for name, part in vars(sequence).items()}
    arrays = {name: np.array(shorter[name], np.int64) for name in ("title_ids", "micros")}
    trained = load_registered_model(open_lake(places), "m1")
    day = date(2026, 1, 7)
    full = weigh_views(trained, sequence, day).vector
    without = weigh_views(trained, type(sequence)(**shorter | arrays), day).vector
    cosine = full @ without / np.linalg.norm(full) / np.linalg.norm(without)
    assert tea.moves == pytest.approx(1 - cosine, abs=1e-6)


def test_the_only_title_of_a_user_has_no_move(places):
    write(places, "user_sequences", [views("cat", DAY, 33, 33)])
    save(places, "m1")
    publish(places, [embedding("cat", DAY, [1])])
    (only,) = explain_vector(open_lake(places), "cat").titles
    assert (only.title, only.views, only.weight, only.moves) == ("tea", 2, pytest.approx(1), None)


def test_a_model_of_the_memory_form_is_explained_as_of_the_day_of_the_vector(places):
    """Ann's views are a minute apart, so each weighs a little more than the one before."""
    save(places, "m1", form="memory")
    lake = stored(places, "m1")  # of the same minutes, a day later, and so of the same ages
    found = explain_vector(lake, "ann", k=2)
    assert found.is_the_stored_vector
    assert found.aggregator == "decayed sums"
    assert found.num_views == 4
    assert len(found.views) == 2
    assert all(view.moves > 0 for view in found.views)
    sequence, _ = read_sequence(lake, "ann", DAY)
    trained = load_registered_model(lake, "m1")
    today, later = (weigh_views(trained, sequence, day) for day in (DAY, date(2026, 2, 6)))
    assert today.weights.sum() == pytest.approx(1)
    assert not np.allclose(today.vector, later.vector, atol=1e-3)  # a month has passed


def test_views_that_the_model_does_not_read_are_not_explained(places):
    save(places, "m1", max_views=3)
    publish(places, [embedding("ann", DAY, [1])])
    found = explain_vector(open_lake(places), "ann")
    assert found.num_views == len(found.views) == 3
    assert [view.title for view in found.views].count("red shoes") == 0  # the oldest


def test_the_weighted_sum_of_the_states_is_the_vector(places):
    save(places, "m1")
    model = checkpoint.load_model(places.models / "m1").model
    titles = np.random.default_rng(0).standard_normal((5, 256)).astype(np.float32)
    rows = torch.from_numpy(titles)
    with torch.no_grad():
        states, users = model.encode_users(rows, torch.tensor([2, 3]))
        weights = model.view_weights(PackedHistories(rows, torch.tensor([2, 3])))
        again = Layout(torch.tensor([2, 3]), rows.device).sum(states, weights)
    torch.testing.assert_close(again, users)
    alone = to_numpy(user_vectors(model, titles, Ragged.of([[0, 1], [2, 3, 4]])))
    np.testing.assert_allclose(alone, users.numpy(), atol=1e-6)


def test_a_vector_that_is_not_the_models_is_named(places, monkeypatch, capsys):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    save(places, "m1")
    publish(places, [embedding("ann", DAY, [1]), embedding("bob", DAY, [1])])
    assert main(["explain", "ann", "-k", "2"]) == 0
    out = capsys.readouterr().out
    assert "CAUTION: made again" in out
    assert "weighed by its attentive aggregator" in out
    assert main(["explain", "bob", "--each-view", "--csv"]) == 0
    assert capsys.readouterr().out.startswith("title,viewed_at_(UTC),weight,moves\ngreen tea,")
    assert main(["explain", "bob", "--json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)["views"]
    assert (only["title"], only["weight"], only["moves"]) == ("green tea", 1, None)


def test_what_is_missing_is_named(places):
    publish(places, [embedding("ann", DAY, [1]), embedding("eve", DAY, [1])])
    with pytest.raises(MissingTable, match="holds no model"):
        explain_vector(open_lake(places), "ann")
    with pytest.raises(MissingTable, match="no views of eve as of 2026-01-06"):
        explain_vector(open_lake(places), "eve")


def test_a_copied_root_reads_its_own_models_and_not_those_of_the_root_it_was_copied_from(places):
    """`models` names the place where a model was registered."""
    registered = places.root / "before" / "models" / "m1"
    for name in ("m1", "m2"):
        row = {"model_id": name, "path": str(registered.with_name(name)), "status": "candidate"}
        write(places, "models", [row | {"settings": "{}", "inputs": "{}", "measures": "{}"}])
    lake = open_lake(places)
    for folder in (registered, places.models / "m1"):
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
    assert lake.model_folder("m1") == places.models / "m1"
    assert lake.model_folder("m2") == registered.with_name("m2")  # it is nowhere here
    assert lake.model_folder("never registered") == places.models / "never registered"
