import pytest
from small_corpus import DAY, interests

from contracts.paths import Places
from contracts.terminal.command_line import parse_options
from model.config_options import config_from_options
from model.data.build_corpus import training_input
from model.data.vocabulary import Vocabulary
from model.storage.checkpoint import read_manifest
from model.training.comparison import measures_on_the_same_users
from model.training.distributed import Processes
from model.training.pretrain import pretrain_model, run_pretraining

ASKED = ("masked_accuracy", "matching_accuracy", "test_loss", "effective_rank")


def test_a_model_reads_another_day_in_its_own_word_ids(tmp_path):
    """The answering model's words have other ids than the asked one's."""
    places = Places(tmp_path)
    given = interests(places)
    asked = trained(given, places, 0)
    reversed_words = Vocabulary(tuple(reversed(given.vocabulary.words)))
    grown = training_input(
        places.lake, DAY, places.arrays, max_words=30, max_views=100, earlier=reversed_words
    )
    assert grown.vocabulary == reversed_words
    answering = trained(grown, places, 1)
    again = measures_on_the_same_users(asked, answering, places.lake, places.arrays)
    own = read_manifest(answering).measures
    assert {name: again[name] for name in ASKED} == pytest.approx(
        {name: own[name] for name in ASKED}, rel=1e-5
    )


def trained(given, places, seed):
    words = ("--as-of", str(DAY), "--preset", "tiny", "--steps", "2", "--width", "16")
    config = config_from_options(parse_options(run_pretraining, [*words, "--seed", str(seed)]))
    return pretrain_model(given, config, places.models, Processes(), threads=1)


def test_a_model_asked_its_own_questions_gives_its_own_answers_and_another_model_others(tmp_path):
    places = Places(tmp_path)
    given = interests(places)
    ours, theirs = trained(given, places, 0), trained(given, places, 1)
    own, other = (read_manifest(folder).measures for folder in (ours, theirs))
    for answering, measures in ((ours, own), (theirs, other)):
        again = measures_on_the_same_users(ours, answering, places.lake, places.arrays)
        assert {name: again[name] for name in ASKED} == pytest.approx(
            {name: measures[name] for name in ASKED}, rel=1e-5
        )
    assert own["test_loss"] != other["test_loss"]
