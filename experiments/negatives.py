"""The paper's comparison (Tables 2 and 3, Figs. 5 to 7) on the pairs of a day, over several seeds.

userbert evaluate negatives --as-of 2017-06-30
userbert evaluate negatives --as-of 2017-06-30 --ways medium,random --seeds 3 --steps 100

Each variant is trained from the same initialization on the same batches, and evaluated once, at its
end, on the held-out users: none is stopped early, tuned or chosen by them. Every pair of a variant
and a seed is a model of `userbert pretrain` below --out, so a run that is interrupted goes on where
it was. The questions (random negatives, chance 0.2) are those of masked prediction and of matching,
so they favor the variants that train on them: CP trains on neither. The paper evaluates on labels,
which logs do not have; `userbert evaluate interests` uses planted interests instead.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table as Grid

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.provenance import code_version
from contracts.terminal.options import AsOf
from contracts.terminal.printing import grid, print_parts
from model.config import PRESETS, PretrainConfig
from model.config_options import config_from_options, with_config_options
from model.data.corpus import TrainingInput
from model.task_registry import METRICS

VARIANTS: dict[str, dict[str, Any]] = {
    "untrained": {"steps": 0},
    "random": {"negatives": "random"},
    "medium": {"negatives": "medium"},
    "hardest": {"negatives": "hardest"},
    "masked-alone": {"negatives": "medium", "tasks": ("mbp",)},
    "matching-alone": {"negatives": "medium", "tasks": ("bsm",)},
    "ptum": {
        name: getattr(PRESETS["ptum"], name) for name in ("tasks", "masked_from", "negatives")
    },
    "cp": {name: getattr(PRESETS["cp"], name) for name in ("tasks", "negatives")},
}
_BASELINE = "medium"
REPORTED_MEASURES = (*(f"{metric}_accuracy" for metric in reversed(METRICS)), "effective_rank")
# A narrow model, so that a training takes seconds on two cores; but `hardest` ranks every sequence
# of the training users at each refresh, a second a step on 11,000 of them.
QUICK_SETTINGS = {
    "preset": "small",
    "steps": 200,
    "cooldown_steps": 140,
    "width": 64,
    "word_width": 64,
    "query_width": 64,
    "heads": 4,
}

_MeasuresOfSeeds = dict[str, np.ndarray]  # by measure: one number for each seed


@dataclass(frozen=True)
class Comparison:
    """What each seed measured, by variant; seeds are in the same order everywhere."""

    measures: Mapping[str, _MeasuresOfSeeds]
    seeds: tuple[int, ...]

    def p_value(self, variant: str, measure: str) -> float:
        """Of a paired, two-sided t-test against BASELINE: a seed's initialization and batches
        are the same in both. 1 where no seed differs or there is one seed alone."""
        from scipy.stats import ttest_rel

        ours, theirs = self.measures[_BASELINE][measure], self.measures[variant][measure]
        if len(ours) < 2 or np.array_equal(ours, theirs):
            return 1.0
        return float(ttest_rel(ours, theirs).pvalue)


def variant_settings(variant: str, config: PretrainConfig, seed: int) -> PretrainConfig:
    """The settings of a variant; held-out users are not looked at before the end."""
    blind = replace(config, seed=seed, validation_interval=0, patience=0, checkpoint_interval=0)
    return replace(blind, **VARIANTS[variant])


def compare_variants(
    given: TrainingInput,
    config: PretrainConfig,
    ways: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    threads: int = 0,
) -> Comparison:
    """Train and measure each variant with each seed."""
    from model.storage.checkpoint import read_manifest
    from model.training.distributed import Processes
    from model.training.pretrain import pretrain_model

    measures_of: dict[str, _MeasuresOfSeeds] = {}
    for variant in ways:
        folders = [
            pretrain_model(
                given, variant_settings(variant, config, seed), out, Processes(), threads=threads
            )
            for seed in seeds
        ]
        measures = [read_manifest(folder).measures for folder in folders]
        measures_of[variant] = {
            name: np.array([each[name] for each in measures]) for name in REPORTED_MEASURES
        }
    return Comparison(measures_of, tuple(seeds))


def comparison_table(comparison: Comparison, given: TrainingInput) -> Grid:
    test_pairs, several = len(given.test_pairs), len(comparison.seeds) > 1
    title = f"{test_pairs:,} test pairs, {len(comparison.seeds)} seeds"
    title += f": mean ± deviation (p against {_BASELINE})" if several else ""
    rows = []
    for variant, found in comparison.measures.items():
        cells = [f"{found[name].mean():.3f}" for name in REPORTED_MEASURES]
        if several:
            cells = [
                f"{c} ± {found[n].std(ddof=1):.3f}"
                for c, n in zip(cells, REPORTED_MEASURES, strict=True)
            ]
        if several and variant != _BASELINE and _BASELINE in comparison.measures:
            cells = [
                f"{c} ({comparison.p_value(variant, n):.3f})"
                for c, n in zip(cells, REPORTED_MEASURES, strict=True)
            ]
        rows.append((variant, *cells))
    return grid(rows, "", *(name.replace("_", " ") for name in REPORTED_MEASURES), title=title)


def comparison_line(comparison: Comparison, given: TrainingInput, config: PretrainConfig) -> str:
    """One line: what was measured, and all that it takes to measure it again."""
    return json.dumps(
        {
            "name": "evaluate negatives",
            "found": {
                variant: {name: values.tolist() for name, values in found.items()}
                for variant, found in comparison.measures.items()
            },
            "seeds": comparison.seeds,
            "settings": {
                variant: variant_settings(variant, config, 0).to_json()
                for variant in comparison.measures
            },
            "as_of": given.as_of.isoformat(),
            "inputs": given.inputs,
            "content": given.content,
            "training_pairs": len(given.training_pairs),
            "test_pairs": len(given.test_pairs),
            "commit": code_version(),
        }
    )


def _ways(text: str | tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(text.split(",")) if isinstance(text, str) else text
    if unknown := [name for name in names if name not in VARIANTS]:
        raise typer.BadParameter(f"{', '.join(unknown)} is not one of {', '.join(VARIANTS)}")
    return names


@with_config_options(**QUICK_SETTINGS)
def main(
    as_of: AsOf,
    ways: Annotated[
        Any,
        typer.Option(
            "--ways", metavar="WAY,...", parser=_ways, help=f"Which of {', '.join(VARIANTS)}."
        ),
    ] = tuple(VARIANTS),
    seeds: Annotated[int, typer.Option("--seeds", help="How many seeds, counted from 0.")] = 5,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="The folder of the models. [default: experiments in the data root]",
        ),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", help="Threads of torch; 0: all cores.")] = 0,
    **settings: object,
) -> None:
    from model.data.build_corpus import training_input_for
    from model.training.memory import keep_freed_memory

    if seeds < 1:
        raise BadInput(f"--seeds is {seeds}; it must be 1 or more")
    keep_freed_memory()
    places = Places.from_environment()
    config = config_from_options(settings)
    given = training_input_for(config, places, as_of)
    folder = out or places.root / "experiments"
    comparison = compare_variants(given, config, ways, range(seeds), folder, threads)
    print_parts(comparison_table(comparison, given), comparison_line(comparison, given, config))
