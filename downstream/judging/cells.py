"""One cell of the judge: a task, a rival's vectors, and what both heads make of them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.evaluation_settings import EvaluationSettings
from contracts.storage.atomic_write import write_text
from downstream.judging.heads import (
    HEADS,
    LINEAR_HEAD,
    TREE_HEAD,
    Features,
    Floats,
    Head,
    Setting,
)
from downstream.judging.metrics import mean_auc, rank_correlation
from downstream.judging.splits import Split, user_split
from downstream.tasks.task import Task
from model.data.keyed_random import keyed_generator

_SEARCH_FOLDS = 2
_SEARCH_COLUMNS = 5  # of many, by which a head's setting is chosen
_WORSE_IN_A_ROW = 2  # settings after the best one that end the search
_MIN_COLD_USERS = 20  # test users; a metric of fewer is not kept
ALL_USERS, COLD_USERS, SEEN_EARLY = "all", "cold", "seen_early"


@dataclass(frozen=True)
class Result:
    """The scores of one rival on one task by one head with one share of the labels."""

    task: str
    rival: str
    head: str
    label_share: float  # of the training users' labels
    population: str  # test users: all, cold, or seen_early (with a view before the oldest vectors)
    stale_days: int  # age of the vectors at the cut
    metric: str
    num_users: int  # labelled
    settings: tuple[Setting, ...]  # of the head, as the search of each split chose it
    scores: tuple[float, ...]  # a split each; NaN where the test users do not allow one

    @property
    def mean(self) -> float:
        return float(np.nanmean(self.scores)) if np.isfinite(self.scores).any() else float("nan")

    @property
    def deviation(self) -> float:
        return float(np.nanstd(self.scores, ddof=1)) if self.num_scores > 1 else 0.0

    @property
    def num_scores(self) -> int:
        return int(np.isfinite(self.scores).sum())

    @property
    def place(self) -> tuple[str, str, float, str, int]:
        """What must be equal for two rivals' scores to be compared."""
        return self.task, self.head, self.label_share, self.population, self.stale_days


@dataclass(frozen=True, eq=False)
class Cell:
    """What one process works on. `vectors` is a .npy file of (N, D), a row a judged user."""

    task: Task
    rival: str
    vectors: Path
    vectors_hash: str
    num_views: NDArray[np.int64]  # (N,) of each judged user before the cut
    settings: EvaluationSettings
    stale_days: int = 0
    is_stale_curve: bool = False

    @property
    def name(self) -> str:
        curve = f"--{self.stale_days}-days-old" if self.is_stale_curve else ""
        return f"{self.task.name}--{self.rival}{curve}"

    @property
    def file_name(self) -> str:
        """Two models can have a rival of one name, such as their own form untrained."""
        return f"{self.name}--{self.vectors_hash[:8]}.json".replace("/", "_")

    @property
    def content(self) -> str:
        return f"{self.task.content} {self.vectors_hash}"


def finished_results(cell: Cell, folder: Path) -> list[Result] | None:
    """The results of a cell that was finished before, of the same labels and vectors."""
    path = folder / cell.file_name
    if not path.exists():
        return None
    stored = json.loads(path.read_text())
    if stored["content"] != cell.content:
        return None
    return [_from_json(row) for row in stored["results"]]


def evaluate_cell(cell: Cell, folder: Path) -> list[Result]:
    """Judge the cell and keep its results in `folder`, whole or not at all."""
    results = list(_results(cell))
    rows = [asdict(result) for result in results]
    facts = {"content": cell.content, "results": rows}
    write_text(folder / cell.file_name, json.dumps(facts))
    return results


def _from_json(row: Mapping[str, Any]) -> Result:
    settings = tuple(tuple(setting) for setting in row["settings"])
    return Result(**{**row, "settings": settings, "scores": tuple(row["scores"])})


def _results(cell: Cell) -> Iterator[Result]:
    """Both heads with every share; on the staleness curve the linear head with all labels."""
    settings, users = cell.settings, cell.task.users
    features = _features_of(cell)
    is_cold = cell.num_views[users] < settings.cold_below_views
    for head in (LINEAR_HEAD,) if cell.is_stale_curve else HEADS:
        task = _asked_of(head, cell.task, settings)
        splits = _splits(head, task, cell)
        most = max(settings.label_shares)
        for share in (most,) if cell.is_stale_curve else settings.label_shares:
            scored = [
                _split_scores(head, task, features, split, share, settings.seed, is_cold)
                for split in splits
            ]
            chosen, everybody, cold = (tuple(column) for column in zip(*scored, strict=True))
            population = SEEN_EARLY if cell.is_stale_curve else ALL_USERS
            yield _result(cell, head, share, chosen, population, everybody)
            if not cell.is_stale_curve and np.isfinite(cold).any():
                yield _result(cell, head, share, chosen, COLD_USERS, cold)


def _features_of(cell: Cell) -> Features:
    vectors = np.load(cell.vectors, mmap_mode="r")
    return Features(vectors[cell.task.users].astype(np.float64))


