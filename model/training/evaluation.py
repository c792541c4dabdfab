"""How good a model is on users that no training sees: the same questions to every model.

Each task that registers a metric brings its question (`model/objective/tasks/`). Wrong answers are
random and all draws are fixed, whatever a model was trained with, so that two models' measures on
the same arrays can be compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.data.corpus import Corpus
from model.data.encoder_input import corpus_input
from model.data.ragged import Ragged
from model.inference.vectors import evaluation_mode, title_vectors, to_numpy, user_vectors
from model.layers.user_encoder import UserEncoder
from model.objective.tasks.task import NUM_WRONG_ANSWERS, HeldOutPairs, Question, task_named
from model.settings.scores import ScoreSettings
from model.task_registry import METRICS, TASKS
from model.vector_measures import effective_rank

_SEED = 20210101  # any fixed number
CHANCE = 1 / (1 + NUM_WRONG_ANSWERS)

_DOT_PRODUCTS = ScoreSettings()

Measures = dict[str, float]


@dataclass(frozen=True)
class Questions:
    """What is asked of a model, drawn once."""

    held_out: HeldOutPairs
    by_metric: Mapping[str, Question]

    @cached_property
    def titles(self) -> NDArray[np.int64]:
        """(T,) ascending: every title that comes up."""
        sequences = self.held_out.sequences.values.astype(np.int64)
        others = [question.titles for question in self.by_metric.values()]
        return np.unique(np.concatenate([sequences, *others]))


def draw_questions(corpus: Corpus, pairs: NDArray[np.int32], max_pairs: int) -> Questions:
    """About at most `max_pairs` of `pairs`, evenly chosen; to be asked again and again."""
    stride = max(1, -(-len(pairs) // max_pairs))
    chosen = corpus.pairs[pairs[::stride]].astype(np.int64)  # (N, 2)
    draw = np.random.default_rng(_SEED)
    rows, index = np.unique(chosen, return_inverse=True)
    a, b = index.reshape(chosen.shape).T
    times = Ragged(corpus.times, corpus.sequences.offsets).take(rows)
    held_out = HeldOutPairs(corpus, rows, corpus.sequences.take(rows), times, a, b)
    return Questions(
        held_out,
        {
            task.metric: task_named(name).question(held_out, draw)
            for name, task in TASKS.items()
            if task.metric
        },
    )


class _Vectors:
    """The vectors of one model that the questions ask about (`EvaluationVectors`)."""

    def __init__(self, model: UserEncoder, questions: Questions, settings: ScoreSettings) -> None:
        self.settings = settings
        self.model, self._titles = model, questions.titles
        held_out = questions.held_out
        words = corpus_input(held_out.corpus, self._titles, reads_words=model.reads_words)
        vectors = title_vectors(model, words)
        self._vectors = to_numpy(vectors)  # (T, E)
        places = np.searchsorted(self._titles, held_out.sequences.values)
        sequences = Ragged(places, held_out.sequences.offsets)
        times = held_out.times.values
        users = user_vectors(model, self._vectors, sequences, times, held_out.as_of)  # (S, D)
        with evaluation_mode(model):
            self._candidates = to_numpy(model.title_candidates(vectors))  # (T, D)
            self.matching_users = to_numpy(model.matching_vectors(users))
        self.users = to_numpy(users)

    def titles(self, titles: NDArray[np.integer]) -> NDArray[np.float32]:
        """(...,) to (..., E); of a title below 0 any vector."""
        return self._vectors[np.searchsorted(self._titles, titles)]

    def candidates(self, titles: NDArray[np.integer]) -> NDArray[np.float32]:
        """(...,) to (..., D): what a user's vector is multiplied with for a view of each title."""
        return self._candidates[np.searchsorted(self._titles, titles)]


def evaluate_model(
    model: UserEncoder,
    questions: Questions,
    part: str = "validation",
    settings: ScoreSettings = _DOT_PRODUCTS,
) -> Measures:
    """Accuracies beside chance, losses in nats, and how many directions the embeddings use.

    `{part}_loss` is the sum of the losses; `part` names the held-out users that are asked, and
    `settings` the scores that the model was trained by.
    """
    vectors = _Vectors(model, questions, settings)
    measures: Measures = {}
    for metric, question in questions.by_metric.items():
        scores = question.scores(vectors)
        measures |= {
            f"{metric}_accuracy": accuracy_of(scores),
            f"{metric}_chance": CHANCE,
            f"{metric}_loss": loss_of(scores),
            METRICS[metric]: float(len(scores)),
        }
    measures["effective_rank"] = effective_rank(vectors.users[np.unique(questions.held_out.a)])
    losses = (measures[f"{metric}_loss"] for metric in questions.by_metric)
    return measures | {f"{part}_loss": sum(losses)}


def accuracy_of(scores: NDArray[np.float64]) -> float:
    """How often the first of (n, C) candidates is above all others; a tie is a miss."""
    return float((scores[:, 0] > scores[:, 1:].max(1)).mean()) if len(scores) else 0.0


def loss_of(scores: NDArray[np.float64]) -> float:
    """Mean cross-entropy of the first of (n, C) candidates, nats."""
    return float(losses_of_answers(scores).mean()) if len(scores) else 0.0


def losses_of_answers(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) the cross-entropy of the first of (n, C) candidates, nats; C of 1 or more."""
    shifted = scores - scores.max(1, keepdims=True)  # so that no exponential overflows
    losses: NDArray[np.float64] = np.log(np.exp(shifted).sum(1)) - shifted[:, 0]
    return losses


def answer_scores(
    model: UserEncoder, questions: Questions, settings: ScoreSettings
) -> dict[str, NDArray[np.float64]]:
    """By metric the (n, C) scores that the model gives the candidates, the right one first."""
    vectors = _Vectors(model, questions, settings)
    return {metric: question.scores(vectors) for metric, question in questions.by_metric.items()}
