"""The privacy card of a model: re-identification, membership, leaked labels, the price of noise.

What is embedded lies before `as_of`, labels of the judge's tasks after it. All draws have a seed,
so the same card again has the same figures.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from deltalake.exceptions import DeltaError
from numpy.typing import NDArray

from analyst.lake_access.open_lake import OpenLake
from contracts.errors import BadInput, UserbertError
from contracts.provenance import code_version
from downstream.privacy.leaked_labels import Leak, leaks_of
from downstream.privacy.measured_users import (
    CardChoices,
    MeasuredUsers,
    read_users,
    was_trained_on,
)
from downstream.privacy.membership import MembershipAttack, attacks_by_heads, attacks_by_losses
from downstream.privacy.noise_costs import JudgedVectors, NoiseCost, noise_costs
from downstream.privacy.period_vectors import HALF_DAYS, split_periods
from downstream.privacy.reidentification import Reidentification
from downstream.rivals.aggregates import aggregate_counts
from downstream.rivals.encoders import model_vectors
from downstream.tasks.from_logs import LOG_TASKS, Periods
from downstream.tasks.labels_file import labels_files, read_task, sensitive_files
from downstream.tasks.task import Task
from model.data.build_corpus import training_input_for
from model.storage.checkpoint import load_model
from model.training.user_losses import losses_of_users

_MIN_OF_A_KIND = 20  # users who were trained on, and who were held out
_NOISE_TASKS = ("churn", "activity", "preference")
_Progress = Callable[[str], None]


@dataclass(frozen=True)
class PrivacyCard:
    """What was measured. `notes` say what was left out, and why."""

    model_id: str
    as_of: str
    users: int
    half_days: int  # of each of the two periods
    reidentified: tuple[Reidentification, ...]
    membership: tuple[MembershipAttack, ...]
    leaks: tuple[Leak, ...]
    noise: tuple[NoiseCost, ...]
    clip: float
    delta: float
    splits: int
    seed: int
    notes: tuple[str, ...]
    code_version: str


def num_parts(choices: CardChoices) -> int:
    """How often `measure_privacy` names a part to its `progress`."""
    return 4 if choices.epsilons else 3


def measure_privacy(
    lake: OpenLake,
    model_id: str,
    choices: CardChoices,
    progress: _Progress = lambda part: None,
) -> PrivacyCard:
    """The card of a model; each part is named to `progress` before it begins."""
    trained = load_model(lake.model_folder(model_id))
    measured = read_users(lake, trained, choices)
    progress("re-identification")
    periods = split_periods(measured)
    reidentified = tuple(periods.reidentified())
    progress("membership")
    membership = tuple(_membership(measured))
    progress("sensitive labels")
    at_cut = model_vectors(trained, measured.past, measured.as_of)
    leaks = tuple(_leaks(measured, at_cut))
    noise: tuple[NoiseCost, ...] = ()
    if choices.epsilons:
        progress("noise")
        noise = tuple(_noise(measured, JudgedVectors(at_cut, *periods.of_model)))
    return PrivacyCard(
        model_id=model_id,
        as_of=str(measured.as_of),
        users=len(measured.views),
        half_days=HALF_DAYS,
        reidentified=reidentified,
        membership=membership,
        leaks=leaks,
        noise=noise,
        clip=choices.noise.clip,
        delta=choices.noise.delta,
        splits=choices.splits,
        seed=choices.seed,
        notes=tuple(measured.notes),
        code_version=code_version(),
    )


def _membership(measured: MeasuredUsers) -> Iterator[MembershipAttack]:
    """By vectors as of the day of training, by counts as a control, and by losses."""
    day, seed = measured.manifest.trained_before, measured.choices.seed
    past = measured.training_candidates()
    was_trained = was_trained_on(past)
    fewest = min(int(was_trained.sum()), int((~was_trained).sum()))
    if fewest < _MIN_OF_A_KIND:
        measured.notes.append(
            f"membership was left out: of the users who were trained on, or of those who were held "
            f"out, there are {fewest}, and {_MIN_OF_A_KIND} of each are needed"
        )
        return
    vectors = model_vectors(measured.trained, past, day)
    yield from attacks_by_heads("vectors", vectors, was_trained, seed)
    counts = aggregate_counts(past, day)
    yield from attacks_by_heads("hand-made counts (control)", counts, was_trained, seed)
    yield from loss_attacks(measured)


def loss_attacks(measured: MeasuredUsers) -> Iterator[MembershipAttack]:
    """On the very arrays of the training; a note where the lake no longer has them."""
    manifest, seed = measured.manifest, measured.choices.seed
    if manifest.alignment:
        measured.notes.append(
            f"losses were left out: those of an aligned model are {manifest.alignment['from']}'s"
        )
        return
    try:
        given = training_input_for(
            manifest.config, measured.lake.places, manifest.trained_before, manifest.inputs
        )
    except (UserbertError, DeltaError, OSError) as error:
        reason = str(error).partition("\n")[0]
        measured.notes.append(f"losses were left out: the training's data are gone ({reason})")
        return
    if given.content != manifest.content:
        measured.notes.append(
            "losses were left out: the tables no longer hold what the model was trained on"
        )
        return
    found = losses_of_users(measured.trained, given)
    yield from attacks_by_losses(found, seed)
    yield from attacks_by_heads("all losses", found.losses, found.was_trained, seed)


def _leaks(measured: MeasuredUsers, vectors: NDArray[np.float32]) -> Iterator[Leak]:
    """Sensitive labels by the vectors, beside what anybody could count."""
    tasks = list(_sensitive_tasks(measured))
    if not tasks:
        measured.notes.append(
            f"no label was asked about: mark a file in {measured.lake.places.labels} by "
            "is_sensitive = true in its settings, or name it by --labels"
        )
        return
    counts = aggregate_counts(measured.past, measured.as_of)
    compared: dict[str, NDArray[np.floating]] = {"model": vectors, "hand-made counts": counts}
    yield from leaks_of(tasks, compared, measured.choices.splits, measured.choices.seed)


def _sensitive_tasks(measured: MeasuredUsers) -> Iterator[Task]:
    folder = measured.lake.places.labels
    files = labels_files(folder)
    for name in measured.choices.labels or sensitive_files(folder):
        if name not in files:
            raise BadInput(
                f"{folder} has no file of labels {name}; it has {', '.join(files) or 'none'}"
            )
        yield read_task(files[name], measured.past, measured.as_of).judgeable()


def _noise(measured: MeasuredUsers, vectors: JudgedVectors) -> Iterator[NoiseCost]:
    tasks = [*_tasks_from_logs(measured), *_sensitive_tasks(measured)]
    choices = measured.choices
    yield from noise_costs(
        vectors, tasks, choices.epsilons, choices.noise, choices.splits, choices.seed
    )


def _tasks_from_logs(measured: MeasuredUsers) -> Iterator[Task]:
    """Some of the judge's tasks, where the lake has the days of their labels."""
    horizon_days = measured.settings.horizon_days
    if not measured.has_later_views:
        measured.notes.append(
            f"noise was judged by no task from logs: fewer than {horizon_days} days of views "
            f"follow {measured.as_of}"
        )
        return
    periods = Periods.cut(measured.views, measured.as_of, horizon_days)
    for name in _NOISE_TASKS:
        try:
            yield LOG_TASKS[name](periods).judgeable()
        except BadInput as error:
            measured.notes.append(str(error))
