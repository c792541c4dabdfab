"""Word vectors and title vectors out of files: read to the last digit, and embedded with."""

import hashlib
import inspect
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_corpus import DAY, interests
from small_lake import write

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.terminal.command_line import parse_options
from model.config import PRESETS, PretrainConfig
from model.config_options import config_from_options
from model.data.ragged import Ragged
from model.data.ready_vectors import (
    NO_READY_VECTORS,
    ReadyVectors,
    file_sha256,
    read_title_vectors,
    read_word_vectors,
)
from model.data.vocabulary import Vocabulary
from model.inference.embed_users import embed_users
from model.layers.packed_histories import PackedHistories
from model.storage.checkpoint import load_model, read_manifest, ready_vectors_of
from model.training.distributed import Processes
from model.training.pretrain import model_id, pretrain_model, run_pretraining
from model.training.trainer import Training

WORDS = Vocabulary(("red", "shoes", "new york", "naïve"))
GLOVE = """the 0.418 0.24968 -0.41242
shoes -0.0000123456789 3.4028234e38 1e-45
new york 1 2 3
red 0.30000001192092896 -1.5 0.1
red 9 9 9
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return Places(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def given(places):
    return interests(places, users=60)


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["", "5 3\n"])
def test_words_are_read_to_the_last_digit(tmp_path, header):
    """With the line that word2vec writes first, and without; of `red` the first vector counts."""
    found = read_word_vectors(written(tmp_path / "words.txt", header + GLOVE), WORDS)
    assert found.word_ids.tolist() == [2, 3, 4]
    expected = [
        ["0.30000001192092896", "-1.5", "0.1"],
        ["-0.0000123456789", "3.4028234e38", "1e-45"],
    ]
    for vector, numbers in zip(found.vectors, expected, strict=False):
        assert vector.tobytes() == np.array([np.float32(each) for each in numbers]).tobytes()
    assert found.vectors[2].tolist() == [1, 2, 3]


def test_a_vocabulary_of_one_word_is_no_header(tmp_path):
    found = read_word_vectors(written(tmp_path / "words.txt", "red 1.5\nshoes 2\n"), WORDS)
    assert found.vectors.tolist() == [[1.5], [2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "red 1 2\nshoes 3\n",
            r"line 2, has 1 numbers behind its word, and the lines before have 2",
        ),
        ("red 1 2\nshoes 3 x\n", r"line 2, has no number behind 'shoes'"),
        ("red 1 nan\n", r"line 1: the vector of 'red' is not finite"),
        ("red 1 1e99\n", r"line 1: the vector of 'red' is not finite"),
        ("blue 1 2\n", r"has none of the 4 words"),
        ("", r"has none of the 4 words"),
        ("red\n", r"line 1, has 0 numbers"),
    ],
)
def test_a_wrong_file_of_words_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(BadInput, match=message):
        read_word_vectors(written(tmp_path / "words.txt", text), WORDS)


def test_a_binary_or_missing_file_of_words_is_named(tmp_path):
    (tmp_path / "words.bin").write_bytes(b"5 3\nred \x80\xff\x00")
    with pytest.raises(BadInput, match="is not UTF-8 text"):
        read_word_vectors(tmp_path / "words.bin", WORDS)
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        read_word_vectors(tmp_path / "none", WORDS)
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        file_sha256(tmp_path / "none")


def test_found_words_start_at_the_file_s_vectors_and_the_others_at_random_ones(given, tmp_path):
    path = written(tmp_path / "words.txt", "w00 " + " ".join(["0.125"] * 12) + "\n")
    words = read_word_vectors(path, given.vocabulary)
    for first_weights in ("plain", "centered"):
        config = replace(PRESETS["tiny"], first_weights=first_weights)
        plain, ready = (
            Training(given, config, Processes(), 1, vectors).model.behavior.words.weight
            for vectors in (NO_READY_VECTORS, ReadyVectors(words))
        )
        row = words.word_ids[0]
        assert ready[row].tolist() == [0.125] * 12
        differs = (plain != ready).any(dim=1)
        assert differs.nonzero().flatten().tolist() == [row]


def test_word_vectors_of_another_width_or_for_an_encoder_without_words_are_refused(given, tmp_path):
    words = ReadyVectors(read_word_vectors(written(tmp_path / "w", "w00 1 2\n"), given.vocabulary))
    with pytest.raises(BadInput, match="vectors of 2 numbers, and word_width is 12: set --word-w"):
        Training(given, PRESETS["tiny"], Processes(), 1, words)
    config = replace(PRESETS["tiny"], model=replace(PRESETS["tiny"].model, behavior_encoder="id"))
    with pytest.raises(BadInput, match="the behavior encoder id reads no words"):
        Training(given, config, Processes(), 1, words)


def test_a_file_s_content_is_part_of_the_id(given):
    configs = [
        PretrainConfig(),
        PretrainConfig(word_vectors="ab"),
        PretrainConfig(word_vectors="c"),
    ]
    assert len({model_id(each, given) for each in configs}) == 3
    assert configs[1].to_json()["word_vectors"] == "ab"
    assert PretrainConfig.from_json(configs[1].to_json()) == configs[1]
    assert not {"word_vectors", "title_vectors"} & PretrainConfig().to_json().keys()


def table_of(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def test_titles_are_found_by_id_or_by_their_text_and_the_mean_stands_for_the_others(tmp_path):
    lake = Places(tmp_path)
    titles = {7: "red shoes", -3: "green tea"}
    rows = [{"title_id": i, "title": t, "words": t.split()} for i, t in titles.items()]
    write(lake, "titles", rows)
    vectors = [[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]]
    by_id = table_of(tmp_path / "a.parquet", title_id=[7, -3, 7], vector=vectors)
    by_text = table_of(
        tmp_path / "b.parquet", title=["Red  SHOES ", "green tea", "new"], vector=vectors
    )
    for path in (by_id, by_text):
        found = read_title_vectors(path, lake.lake)
        assert found.title_ids.tolist() == [-3, 7]
        assert found.table.tolist() == [[2, 4], [3, 6], [1, 2]]
        assert found.table_for(np.array([7, 8])).tolist() == [[2, 4], [1, 2], [2, 4]]
        assert found.num_found(np.array([7, 8])) == 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"id": [1], "vector": [[1.0]]},
            "has the columns id, vector: it needs vector, and title_id",
        ),
        ({"title_id": [1], "vector": ["x"]}, "the column vector is string; it must be a list of f"),
        ({"title_id": [1], "vector": [[1]]}, "it must be a list of floats"),
        ({"title_id": [1, 2], "vector": [[1.0], [1.0, 2.0]]}, "equally long"),
        ({"title_id": [1, 2], "vector": [[1.0], None]}, "equally long"),
        ({"title_id": [1], "vector": [[float("nan")]]}, "the vector of row 0 is not finite"),
    ],
)
def test_a_wrong_file_of_titles_is_named(tmp_path, columns, message):
    path = table_of(tmp_path / "t.parquet", **columns)
    with pytest.raises(BadInput, match=message):
        read_title_vectors(path, str(tmp_path))
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        read_title_vectors(written(tmp_path / "text", "red 1"), str(tmp_path))


def test_a_model_of_given_titles_embeds_titles_that_its_pairs_do_not_have(given, places, tmp_path):
    """Its vector of a user is that of the mapped vectors; a title of nobody has their mean's."""
    known = np.asarray(given.corpus.title_ids)
    ids = [*known.tolist(), 999_999]
    vectors = np.random.default_rng(0).normal(size=(len(ids), 5)).astype(np.float32)
    path = table_of(tmp_path / "t.parquet", title_id=ids, vector=vectors.tolist())
    titles = read_title_vectors(path, places.lake)
    model = replace(PRESETS["tiny"].model, behavior_encoder="given", given_width=5)
    config = replace(PRESETS["tiny"], model=model, steps=3, title_vectors=file_sha256(path))
    with pytest.raises(BadInput, match="name it by --title-vectors FILE"):
        pretrain_model(given, config, tmp_path, Processes(), threads=1)
    ready = ReadyVectors(titles=titles)
    folder = pretrain_model(given, config, tmp_path, Processes(), threads=1, ready=ready)
    trained = load_model(folder)
    assert trained.manifest.num_titles == len(ids)
    words = pa.array([["any"]] * 3)
    asked = np.array([int(known[0]), 999_999, 1_000_000])
    found = embed_users(trained, Ragged.of([[asked[0], 999_999], [1_000_000]]), asked, words)
    linear = trained.model.behavior.linear
    mean = vectors.astype(np.float64).mean(0).astype(np.float32)
    mapped = linear(torch.from_numpy(np.stack([vectors[0], vectors[-1], mean])))
    expected = (
        trained.model.encode_histories(PackedHistories(mapped, torch.tensor([2, 1])))
        .detach()
        .numpy()
    )
    np.testing.assert_allclose(found.vectors, expected, atol=1e-6)
    again = ready_vectors_of(folder).titles
    np.testing.assert_array_equal(again.vectors, titles.vectors)
    np.testing.assert_array_equal(again.title_ids, titles.title_ids)


