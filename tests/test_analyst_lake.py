import json
import shutil
from datetime import date

import numpy as np
import pytest
from deltalake import DeltaTable, write_deltalake
from small_lake import embedding, publish, vector, write

from analyst import TwoModels, TwoSpaces, open_lake
from analyst.questions.across_models import compare_across_models
from contracts.errors import BadInput, MissingTable
from contracts.vectors import SPACE_ANGLE, own_space

MONDAY, TUESDAY, FRIDAY = date(2026, 1, 5), date(2026, 1, 6), date(2026, 1, 9)


@pytest.fixture
def lake(places):
    """Ann on Monday and Tuesday, Bob on Monday alone; Ann also under another model."""
    rows = [
        embedding("bob", MONDAY, [0, 2]),
        embedding("ann", MONDAY, [1, 0]),
        embedding("ann", TUESDAY, [3, 4]),
    ]
    publish(places, rows)
    write(places, "user_embeddings", [embedding("ann", MONDAY, [9, 9], model="m2")])
    return open_lake(places)


def test_each_user_has_the_newest_vector_under_the_champion(lake):
    found = lake.embeddings()
    assert (found.model_id, found.as_of) == ("m1", TUESDAY)
    assert found.user_ids.tolist() == ["ann", "bob"]
    assert found.days.tolist() == [TUESDAY, MONDAY]
    assert found["ann"].tolist() == vector(3, 4)
    assert found.norms.tolist() == [5, 2]
    assert found.matrix.shape == (2, 256)
    assert found.matrix.dtype == np.float32


def test_nothing_from_after_the_day_is_seen(lake):
    assert lake.embeddings(as_of=MONDAY)["ann"].tolist() == vector(1, 0)
    assert lake.embeddings(as_of=FRIDAY)["ann"].tolist() == vector(3, 4)
    with pytest.raises(MissingTable, match="it has m1 from 2026-01-05 to 2026-01-06"):
        lake.embeddings(as_of=date(2026, 1, 1))


def test_another_model_is_opened_by_its_name(lake):
    assert lake.embeddings("m2")["ann"].tolist() == vector(9, 9)
    with pytest.raises(MissingTable, match="no vector of m3"):
        lake.embeddings("m3")


def test_vectors_of_two_models_do_not_meet(lake):
    a, b = lake.embeddings(as_of=MONDAY).take(["ann"]), lake.embeddings("m2")
    for meet in (
        lambda: a.cosine(b),
        lambda: a - b,
        lambda: a + b,
        lambda: np.vdot(a, b),
        lambda: np.vstack([a, b]),
        lambda: np.concatenate((a, b)),
        lambda: np.stack(arrays=[a, b]),
        lambda: a.aligned(b),
    ):
        with pytest.raises(TwoSpaces, match=r"(?s)m1 and m2 .* backfill plan .*neighbors_kept"):
            meet()
    with pytest.raises(TwoSpaces):
        compare_across_models(lake, a, b, expected_error=2.0)


def test_two_models_of_one_space_are_compared_by_whoever_names_the_error(places):
    publish(places, [embedding("ann", MONDAY, [1, 0]), embedding("bob", MONDAY, [1, 0])])
    write(places, "user_embeddings", [embedding("ann", MONDAY, [1, 1], model="m2")])
    aligned = {"measures": json.dumps({SPACE_ANGLE: 30.0}), "space_id": own_space("m1")}
    founder = {"measures": "{}", "space_id": own_space("m1"), "status": "champion"}
    write(places, "models", [{"model_id": "m1", **founder}, {"model_id": "m2", **aligned}])
    lake = open_lake(places)
    old, new = lake.embeddings(), lake.embeddings("m2")
    for meet in (lambda: old.cosine(new), lambda: np.vstack([old.take(["ann"]), new])):
        with pytest.raises(TwoModels, match=r"of one space, space-m1.*expected_error") as refused:
            meet()
        assert not isinstance(refused.value, TwoSpaces)
    with pytest.raises(BadInput, match=r"up to 0\.134.*expected_error is 0\.1"):
        compare_across_models(lake, old, new, expected_error=0.1)
    found = compare_across_models(lake, old, new, expected_error=0.2)
    assert found.user_ids.tolist() == ["ann"]
    assert found.cosine.tolist() == pytest.approx([0.5**0.5])
    assert found.alignment_error == pytest.approx(0.134, abs=1e-3)


