"""Noise for private exports: as much as the analytic Gaussian mechanism needs, and no less."""

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from analyst.vectors.private_noise import (
    PrivacySettings,
    clipped_rows,
    delta_of_noise,
    noise_for_unit_distance,
    private_vectors,
)
from contracts.errors import BadInput


def deviation_by_the_papers_algorithm(epsilon, delta):
    """Algorithm 1 of Balle and Wang (2018): two cases, by bisection in v or u."""
    at_zero = ndtr(0) - math.exp(epsilon) * ndtr(-math.sqrt(2 * epsilon))

    def reached(value, sign):
        shifted = ndtr(sign * math.sqrt(epsilon * value))
        return shifted - math.exp(epsilon) * ndtr(-math.sqrt(epsilon * (value + 2)))

    sign = 1 if delta >= at_zero else -1
    low, high = 0.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        is_within = reached(middle, sign) <= delta
        if is_within == (sign == 1):
            low = middle
        else:
            high = middle
    half = low / 2
    return (math.sqrt(1 + half) - sign * math.sqrt(half)) / math.sqrt(2 * epsilon)


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("delta", [1e-8, 1e-5, 0.1])
def test_the_noise_is_that_of_the_papers_algorithm(epsilon, delta):
    found = noise_for_unit_distance(epsilon, delta)
    assert found == pytest.approx(deviation_by_the_papers_algorithm(epsilon, delta), rel=1e-6)
    assert delta_of_noise(found, epsilon) == pytest.approx(delta, rel=1e-6)


def test_the_noise_has_its_known_values():
    assert noise_for_unit_distance(1.0, 1e-5) == pytest.approx(3.730632, abs=1e-5)
    classic = math.sqrt(2 * math.log(1.25 / 1e-5))
    assert noise_for_unit_distance(1.0, 1e-5) < classic
    # Without epsilon the noise must hide the distance itself: total variation is delta.
    hidden = 1 / (2 * ndtri((1 + 0.1) / 2))
    assert noise_for_unit_distance(1e-12, 0.1) == pytest.approx(hidden, rel=1e-6)
    # No exponential of a large epsilon overflows.
    assert 0 < noise_for_unit_distance(5000.0, 1e-6) < 0.02


def test_long_vectors_are_cut_and_short_ones_and_zeros_stay():
    vectors = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], np.float32)
    assert clipped_rows(vectors, 1.0) == pytest.approx(
        np.array([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]), abs=1e-6
    )


def test_noise_has_the_deviation_of_two_clips_and_is_new_each_time():
    settings = PrivacySettings(epsilon=2.0, delta=1e-6, clip=0.5)
    assert settings.noise_deviation == noise_for_unit_distance(2.0, 1e-6)
    zeros = np.zeros((2000, 16), np.float32)
    first, second = private_vectors(zeros, settings), private_vectors(zeros, settings)
    for found in (first, second):
        assert found.std() == pytest.approx(settings.noise_deviation, rel=0.02)
        assert abs(found.mean()) < 0.05 * settings.noise_deviation
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.03
    assert not (first == second).any()
    assert (private_vectors(zeros, settings, 7) == private_vectors(zeros, settings, 7)).all()


def test_rounded_numbers_are_multiples():
    settings = PrivacySettings(epsilon=1.0, round_to=0.25)
    found = private_vectors(np.ones((50, 4), np.float32), settings) / 0.25
    assert (found == np.round(found)).all()


@pytest.mark.parametrize(
    "wrong", [{"epsilon": 0.0}, {"epsilon": math.inf}, {"delta": 1.0}, {"clip": -1.0},
              {"round_to": -0.5}, {"epsilon": math.nan}],
)  # fmt: skip
def test_settings_that_promise_nothing_are_refused(wrong):
    with pytest.raises(BadInput, match="private vectors"):
        PrivacySettings(**{"epsilon": 1.0, **wrong})