def test_the_command_takes_the_files_and_says_how_much_it_found(
    given, places, tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    flags = ["--as-of", str(DAY), "--preset", "tiny", "--steps", "2", "--threads", "1"]
    text = "".join(f"w{i}0 " + " ".join(["0.5"] * 12) + "\n" for i in range(3))
    words = written(tmp_path / "words.txt", text)
    folder = run_pretraining(
        **parse_options(run_pretraining, [*flags, "--word-vectors", str(words)])
    )
    assert "word vectors: 3 of the" in capfd.readouterr().err
    sha256 = hashlib.sha256(words.read_bytes()).hexdigest()
    assert read_manifest(folder).settings["word_vectors"] == sha256
    ids = given.corpus.title_ids.tolist()[1:]
    titles = table_of(
        tmp_path / "t.parquet", title_id=ids, vector=[[0.5, i] for i in range(len(ids))]
    )
    folder = run_pretraining(
        **parse_options(run_pretraining, [*flags, "--title-vectors", str(titles)])
    )
    assert f"title vectors: {len(ids)} of the {len(ids) + 1} titles" in capfd.readouterr().err
    config = read_manifest(folder).config
    assert (config.model.behavior_encoder, config.model.given_width) == ("given", 2)
    assert folder.name.startswith("given-selfattention-attentive")


def test_no_option_sets_what_only_a_file_decides():
    names = inspect.signature(run_pretraining).parameters
    assert names["word_vectors"].annotation is not str
    assert "given_width" not in names
    assert (
        config_from_options(parse_options(run_pretraining, ["--as-of", str(DAY)])).word_vectors
        == ""
    )
