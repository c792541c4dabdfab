"""Asking a model the questions of another model's training day, to compare the two fairly."""

from pathlib import Path

import numpy as np

from contracts.limits import MAX_TITLE_WORDS
from model.data.build_corpus import training_input
from model.data.corpus import Corpus
from model.data.ragged import Ragged
from model.data.vocabulary import UNKNOWN_ID
from model.storage.checkpoint import TrainedModel, load_model, read_manifest
from model.training.evaluation import Measures, draw_questions, evaluate_model


def measures_on_the_same_users(asked: Path, answering: Path, lake: str, arrays: Path) -> Measures:
    """The measures of the model in `answering` on the test users that `asked` was measured on.

    It reads the same Delta versions of the same day, in the answering model's own word ids; a
    word it has never seen is unknown to it. An `id` encoder knows only its own day's titles, so
    for one its own measures are all there is.
    """
    ours, trained = read_manifest(asked), load_model(answering)
    if not trained.model.reads_words:
        return trained.manifest.measures
    given = training_input(
        lake,
        ours.trained_before,
        arrays,
        max_words=MAX_TITLE_WORDS,
        max_views=ours.config.model.max_views,
        versions=ours.inputs,
        earlier=trained.vocabulary,
    )
    corpus = _known_words(given.corpus, trained)
    pairs, max_pairs = given.test_pairs, ours.config.validation_pairs
    questions = draw_questions(corpus, pairs, max_pairs)
    return evaluate_model(trained.model, questions, "test", trained.manifest.config)


def _known_words(corpus: Corpus, trained: TrainedModel) -> Corpus:
    """`corpus` with the words that `trained` has no row for as unknown ones."""
    words = corpus.title_words
    known = np.where(words.values < trained.manifest.num_words, words.values, UNKNOWN_ID)
    return Corpus(**{**vars(corpus), "title_words": Ragged(known, words.offsets)})
