"""The losses of single users, those whom a model was trained on and those who were held out.

Who was trained on has lower losses where a model has learned its users by heart: this is what the
strongest attacker of the privacy card looks at (`downstream/privacy/membership.py`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.instants import DAY_MICROSECONDS
from model.data.batches import BatchOrder
from model.data.corpus import Corpus, TrainingInput
from model.data.histories import Histories
from model.data.ragged import owners_of
from model.forms.memory_model import MemoryModel
from model.inference.vectors import evaluation_mode
from model.layers.user_encoder import UserEncoder
from model.objective.period_objective import PeriodObjective, trainable_users
from model.objective.tasks.masked_behaviors import MaskedQuestion
from model.objective.tasks.periods import CutRange, Cuts
from model.objective.tasks.sequence_matching import MatchingQuestion
from model.objective.tasks.task import HIDDEN_TITLE, HeldOutPairs, Question
from model.storage.checkpoint import TrainedModel
from model.training.evaluation import Questions, answer_scores, draw_questions, losses_of_answers

_STEP = -1  # its draws are no training step's
_CUTS_BEFORE_LAST = (0, 7, 14, 21, 28)  # days before the last possible cut of the memory form
_MAX_TRAINING_USERS = 4_000  # evenly chosen; of held-out users all are asked

_Losses = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class UserLosses:
    """Shapes: U users, K tasks.

    losses      (U, K) float64, a mean over what each task asks of a user
    was_trained (U,) bool: in the training part; the others were held out
    """

    tasks: tuple[str, ...]
    losses: NDArray[np.float64]
    was_trained: NDArray[np.bool_]


def losses_of_users(trained: TrainedModel, given: TrainingInput) -> UserLosses:
    """Each user's losses by the tasks of pre-training, without dropout, in a fixed order of draws.

    `given` is what the model was trained on. Users of whom a task asks nothing are left out.
    """
    with evaluation_mode(trained.model):
        if isinstance(trained.model, MemoryModel):
            return _losses_by_periods(trained, trained.model, given.corpus)
        return _losses_by_questions(trained.model, trained, given)


def _losses_by_periods(trained: TrainedModel, model: MemoryModel, corpus: Corpus) -> UserLosses:
    """The memory form: the mean over some cuts of the losses of each user who can be cut there."""
    histories, config = corpus.histories, trained.manifest.config
    assert histories is not None, "arrays for the memory form have histories"
    order = BatchOrder(trainable_users(histories), config.batch_size, config.seed)
    objective = PeriodObjective(model, corpus, config, order)
    users = _asked_users(histories, objective.cut_range)
    sums: _Losses = {}
    counts = np.zeros(len(users))
    for days in _CUTS_BEFORE_LAST:
        day = objective.cut_range.last - days
        has_cut = objective.cut_range.first[users] <= day
        if not has_cut.any():
            continue
        at = np.full(int(has_cut.sum()), day * DAY_MICROSECONDS, np.int64)
        found = objective.losses_of_users(_STEP, Cuts(histories, users[has_cut], at))
        counts += has_cut
        for name, losses in found.items():
            sums.setdefault(name, np.zeros(len(users)))[has_cut] += losses
    means = np.stack([each / counts.clip(1) for each in sums.values()], axis=1)  # (U, K)
    return UserLosses(tuple(sums), means, users < histories.num_training)


def _asked_users(histories: Histories, cut_range: CutRange) -> NDArray[np.int64]:
    """(U,) rows of users who have a cut: of training users at most a number, evenly chosen."""
    rows = np.flatnonzero(cut_range.has_cut())
    own = rows[rows < histories.num_training]
    stride = max(1, -(-len(own) // _MAX_TRAINING_USERS))
    return np.concatenate([own[::stride], rows[rows >= histories.num_training]])


def _losses_by_questions(
    model: UserEncoder, trained: TrainedModel, given: TrainingInput
) -> UserLosses:
    """The window form: the questions of the evaluation, of pairs of both kinds of users.

    Of training pairs as many are asked as of held-out ones: a candidate of a question is then of
    either kind as often as not.
    """
    held_out, own = given.held_out_pairs, given.training_pairs
    stride = max(1, len(own) // max(1, len(held_out)))
    chosen = np.concatenate([own[::stride], held_out])
    questions = draw_questions(given.corpus, chosen, len(chosen))
    found = answer_scores(model, questions, trained.manifest.config)
    members = given.corpus.sequence_users[given.corpus.pairs[own, 0]]
    return _mean_by_user(questions, found, members)


def _mean_by_user(
    questions: Questions, found: dict[str, NDArray[np.float64]], members: NDArray[np.int32]
) -> UserLosses:
    """`found` are the scores by metric, `members` the rows of the training users."""
    held_out = questions.held_out
    users_of_sequences = held_out.corpus.sequence_users[held_out.rows]  # (S,)
    users = np.unique(users_of_sequences[held_out.a])
    columns, is_asked = [], np.ones(len(users), bool)
    for metric, scores in found.items():
        sequences = _asked_sequences(questions.by_metric[metric], held_out)
        rows = np.searchsorted(users, users_of_sequences[sequences])
        counts = np.bincount(rows, minlength=len(users))
        columns.append(np.bincount(rows, losses_of_answers(scores), len(users)) / counts.clip(1))
        is_asked &= counts > 0
    losses = np.stack(columns, axis=1)[is_asked]
    return UserLosses(tuple(found), losses, np.isin(users, members)[is_asked])


def _asked_sequences(question: Question, held_out: HeldOutPairs) -> NDArray[np.int64]:
    """(n,) places in `held_out.rows` of the sequences A that a question's n scores are about."""
    if isinstance(question, MatchingQuestion):
        return question.early
    assert isinstance(question, MaskedQuestion), "these two tasks register a metric"
    owners = owners_of(question.sequences.lengths())
    return np.asarray(held_out.a[owners[question.sequences.values == HIDDEN_TITLE]])
