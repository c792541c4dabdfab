"""The calibration of a model's forecasts as a section of its card, out of its measures alone."""

from collections.abc import Iterator, Mapping

from contracts.forecasts import USER_FORECASTS
from model.objective.calibration import CALIBRATION_PREFIX, NUM_BINS


def calibration_lines(measures: Mapping[str, float]) -> Iterator[str]:
    """Markdown; nothing where the model makes no forecasts."""
    found = {
        forecast: _measures_of(measures, forecast.name)
        for forecast in USER_FORECASTS
        if f"{CALIBRATION_PREFIX}{forecast.name}_users" in measures
    }
    if not found:
        return
    yield from ("", "## Calibration of the forecasts on held-out users", "")
    yield from ("| forecast | users | mean forecast | what came | error |", "|---|---|---|---|---|")
    for forecast, held in found.items():
        error = (
            f"Brier {held['brier']:.4f}"
            if "brier" in held
            else f"{held['absolute_error']:.3g} (mean distance)"
        )
        yield (
            f"| {forecast.doc} | {held['users']:,.0f} | {held['mean']:.3g} | "
            f"{held['observed']:.3g} | {error} |"
        )
    for forecast, held in found.items():
        if "brier" in held:
            yield from _reliability(forecast.doc, held)


def _measures_of(measures: Mapping[str, float], name: str) -> dict[str, float]:
    prefix = f"{CALIBRATION_PREFIX}{name}_"
    return {k.removeprefix(prefix): v for k, v in measures.items() if k.startswith(prefix)}


def _reliability(doc: str, held: Mapping[str, float]) -> Iterator[str]:
    """A row for each tenth of forecast chances that has users."""
    yield from ("", f"Of the {doc}:", "")
    yield from (
        "| forecast between | users | mean forecast | share that came |",
        "|---|---|---|---|",
    )
    for number in range(NUM_BINS):
        if f"bin_{number}_users" in held:
            users, mean, share = (
                held[f"bin_{number}_{measure}"] for measure in ("users", "mean", "observed")
            )
            low, high = number / NUM_BINS, (number + 1) / NUM_BINS
            yield f"| {low:.1f} and {high:.1f} | {users:,.0f} | {mean:.3f} | {share:.3f} |"