def _result(
    cell: Cell,
    head: Head,
    share: float,
    chosen: tuple[Setting, ...],
    population: str,
    scores: tuple[float, ...],
) -> Result:
    return Result(
        task=cell.task.name,
        rival=cell.rival,
        head=head.name,
        label_share=share,
        population=population,
        stale_days=cell.stale_days,
        metric=cell.task.metric,
        num_users=len(cell.task.users),
        settings=chosen,
        scores=scores,
    )


def _asked_of(head: Head, task: Task, settings: EvaluationSettings) -> Task:
    """The task itself; of many columns LightGBM gets the first, which are the most viewed."""
    if head is not TREE_HEAD or task.is_number:
        return task
    most = settings.tree_columns
    return replace(task, labels=task.labels[:, :most], columns=task.columns[:most])


def _splits(head: Head, task: Task, cell: Cell) -> list[Split]:
    """The first splits, the same for every rival: fewer where a fit is slow or a curve is drawn."""
    settings = cell.settings
    count = settings.splits
    if cell.is_stale_curve:
        count = min(settings.stale_splits, count)
    if head is TREE_HEAD and task.labels.shape[1] > 1:
        count = min(settings.tree_splits_of_many, count)
    return [user_split(len(task.users), settings.seed, number) for number in range(count)]


def best_setting(
    head: Head, task: Task, features: Features, train: NDArray[np.int64], seed: int
) -> Setting:
    """The setting with the best mean over inner folds of these training users.

    So each split searches anew, and no label of its test users is ever looked at. Of many columns
    the first SEARCH_COLUMNS decide. Of equal settings the first is taken. The settings stand in
    order of their freedom, and the search ends where two in a row are worse than the best.
    """
    labels = task.labels[:, :_SEARCH_COLUMNS]  # (n, K), K at most _SEARCH_COLUMNS
    folds = [
        (
            labels[held],
            head.scores(head.settings, task.is_number, features, fit, labels[fit], held, seed),
        )
        for fit, held in inner_folds(train)
    ]
    means: list[float] = []
    for _ in head.settings:
        scores = [task_score(task, held, next(predicted)) for held, predicted in folds]
        there = [each for each in scores if np.isfinite(each)]
        means.append(float(np.mean(there)) if there else float("-inf"))
        if len(means) - 1 - int(np.argmax(np.array(means))) >= _WORSE_IN_A_ROW and there:
            break
    return head.settings[int(np.argmax(np.array(means)))]


def inner_folds(train: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(training, held out) rows of each fold."""
    parts = [train[number::_SEARCH_FOLDS] for number in range(_SEARCH_FOLDS)]
    return [
        (np.concatenate(parts[:held] + parts[held + 1 :]), parts[held])
        for held in range(_SEARCH_FOLDS)
    ]


def task_score(task: Task, labels: Floats, predicted: Floats) -> float:
    """The task's metric."""
    return rank_correlation(labels, predicted) if task.is_number else mean_auc(labels, predicted)


def _split_scores(
    head: Head,
    task: Task,
    features: Features,
    split: Split,
    share: float,
    seed: int,
    is_cold: NDArray[np.bool_],
) -> tuple[Setting, float, float]:
    """The split's setting, and its score of all test users and of the cold ones among them."""
    train = split.first(share)
    setting = best_setting(head, task, features, train, seed)
    predicted = head.fit(
        setting, task.is_number, features, train, task.labels[train], split.test, seed
    )
    labels, cold = task.labels[split.test], is_cold[split.test]
    of_cold = (
        task_score(task, labels[cold], predicted[cold])
        if cold.sum() >= _MIN_COLD_USERS
        else float("nan")
    )
    return setting, task_score(task, labels, predicted), of_cold


def shuffled_score(cell: Cell) -> tuple[float, float]:
    """The mean score with labels shuffled among users, and its distance from chance in errors.

    The labels are shuffled anew in each of `canary_splits`; the error is that of a random order of
    the test users, taken for the rarest column.
    """
    settings, task = cell.settings, cell.task
    features = _features_of(cell)
    setting, scores = LINEAR_HEAD.settings[1], []
    for number in range(settings.canary_splits):
        split = user_split(len(task.users), settings.seed, number)
        order = keyed_generator(settings.seed, "downstream shuffle", number).permutation(
            len(task.users)
        )
        labels = task.labels[order]
        predicted = LINEAR_HEAD.fit(
            setting,
            task.is_number,
            features,
            split.train,
            labels[split.train],
            split.test,
            settings.seed,
        )
        scores.append(task_score(task, labels[split.test], predicted))
    mean = float(np.nanmean(scores))
    return mean, (mean - task.chance) / (_random_error(task, len(split.test)) / len(scores) ** 0.5)


def _random_error(task: Task, num_test: int) -> float:
    """The standard deviation of the metric under a random order."""
    if task.is_number:
        return float((num_test - 1) ** -0.5)
    shares = task.labels.mean(axis=0)
    rarest = float(np.minimum(shares, 1 - shares).min())
    positives = max(1.0, rarest * num_test)
    negatives = max(1.0, num_test - positives)
    return float(((positives + negatives + 1) / (12 * positives * negatives)) ** 0.5)