def test_vectors_of_one_model_do(lake):
    old, new = lake.embeddings(as_of=MONDAY), lake.embeddings()
    assert old.cosine(new).tolist() == pytest.approx([0.6, 1])
    assert (new - old)[0].tolist() == vector(2, 4)
    assert np.vstack([old, new]).shape == (4, 256)
    assert (2 * old)[1].tolist() == vector(0, 4)
    with pytest.raises(BadInput, match=r"not of the same users.*a\.aligned\(b\)"):
        old - new.take(["ann"])


def test_users_without_a_vector_are_named(lake):
    assert "ann" in lake.embeddings()
    assert "eve" not in lake.embeddings()
    with pytest.raises(MissingTable, match="no vector of eve, zoe under m1 as of 2026-01-06"):
        lake.embeddings().take(["zoe", "ann", "eve"])


def test_the_copy_is_made_once_and_again_when_the_table_changes(lake, places):
    assert lake.snapshot().built
    again = open_lake(places).snapshot()
    assert not again.built
    publish(places, [embedding("cat", TUESDAY, [1, 1])])
    assert "cat" not in lake.embeddings()
    newer = open_lake(places).snapshot()
    assert newer.built
    assert "cat" in newer.vectors
    assert not again.folder.exists()


def test_two_champions_are_refused(places):
    write(places, "published_embeddings", [embedding("ann", MONDAY, [1])])
    write(places, "published_embeddings", [embedding("bob", MONDAY, [1], model="m2")])
    with pytest.raises(BadInput, match="vectors of two models, m1 and m2"):
        open_lake(places).embeddings()


def test_tables_are_attributes_and_a_missing_one_is_named(lake):
    assert lake.user_embeddings.aggregate("count(*)").fetchone() == (4,)
    assert lake.sql("SELECT user_id FROM user_embeddings_latest ORDER BY 1").fetchall() == [
        ("ann",),
        ("bob",),
    ]
    with pytest.raises(AttributeError, match="the lake has no sessions; it has published_emb"):
        _ = lake.sessions


def test_the_view_as_of_a_day_takes_a_model(lake):
    question = "SELECT user_id, as_of, embedding[1] FROM user_embeddings_as_of(DATE '{}'{})"
    monday = lake.sql(question.format(MONDAY, "") + " ORDER BY user_id").fetchall()
    assert monday == [("ann", MONDAY, 1), ("bob", MONDAY, 0)]
    other = lake.sql(question.format(FRIDAY, ", 'm2'")).fetchall()
    assert other == [("ann", MONDAY, 9)]


def test_the_view_as_of_a_day_names_the_space_of_another_model_too(places, lake):
    """m2 was aligned with m1, as `models` says."""
    question = "SELECT DISTINCT space_id FROM user_embeddings_as_of(DATE '{}'{})"
    assert lake.sql(question.format(FRIDAY, ", 'm2'")).fetchall() == [("space-m2",)]
    write(places, "models", [{"model_id": "m2", "space_id": "space-m1"}, {"model_id": "m1"}])
    aligned = open_lake(places)
    for model in ("", ", 'm1'", ", 'm2'"):
        assert aligned.sql(question.format(FRIDAY, model)).fetchall() == [("space-m1",)]


def test_a_column_that_an_older_lake_lacks_has_its_default_or_null_until_a_job_adds_it(places):
    row = embedding("ann", MONDAY, [3, 4])
    publish(places, [row])
    folder = f"{places.lake}/published_embeddings"
    older = DeltaTable(folder).to_pyarrow_table().drop_columns(["views_28_days", "space_id"])
    shutil.rmtree(folder)
    write_deltalake(folder, older)
    lake = open_lake(places)
    latest = "SELECT user_id, views_28_days, space_id FROM user_embeddings_latest"
    assert lake.sql(latest).fetchall() == [("ann", None, "space-m1")]
    assert lake.embeddings()["ann"].tolist() == vector(3, 4)


def test_a_lake_without_vectors_says_what_to_run(places):
    with pytest.raises(MissingTable, match="userbert models promote"):
        open_lake(places).embeddings()
    with pytest.raises(MissingTable, match="lake has no user_embeddings"):
        open_lake(places).embeddings("m1")
