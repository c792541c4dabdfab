"""How far forecasts can be trusted: what was forecast against what came, on held-out users.

Everything is in measures of the manifest, so that the model card needs neither users nor weights:

    forecast_NAME_users, _mean, _observed    how many forecasts, their mean, and the mean that came
    forecast_NAME_brier                      of a chance: mean squared distance from 1 or 0
    forecast_NAME_bin_3_users, _mean, _observed
                                             of a chance: those between 0.3 and 0.4
    forecast_NAME_absolute_error             of a number: mean distance
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from contracts.forecasts import USER_FORECASTS

CALIBRATION_PREFIX = "forecast_"
NUM_BINS = 10  # of chances, from 0 to 1, each a tenth wide


def calibration_measures(
    forecasts: NDArray[np.floating], observed: NDArray[np.floating]
) -> dict[str, float]:
    """Shapes: forecasts and observed (N, 5), in the order of contracts/forecasts.py.

    Of a chance, observed is 1 where it came true and 0 where not. No measures of no users.
    """
    if not len(forecasts):
        return {}
    return {
        f"{CALIBRATION_PREFIX}{forecast.name}_{measure}": float(value)
        for place, forecast in enumerate(USER_FORECASTS)
        for measure, value in _measures(
            forecasts[:, place].astype(np.float64),
            observed[:, place].astype(np.float64),
            is_chance=forecast.highest == 1.0,
        )
    }


def is_calibration_bin(measure: str) -> bool:
    """Whether this measure is of one tenth of the chances of a forecast."""
    return CALIBRATION_PREFIX in measure and "_bin_" in measure


def _measures(
    forecast: NDArray[np.float64], observed: NDArray[np.float64], is_chance: bool
) -> Iterator[tuple[str, float]]:
    """Shapes: (N,) both."""
    yield from _means(forecast, observed)
    if not is_chance:
        yield "absolute_error", np.abs(forecast - observed).mean()
        return
    yield "brier", ((forecast - observed) ** 2).mean()
    bins = np.minimum(
        (forecast * NUM_BINS).astype(np.int64), NUM_BINS - 1
    )  # (N,); 1 is in the last
    for number in np.unique(bins):
        inside = bins == number
        for measure, value in _means(forecast[inside], observed[inside]):
            yield f"bin_{number}_{measure}", value


def _means(
    forecast: NDArray[np.float64], observed: NDArray[np.float64]
) -> Iterator[tuple[str, float]]:
    yield "users", len(forecast)
    yield "mean", forecast.mean()
    yield "observed", observed.mean()
