"""The forecasts that a model with the task `next_period` publishes next to each user's vector."""

from dataclasses import dataclass

FORECAST_DAYS = 28  # of the period that is forecast, from the first instant of as_of on
SOON_DAYS = 7  # of the nearer chance of no view


@dataclass(frozen=True)
class _Forecast:
    """One number of a user's future, in its natural unit."""

    name: str
    doc: str  # what the number means, with its unit
    highest: float | None = None  # None: no bound above; every forecast is 0 or more


# In the order of the columns that `embed_users` returns.
USER_FORECASTS = (
    _Forecast(f"no_view_{SOON_DAYS}_days", f"chance of no view in {SOON_DAYS} days", 1.0),
    _Forecast(f"no_view_{FORECAST_DAYS}_days", f"chance of no view in {FORECAST_DAYS} days", 1.0),
    _Forecast(f"views_{FORECAST_DAYS}_days", f"expected views in {FORECAST_DAYS} days"),
    _Forecast(f"sessions_{FORECAST_DAYS}_days", f"expected sessions in {FORECAST_DAYS} days"),
    _Forecast(
        "days_until_next_view",
        f"expected days until the next view, where {FORECAST_DAYS} stands for none before",
        float(FORECAST_DAYS),
    ),
)
FORECAST_NAMES = tuple(forecast.name for forecast in USER_FORECASTS)
