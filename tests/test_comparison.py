from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from small_corpus import DAY, interests
from small_lake import write

from contracts.paths import Places
from contracts.terminal.command_line import parse_options
from model.config import PRESETS, ModelConfig
from model.config_options import config_from_options
from model.data.build_corpus import training_input, training_input_for
from model.data.vocabulary import Vocabulary
from model.storage.checkpoint import read_manifest
from model.training.comparison import measures_on_the_same_users
from model.training.distributed import Processes
from model.training.pretrain import pretrain_model, run_pretraining
from spark_jobs.registry.promotion_criteria import reasons_against

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


def write_half_a_year(places):
    """Sessions of the users of the pairs, so that the memory form has a period to predict."""
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    draw, rows = np.random.default_rng(1), []
    for user in range(60):
        for nth, days in enumerate(sorted(draw.uniform(1, 150, 12), reverse=True)):
            at, title = midnight - timedelta(days=days), 100 * (user % 4) + int(draw.integers(12))
            rows.append(
                {
                    "session_date": at.date(),
                    "user_id": f"user{user}",
                    "session_id": 100 * user + nth,
                    "start_time": at,
                    "end_time": at,
                    "num_views": 1,
                    "title_ids": [title],
                    "event_times": [at],
                }
            )
    write(places, "sessions", rows)


def test_a_memory_model_and_a_window_model_answer_each_others_questions(tmp_path):
    """Either may be the candidate and the other the champion; the answers are of the same users."""
    places = Places(tmp_path)
    given = interests(places)
    write_half_a_year(places)
    window = trained(given, places, 0)
    small = ModelConfig(
        form="memory", width=16, heads=2, title_width=8, soft_counts=6, hidden_width=12,
        activity_width=6, num_classes=10,
    )  # fmt: skip
    config = replace(PRESETS["memory"], model=small, steps=4, batch_size=16, cooldown_steps=0)
    asked = training_input_for(config, places, DAY)
    memory = pretrain_model(asked, config, places.models, Processes(), threads=1)
    for candidate, champion in ((memory, window), (window, memory)):
        new = read_manifest(candidate).measures
        old = measures_on_the_same_users(candidate, champion, places.lake, places.arrays)
        for count in ("masked_behaviors", "matched_pairs"):
            assert old[count] == new[count] > 0
        own = read_manifest(champion).measures
        alike = set(ASKED) - {"test_loss"}  # which a memory model's training has of its own tasks
        assert {name: old[name] for name in alike} == pytest.approx(
            {name: own[name] for name in alike}, rel=1e-5
        )
        better = {**new, "masked_accuracy": 0.9, "matching_accuracy": 0.9, "effective_rank": 9.0}
        worse = {**better, "masked_accuracy": 0.0}
        assert reasons_against(better, old) == []
        assert any("masked accuracy" in reason for reason in reasons_against(worse, better))


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
