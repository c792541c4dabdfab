"""The paper's comparison, on a corpus of a few users."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_corpus import interests

from contracts.paths import Places
from contracts.terminal.command_line import parse_options
from experiments.negatives import (
    QUICK_SETTINGS,
    REPORTED_MEASURES,
    VARIANTS,
    Comparison,
    compare_variants,
    comparison_line,
    comparison_table,
    main,
    variant_settings,
)
from model.config import PRESETS
from model.config_options import config_from_options

TINY = replace(PRESETS["tiny"], steps=2, refresh_interval=2)


def test_each_way_is_trained_with_each_seed_and_asked_of_the_held_out_users(tmp_path):
    given, ways = interests(Places(tmp_path / "data")), ["untrained", "medium", "ptum"]
    comparison = compare_variants(given, TINY, ways, (0, 1), tmp_path / "out", threads=1)
    assert list(comparison.measures) == ways
    assert all(
        len(found[name]) == 2
        for found in comparison.measures.values()
        for name in REPORTED_MEASURES
    )
    assert len(list((tmp_path / "out").glob("*/manifest.json"))) == 2 * len(ways)
    again = compare_variants(given, TINY, ways, (0, 1), tmp_path / "out", threads=1)
    for way, found in comparison.measures.items():
        for name, values in found.items():
            assert np.array_equal(values, again.measures[way][name])
    assert comparison_table(comparison, given).row_count == len(ways)
    line = json.loads(comparison_line(comparison, given, TINY))
    assert line["settings"]["ptum"]["tasks"] == ["mbp", "nbp"]
    assert line["content"] == given.content


def test_nothing_looks_at_held_out_users_before_the_end():
    looking = replace(TINY, validation_interval=10, patience=3)
    for way in VARIANTS:
        settings = variant_settings(way, looking, seed=4)
        assert (settings.validation_interval, settings.patience, settings.seed) == (0, 0, 4)
        assert settings.behavior_pool == TINY.behavior_pool


def test_the_test_is_paired_by_seed():
    """Differences of 1, 2 and 3: a mean of 2 and an error of 1/sqrt(3), so t is 2 sqrt(3)."""
    values = np.array([0.0, 10, 20])
    found = {"medium": {"m": values}, "random": {"m": values - [1, 2, 3]}}
    comparison = Comparison(found, (0, 1, 2))
    assert comparison.p_value("random", "m") == pytest.approx(0.0742, abs=1e-4)
    assert comparison.p_value("medium", "m") == 1


def test_the_quick_settings_are_defaults_that_a_flag_overrides():
    config = config_from_options(parse_options(main, ["--as-of", "2020-01-31", "--steps", "7"]))
    assert (config.steps, config.model.width) == (7, QUICK_SETTINGS["width"])
    assert config.first_weights == PRESETS["small"].first_weights
