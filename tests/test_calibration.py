"""The calibration of forecasts, on values that can be checked in the head."""

import numpy as np
import pytest

from contracts.forecasts import FORECAST_NAMES
from model.objective.calibration import calibration_measures
from spark_jobs.registry.calibration import calibration_lines

# Four users: chances of 7 and of 28 days, views, sessions, days until the next view.
FORECASTS = np.array(
    [[0.25, 0.0, 3, 1, 2], [0.25, 0.0, 3, 1, 2], [1.0, 0.0, 0, 0, 28], [0.95, 0.0, 1, 1, 20]],
    np.float32,
)
OBSERVED = np.array(
    [[0, 0, 5, 2, 1], [1, 0, 1, 1, 9], [1, 0, 0, 0, 28], [0, 0, 2, 1, 3]], np.float64
)


@pytest.fixture(scope="module")
def measures():
    return calibration_measures(FORECASTS, OBSERVED)


def test_a_chance_has_a_brier_score_and_a_bin_for_each_tenth_that_has_users(measures):
    expected = {
        "users": 4,
        "mean": (0.25 + 0.25 + 1 + 0.95) / 4,
        "observed": 0.5,
        "brier": (0.25**2 + 0.75**2 + 0 + 0.95**2) / 4,
        "bin_2_users": 2,
        "bin_2_mean": 0.25,
        "bin_2_observed": 0.5,
        "bin_9_users": 2,  # 0.95, and 1 itself
        "bin_9_mean": 0.975,
        "bin_9_observed": 0.5,
    }
    prefix = "forecast_no_view_7_days_"
    found = {k.removeprefix(prefix): v for k, v in measures.items() if k.startswith(prefix)}
    assert found == pytest.approx(expected)
    assert measures["forecast_no_view_28_days_bin_0_users"] == 4
    assert measures["forecast_no_view_28_days_brier"] == 0


def test_a_number_has_a_mean_distance(measures):
    assert measures["forecast_views_28_days_absolute_error"] == (2 + 2 + 0 + 1) / 4
    assert measures["forecast_days_until_next_view_mean"] == 13
    assert measures["forecast_days_until_next_view_observed"] == 41 / 4
    assert "forecast_views_28_days_brier" not in measures


def test_forecasts_that_are_never_wrong_have_no_error():
    sure = np.array([[1, 1, 0, 0, 28], [0, 0, 9, 2, 3]], np.float64)
    measures = calibration_measures(sure, sure)
    errors = [v for k, v in measures.items() if k.endswith(("brier", "absolute_error"))]
    assert errors == [0] * len(FORECAST_NAMES)


def test_nobody_has_no_measures_and_a_card_without_forecasts_has_no_section():
    assert calibration_measures(FORECASTS[:0], OBSERVED[:0]) == {}
    assert list(calibration_lines({"masked_accuracy": 0.5})) == []


def test_the_card_shows_the_bins_that_have_users(measures):
    lines = list(calibration_lines(measures))
    assert "| 0.2 and 0.3 | 2 | 0.250 | 0.500 |" in lines
    assert "| 0.9 and 1.0 | 2 | 0.975 | 0.500 |" in lines
    assert not any(line.startswith("| 0.5 and 0.6") for line in lines)
    (views,) = [line for line in lines if "expected views" in line]
    assert views == "| expected views in 28 days | 4 | 1.75 | 2 | 1.25 (mean distance) |"
