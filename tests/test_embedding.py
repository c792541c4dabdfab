from datetime import date

import numpy as np
import pyarrow as pa
import pytest
import torch

from contracts.errors import BadInput
from model.config import BASE_MODELS, PRESETS, ModelConfig
from model.data.ragged import Ragged
from model.data.vocabulary import Vocabulary
from model.inference.embed_users import embed_sequences, embed_users
from model.inference.vectors import title_vectors, to_numpy, user_vectors
from model.layers.user_model import UserModel
from model.storage.checkpoint import Manifest, TrainedModel

SMALL = {"width": 16, "word_width": 12, "query_width": 8, "heads": 2}
VOCABULARY = Vocabulary(tuple(f"w{i}" for i in range(20)))
TITLE_IDS = np.array([-9, 3, 4, 70, 800])
WORDS = pa.array([["w1"], ["w2", "w3"], ["never seen", "w4"], ["w5"] * 40, ["w6", "w7", "w8"]])


def trained(**parts):
    torch.manual_seed(0)
    config = ModelConfig(**SMALL | parts)
    model = UserModel(config, len(VOCABULARY), len(TITLE_IDS))
    settings = PRESETS["tiny"].to_json() | {"model": config.to_json()}
    manifest = Manifest(
        model_id="m",
        trained_before=date(2020, 1, 1),
        settings=settings,
        inputs={},
        content="",
        num_words=len(VOCABULARY),
        num_titles=0,
        measures={},
        vocabulary_hash=VOCABULARY.sha256,
    )
    return TrainedModel(model.eval(), VOCABULARY, torch.from_numpy(TITLE_IDS[1:].copy()), manifest)


def random_users(count, longest, num_titles, seed=0):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, longest + 1, count)
    return Ragged.of([draw.integers(0, num_titles, n) for n in lengths])


@pytest.mark.parametrize("name", BASE_MODELS)
def test_a_user_has_one_vector_in_any_company(name):
    base = BASE_MODELS[name]
    model = trained(
        behavior_encoder="cnn" if base.behavior_encoder == "id" else base.behavior_encoder,
        context_encoder=base.context_encoder,
        aggregator=base.aggregator,
    ).model
    titles = random_users(50, 30, 20, seed=1)
    titles = Ragged(titles.values + 2, titles.offsets)
    users = random_users(300, 100, 50)
    together = embed_sequences(model, titles, users)
    for row in (0, 7, 299):
        alone = embed_sequences(model, titles, users.take([row]))
        np.testing.assert_allclose(together[[row]], alone, rtol=0, atol=1e-6)


def test_the_same_rows_give_the_same_bytes():
    model = trained().model
    titles, users = Ragged.of([[2], [3, 4], [5]]), random_users(300, 100, 3)
    assert (
        embed_sequences(model, titles, users).tobytes()
        == embed_sequences(model, titles, users).tobytes()
    )


def test_it_encodes_as_training_does():
    model = trained().model
    titles = model.encode_titles(torch.tensor([2, 3, 4]), torch.tensor([1, 2]))
    _, users = model.encode_users(titles[[0, 1, 1, 0]], torch.tensor([3, 1]))
    ours = embed_sequences(model, Ragged.of([[2], [3, 4]]), Ragged.of([[0, 1, 1], [0]]))
    np.testing.assert_allclose(ours, users.detach().numpy(), rtol=0, atol=1e-6)


def test_dropout_is_off_and_the_mode_comes_back():
    model = trained(dropout=0.9).model.train()
    titles, users = Ragged.of([[2], [3]]), Ragged.of([[0, 1]])
    assert np.array_equal(
        embed_sequences(model, titles, users), embed_sequences(model, titles, users)
    )
    assert model.training


def test_title_vectors_may_be_mapped_from_a_file(tmp_path):
    model, users = trained().model, random_users(20, 10, 2)
    vectors = to_numpy(title_vectors(model, Ragged.of([[2], [3]])))
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    assert torch.equal(user_vectors(model, vectors, users), user_vectors(model, mapped, users))


def test_a_word_that_was_never_seen_is_the_unknown_word():
    there = trained()
    ours = embed_users(there, Ragged.of([[4]]), TITLE_IDS, WORDS).vectors
    ids = Ragged.of([[1, 2 + 4]])
    np.testing.assert_array_equal(ours, embed_sequences(there.model, ids, Ragged.of([[0]])))


def test_long_titles_and_sequences_are_cut_as_in_training():
    there = trained(max_words=30, max_views=3)
    ours = embed_users(there, Ragged.of([[3, 800, 70, 70, -9]]), TITLE_IDS, WORDS).vectors
    ids = Ragged.of([[2 + 5] * 30, [2 + 1]])
    np.testing.assert_array_equal(ours, embed_sequences(there.model, ids, Ragged.of([[0, 0, 1]])))


def test_an_id_encoder_knows_the_titles_it_was_trained_on():
    there = trained(behavior_encoder="id")
    ours = embed_users(there, Ragged.of([[3], [800], [-9]]), TITLE_IDS, WORDS).vectors
    rows = Ragged.of([[1], [4], [0]])  # -9 is not among its titles
    np.testing.assert_array_equal(
        ours, embed_sequences(there.model, rows, Ragged.of([[0], [1], [2]]))
    )


def test_a_view_of_an_unknown_title_is_refused_by_its_id():
    with pytest.raises(BadInput, match=r"lacks 1 of the 2 titles .*\[5\].*userbert titles"):
        embed_users(trained(), Ragged.of([[3, 5]]), TITLE_IDS, WORDS)


def test_a_history_longer_than_max_views_is_read_in_windows_from_its_newest_view_back():
    """Nine views in windows of four: one, four and four; `windows=2` leaves the oldest out."""
    history = [3, 4, 70, 800, 3, 3, 4, 70, -9]
    one = trained(max_views=4)

    def unit(views):
        vector = embed_users(one, Ragged.of([views]), TITLE_IDS, WORDS).vectors[0]
        return vector / np.linalg.norm(vector)

    parts = [unit(history[:1]), unit(history[1:5]), unit(history[5:])]
    for windows, expected in ((0, sum(parts) / 3), (3, sum(parts) / 3), (2, sum(parts[1:]) / 2)):
        model = trained(max_views=4, windows=windows)
        found = embed_users(model, Ragged.of([history, [3]]), TITLE_IDS, WORDS).vectors
        np.testing.assert_allclose(found[0], expected, atol=1e-6)
        np.testing.assert_allclose(found[1], unit([3]), atol=1e-6)
    newest = embed_users(one, Ragged.of([history]), TITLE_IDS, WORDS).vectors
    np.testing.assert_allclose(newest[0] / np.linalg.norm(newest[0]), parts[2], atol=1e-6)
