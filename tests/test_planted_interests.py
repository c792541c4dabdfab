"""Are near users alike? Figures on users that can be counted in the head."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_lake import embedding, views, write
from small_model import TITLES, save

from analyst import open_lake
from contracts.errors import BadInput, MissingTable
from contracts.terminal.command_line import parse_options
from experiments import planted_interests
from experiments.planted_interests import (
    current_interests,
    interest_agreement,
    main,
    stored_vectors,
    vectors_named,
)
from landing.synthetic.generate import Settings, generate_logs

# Anna and Ben ride bikes, Cleo and Dan bake; Dan also rides a little.
INTERESTS = {
    "anna": {"bikes": 1.0},
    "ben": {"bikes": 0.6, "tea": 0.4},
    "cleo": {"bread": 1.0},
    "dan": {"bread": 0.8, "bikes": 0.2},
}
USERS = list(INTERESTS)
ALIKE = np.array([[1, 0], [2, 0.1], [0, 3], [0.1, 1]], np.float32)  # by main interest
UNLIKE = ALIKE[[0, 2, 1, 3]]


def test_near_users_who_are_alike_agree():
    found = interest_agreement(USERS, ALIKE, INTERESTS, k=1)
    assert found.near["shared"] == 1
    assert found.near["same_main"] == 1
    assert found.near["overlap"] == pytest.approx((0.6 + 0.6 + 0.8 + 0.8) / 4)


def test_chance_is_the_mean_over_all_pairs():
    """Of six pairs, anna-ben, anna-dan, ben-dan and cleo-dan have something in common."""
    for vectors in (ALIKE, UNLIKE):
        chance = interest_agreement(USERS, vectors, INTERESTS, k=1).chance
        assert chance["shared"] == pytest.approx(4 / 6)
        assert chance["same_main"] == pytest.approx(2 / 6)
        assert chance["overlap"] == pytest.approx((0.6 + 0.2 + 0.2 + 0.8) / 6)


def test_near_users_who_are_not_alike_do_not_agree():
    """Anna is next to Cleo, Ben to Dan."""
    near = interest_agreement(USERS, UNLIKE, INTERESTS, k=1).near
    assert near["same_main"] == 0
    assert near["overlap"] == pytest.approx(2 * 0.2 / 4)


def test_everybody_is_chance():
    found = interest_agreement(USERS, ALIKE, INTERESTS, k=3)
    assert found.near == pytest.approx(found.chance)


def test_length_does_not_count():
    longer = ALIKE * np.array([[1], [100], [0.01], [5]], np.float32)
    one, other = (interest_agreement(USERS, v, INTERESTS, k=1) for v in (ALIKE, longer))
    assert one == other


def test_of_equally_near_users_the_first_are_taken():
    same = np.ones((4, 2), np.float32)
    near = interest_agreement(USERS, same, INTERESTS, k=1).near
    # anna takes ben; ben, cleo and dan take anna
    assert near["overlap"] == pytest.approx((0.6 + 0.6 + 0 + 0.2) / 4)


def test_users_without_planted_interests_are_left_out():
    users = ["bot", *USERS]
    vectors = np.concatenate([ALIKE[:1], ALIKE])
    assert interest_agreement(users, vectors, INTERESTS, k=1) == interest_agreement(
        USERS, ALIKE, INTERESTS, k=1
    )


def test_the_figures_do_not_depend_on_how_many_pairs_are_held_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    users = [f"u{n}" for n in range(50)]
    interests = {user: {f"t{n % 7}": 0.5, f"t{n % 3}": 0.5} for n, user in enumerate(users)}
    vectors = rng.normal(size=(50, 4)).astype(np.float32)
    whole = interest_agreement(users, vectors, interests, k=5)
    monkeypatch.setattr(planted_interests, "_PAIRS_PER_BLOCK", 350)
    parts = interest_agreement(users, vectors, interests, k=5)
    assert parts.near == pytest.approx(whole.near)
    assert parts.chance == pytest.approx(whole.chance)


@pytest.mark.parametrize("k", [0, 4])
def test_more_neighbors_than_users_are_refused(k):
    with pytest.raises(BadInput, match="4 users have planted interests"):
        interest_agreement(USERS, ALIKE, INTERESTS, k)


def test_a_vector_without_a_direction_is_refused():
    with pytest.raises(BadInput, match="no direction"):
        interest_agreement(USERS, ALIKE * [[1], [0], [1], [1]], INTERESTS, k=1)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    root = tmp_path_factory.mktemp("logs")
    generate_logs(Settings(users=400, days=40, seed=9), root)
    return root


def test_vectors_that_know_the_interests_beat_chance_and_random_ones_do_not(logs):
    interests = current_interests(logs / "planted/interests.parquet", date(2017, 2, 10))
    users = sorted(interests)
    topics = sorted({topic for some in interests.values() for topic in some})
    planted = np.array([[interests[u].get(t, 0.0) for t in topics] for u in users], np.float32)
    drawn = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    knowing, random = (interest_agreement(users, v, interests, k=10) for v in (planted, drawn))
    assert knowing.near["shared"] > 0.95
    assert knowing.near["overlap"] > 3 * knowing.chance["overlap"]
    assert abs(random.near["shared"] - random.chance["shared"]) < 4 * random.error["shared"]
    assert knowing.chance == random.chance
    assert 0.1 < random.chance["shared"] < 0.5


def test_interests_are_those_of_the_last_day_that_vectors_saw(logs):
    path = logs / "planted/interests.parquet"
    for as_of in (date(2017, 1, 2), date(2017, 2, 10)):
        interests = current_interests(path, as_of)
        assert len(interests) == 400
        assert all(sum(w.values()) == pytest.approx(1) for w in interests.values())
    with pytest.raises(BadInput, match="no interest of 2017-02-10"):
        current_interests(path, date(2017, 2, 11))


def test_logs_that_were_not_generated_have_no_planted_interests(tmp_path):
    with pytest.raises(MissingTable, match="userbert logs generate"):
        current_interests(tmp_path / "interests.parquet", date(2017, 2, 1))


@pytest.fixture
def root(places, monkeypatch):
    """A data root with vectors of two models for the four users, and their interests."""
    tmp_path = places.root
    monkeypatch.setenv("USERBERT_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    rows = [
        embedding(user, date(2017, 7, 1 + day), numbers, model)
        for model, vectors in (("good", ALIKE), ("bad", UNLIKE))
        for day, some in enumerate((slice(0, 3), slice(3, 4)))  # dan viewed on another day
        for user, numbers in zip(USERS[some], vectors[some].tolist(), strict=True)
    ]
    write(places, "user_embeddings", rows)
    live = [
        {"user_id": user, "topic": t, "weight": w, "from_day": date(2017, 1, 1)}
        | {"to_day": date(2017, 7, 1)}
        for user, some in INTERESTS.items()
        for t, w in some.items()
    ]
    (tmp_path / "planted").mkdir()
    pq.write_table(pa.Table.from_pylist(live), tmp_path / "planted/interests.parquet")
    return tmp_path


def run(*flags):
    main(**parse_options(main, ["--as-of", "2017-07-02", "--k", "1", *flags]))


def test_the_command_sets_two_models_and_chance_side_by_side(root, capsys):
    run("--model", "good", "--against", "bad")
    printed = capsys.readouterr().out
    good, bad, chance = (
        next(line for line in printed.splitlines() if name in line)
        for name in ("good", "bad", "by chance")
    )
    assert "1.0000" in good
    assert "0.1000" in bad
    assert "0.6667" in chance


def test_the_command_takes_vectors_from_a_file(root, capsys):
    np.savez(root / "untrained.npz", users=np.array(USERS[:3]), vectors=UNLIKE[:3])
    run("--model", "good", "--against", str(root / "untrained.npz"))
    assert "3 users" in capsys.readouterr().out  # those that both know


def test_a_model_without_stored_vectors_gives_them_from_the_newest_sequences(places, root):
    day = date(2017, 7, 1)
    rows = [{"title_id": i, "title": t, "words": t.split()} for i, t in TITLES.items()]
    write(places, "titles", rows)
    write(places, "user_sequences", [views("anna", day, 11), views("ben", day, 22, 33)])
    write(places, "user_sequences", [views("anna", date(2017, 7, 2), 33), views("cleo", day, 33)])
    save(places, "untrained")
    users, vectors = vectors_named("untrained", open_lake(), date(2017, 7, 2))
    assert users == ["anna", "ben", "cleo"]
    assert vectors.shape == (3, 256)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)  # both viewed 33 alone
    assert not np.allclose(vectors[0], vectors[1], atol=1e-3)


def test_a_file_without_the_arrays_says_which(root):
    np.savez(root / "other.npz", users=np.array(USERS))
    with pytest.raises(BadInput, match="has no array vectors"):
        vectors_named(str(root / "other.npz"), open_lake(), date(2017, 7, 1))


def test_vectors_that_are_not_there_say_which_are(root):
    with pytest.raises(MissingTable, match=r"no vector of best as of .*bad from 2017-07-01"):
        stored_vectors(open_lake(), "best", date(2017, 7, 1))
