"""A training that begins from an earlier model's weights, with words that stand elsewhere."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_histories import SMALL_MEMORY, input_of, random_histories

from contracts.errors import BadInput
from model.config import PRESETS
from model.data.corpus import Corpus
from model.data.encoder_input import corpus_input
from model.data.ragged import Ragged
from model.data.ready_vectors import ReadyVectors
from model.data.vocabulary import NUM_SPECIAL, Vocabulary
from model.inference.embed_users import embed_sequences
from model.storage.checkpoint import load_model, read_manifest
from model.training.distributed import Processes
from model.training.pretrain import model_id, pretrain_model
from model.training.trainer import Training
from model.training.warm_start import champion_id_or_none, read_earlier_weights

TINY = replace(PRESETS["tiny"], steps=2, validation_interval=0, checkpoint_interval=0)


def renumbered(given):
    """The same titles, whose words stand in reversed order, behind one that is new."""
    words = ("new", *reversed(given.vocabulary.words))
    ids = np.arange(NUM_SPECIAL + len(given.vocabulary.words))
    ids[NUM_SPECIAL:] = NUM_SPECIAL + len(words) - 1 - np.arange(len(given.vocabulary.words))
    old = given.corpus.title_words
    corpus = Corpus(
        **{
            **vars(given.corpus),
            "title_words": Ragged(ids[old.values].astype(np.int32), old.offsets),
        }
    )
    return replace(given, corpus=corpus, vocabulary=Vocabulary(words))


def vectors(model, given):
    """Of three sequences of the corpus's titles."""
    rows = np.arange(len(given.corpus.title_ids))
    titles = corpus_input(given.corpus, rows, reads_words=True)
    sequences = Ragged.of([np.array([0, 1]), np.array([2]), np.array([1, 2, 0])])
    times = np.arange(6, dtype=np.int64) * 3_600_000_000
    as_of = np.full(3, 10**12)
    return embed_sequences(model, titles, sequences, times, as_of)


@pytest.mark.parametrize("form", ["window", "memory"])
def test_before_its_first_step_it_gives_the_earlier_models_vectors(tmp_path, form):
    given = input_of(random_histories())
    config = SMALL_MEMORY if form == "memory" else TINY
    folder = pretrain_model(given, config, tmp_path, Processes(), threads=1)
    earlier, now = read_earlier_weights(folder), renumbered(given)
    warm = replace(config, seed=7, warm_start=f"{earlier.model_id} sha256:{earlier.sha256}")
    before = load_model(folder).model
    cold, begun = (
        Training(now, replace(config, seed=7), Processes(), 1).model,
        Training(now, warm, Processes(), 1, ReadyVectors(weights=earlier)).model,
    )
    assert vectors(begun, now) == pytest.approx(vectors(before, given), abs=1e-5)
    assert np.abs(vectors(cold, now) - vectors(before, given)).max() > 1e-2
    if form == "memory":
        words = [vocabulary_words(model, each) for model, each in ((before, given), (begun, now))]
        shared = [word for word in words[0] if word in words[1]]
        rows = [[each.index(word) for word in shared] for each in words]
        heads = [model.heads.next_classes.weight.detach() for model in (before, begun)]
        assert len(shared) > 3
        assert torch.equal(heads[1][rows[1]], heads[0][rows[0]])


def vocabulary_words(model, given):
    """The words that the memory form predicts, in the order of its classes."""
    ids = [each for each in model.class_words.tolist() if each >= NUM_SPECIAL]
    return [given.vocabulary.words[each - NUM_SPECIAL] for each in ids]


def test_the_manifest_names_the_weights_and_so_does_the_models_id(tmp_path):
    given = input_of(random_histories())
    first = pretrain_model(given, TINY, tmp_path, Processes(), threads=1)
    earlier = read_earlier_weights(first)
    warm = replace(TINY, warm_start=f"{earlier.model_id} sha256:{earlier.sha256}")
    assert model_id(warm, given) != model_id(TINY, given)
    ready = ReadyVectors(weights=earlier)
    folder = pretrain_model(given, warm, tmp_path, Processes(), threads=1, ready=ready)
    assert read_manifest(folder).settings["warm_start"] == warm.warm_start
    assert "warm_start" not in read_manifest(first).settings
    counting = replace(SMALL_MEMORY, model=replace(SMALL_MEMORY.model, class_counts=2))
    counted = replace(earlier, settings=counting.to_json())
    with pytest.raises(BadInput, match="train without --class-counts"):
        Training(given, counting, Processes(), 1, ReadyVectors(weights=counted))
    wide = replace(TINY, model=replace(TINY.model, width=32), warm_start=warm.warm_start)
    with pytest.raises(BadInput, match=r"--warm-start .*width is 32, not 16"):
        Training(given, wide, Processes(), 1, ready)


def test_there_is_no_champion_before_the_first(tmp_path):
    assert champion_id_or_none(str(tmp_path)) is None
