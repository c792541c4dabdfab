"""The loss of a step of the memory form: users as of random cuts, each title encoded once."""

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import PretrainConfig
from model.data.batches import BatchOrder
from model.data.corpus import Corpus
from model.data.encoder_input import corpus_input
from model.data.histories import Histories
from model.data.keyed_random import torch_seeded
from model.data.ragged import Ragged
from model.forms.memory_model import MemoryModel
from model.inference.vectors import encode_titles
from model.objective.objective import StepResult, Trace, drop_words
from model.objective.tasks.periods import CutRange, Cuts, PeriodPlan, PeriodTask, Step, draw_cuts
from model.objective.tasks.task import implementation_of
from model.objective.title_classes import class_ids_of_titles, classes_of_titles

_USERS_PER_SHARE = 512  # whose losses are computed at a time, without gradient


class PeriodObjective:
    """The loss of any step of a run, from its step number and users alone.

    All that is random comes from (seed, purpose, step, user), so there is no state to be saved.
    """

    def __init__(
        self, model: MemoryModel, corpus: Corpus, config: PretrainConfig, batches: BatchOrder
    ) -> None:
        if corpus.histories is None:
            raise ValueError("the memory form learns from histories, and the corpus has none")
        self.model, self.corpus, self.config, self.batches = model, corpus, config, batches
        self.histories: Histories = corpus.histories
        self.cut_range = CutRange.of(self.histories)
        self.trace: Trace | None = None
        self.tasks: dict[str, PeriodTask] = {
            name: implementation_of(name, PeriodTask)  # type: ignore[type-abstract]
            for name in config.tasks
        }
        self._title_classes: Ragged | None = None

    @property
    def title_classes(self) -> Ragged:
        """(T rows) the classes of each title; made at the first use, once they are chosen."""
        if self._title_classes is None:
            ids = class_ids_of_titles(self.corpus, self.config.classes_of)
            self._title_classes = classes_of_titles(ids, self.model.class_words.cpu().numpy())
        return self._title_classes

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._title_classes = None

    def loss(self, step: int, users: NDArray[np.integer]) -> StepResult:
        """The loss of these users, which are all of a step's or a share of them."""
        whole = self.batches.whole(step)
        cuts = draw_cuts(self.cut_range, self.histories, whole, self.config.seed, step)
        order = np.argsort(whole, kind="stable")
        share = np.sort(order[np.searchsorted(whole[order], np.asarray(users, np.int64))])
        with torch_seeded(self.model.device, self.config.seed, "dropout", step, int(users[0])):
            return self.loss_at(step, cuts, share)

    def loss_at(self, step: int, cuts: Cuts, share: NDArray[np.int64]) -> StepResult:
        """The loss of the rows `share` of a step of these cuts."""
        started = time.perf_counter()
        asked = Step(step, cuts, share, self.title_classes, self.config)
        plans = {name: task.plan(asked) for name, task in self.tasks.items()}
        planned = time.perf_counter()
        encoded = _Encoded(self.model, self.corpus, self.config, step, plans)
        losses, correct, counts = {}, {}, {}
        for name, task in self.tasks.items():
            outcome, num_targets = task.outcome(asked, encoded)
            losses[name] = outcome.losses.sum() / max(1, num_targets)
            counts[name] = len(outcome.losses)
            correct[name] = outcome.correct.mean().item() if counts[name] else 0.0
        return StepResult(
            loss=torch.stack(list(losses.values())).sum(),
            parts={name: loss.item() for name, loss in losses.items()},
            correct=correct,
            counts=counts | {"titles": encoded.num_titles, "behaviors": encoded.num_views},
            sampling_seconds=planned - started,
        )

    def losses_of_users(self, step: int, cuts: Cuts) -> dict[str, NDArray[np.float32]]:
        """(B,) the loss of each row by the tasks that have one of each user.

        period_matching has none: its loss depends on who else is in the step.
        """
        tasks = {name: each for name, each in self.tasks.items() if each.has_loss_of_each_user}
        parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in tasks}
        for start in range(0, len(cuts), _USERS_PER_SHARE):
            share = np.arange(start, min(start + _USERS_PER_SHARE, len(cuts)))
            asked = Step(step, cuts, share, self.title_classes, self.config)
            plans = {name: task.plan(asked) for name, task in tasks.items()}
            encoded = _Encoded(self.model, self.corpus, self.config, step, plans)
            for name, task in tasks.items():
                losses = task.outcome(asked, encoded)[0].losses
                parts[name].append(losses.detach().float().cpu().numpy())
        return {name: np.concatenate(found) for name, found in parts.items() if found}


class _Encoded:
    """Every title of the plans once, and all views that they name, with gradient."""

    def __init__(
        self,
        model: MemoryModel,
        corpus: Corpus,
        config: PretrainConfig,
        step: int,
        plans: dict[str, PeriodPlan],
    ) -> None:
        self.model = model
        named = {name: views for plan in plans.values() for name, views in plan.views.items()}
        is_wanted = np.zeros(len(corpus.title_ids), bool)  # (T,); sorting the views costs 20 times
        for titles in [v.titles.values for v, _ in named.values()] + [
            plan.titles for plan in plans.values()
        ]:
            is_wanted[titles] = True
        distinct = np.flatnonzero(is_wanted)  # (U,)
        self._row_of = np.cumsum(is_wanted) - 1  # (T,) row among the distinct titles
        words = corpus_input(corpus, distinct, reads_words=True)
        if config.word_dropout and model.training:
            words = drop_words(words, distinct, config, step)
        self._titles = encode_titles(model, words)  # (U, E)
        views = Ragged.join([views.titles for views, _ in named.values()])
        self.num_titles, self.num_views = len(distinct), len(views.values)
        given: tuple[Any, ...] = (
            self._row_of[views.values],
            views.lengths(),
            np.concatenate([views.times for views, _ in named.values()]),
            np.concatenate([as_of for _, as_of in named.values()]),
        )
        tensors = (torch.from_numpy(each).to(model.device) for each in given)
        users = model.encode_views(self._titles, *tensors)
        sizes = [len(as_of) for _, as_of in named.values()]
        self._users = dict(zip(named, torch.split(users, sizes), strict=True))

    def users(self, name: str) -> Tensor:
        return self._users[name]

    def titles(self, titles: NDArray[np.int64]) -> Tensor:
        if len(titles) == self.num_titles:
            return self._titles[:, : self.model.config.title_width]
        index = torch.from_numpy(self._row_of[titles]).to(self._titles.device)
        return self._titles[index, : self.model.config.title_width]


def encode_cuts(model: MemoryModel, corpus: Corpus, cuts: Cuts) -> Tensor:
    """(B, D) the vectors of these users as of these instants."""
    views = cuts.before()
    distinct, places = np.unique(views.titles.values, return_inverse=True)
    titles = encode_titles(model, corpus_input(corpus, distinct, reads_words=True))
    given = (places, views.titles.lengths(), views.times, cuts.at)
    return model.encode_views(titles, *(torch.from_numpy(each).to(model.device) for each in given))


def trainable_users(histories: Histories) -> NDArray[np.int64]:
    """The training users who have a day to be cut at, with a view before it."""
    users = histories.users_of("training")
    return users[CutRange.of(histories).has_cut()[users]]
