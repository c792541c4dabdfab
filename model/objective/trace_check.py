"""Hold a record of negatives against the rules of section 3.3; no model is needed.

userbert pretrain --as-of 2017-06-30 --preset small --trace data/trace
userbert trace check data/trace/rank-0.jsonl

Says of each rule how often it was looked at and how often it was broken, with the first cases.
Exit code 3 where one was broken.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table as Grid

from contracts.errors import BadInput, GateFailed
from contracts.paths import Places
from contracts.terminal.printing import grid, print_parts
from model.config import PretrainConfig
from model.data.build_corpus import training_input_for
from model.data.corpus import Corpus
from model.data.encoder_input import title_identity
from model.data.ragged import Ragged, owners_of
from model.data.vocabulary import Vocabulary
from model.layers.encoders import reads_words
from model.objective.negatives import SequencePool, allowed_sequences
from model.objective.negatives_trace import TraceEvent, read_trace
from model.objective.tasks.task import NO_NEGATIVE
from model.settings.scores import NegativesName
from model.storage.checkpoint_files import VOCABULARY_FILE

TRACE_RULES = {
    "other title": "a chosen behavior is not identical to its target, as the encoder sees both",
    "other user's title": "with set_aside_own, a chosen behavior is not in A or B of its target",
    "other user": "a chosen sequence is not of its target's user",
    "apart in time": "a chosen sequence does not overlap A in time; equal times do",
    "in the pool": "what is chosen is a place in the pool",
    "distinct": "no target has a negative twice",
    "enough": "a target has all its negatives, or all candidates that are allowed",
    "best first": "negatives are in the order of their scores; a cosine is in [-1, 1]",
    "fresh pool": "behaviors are chosen by the model of the step, from a pool drawn for it",
    "pool size": "a pool is no larger than the setting, and of views that are trained on",
    "refresh": "a sequence pool is drawn every refresh_interval steps, and serves those alone",
    "fresh sequences": "a sequence pool is another one than that before, unless it is everything",
    "model of refresh": "sequences are ranked by the model of the pool's step",
    "every step": "steps follow one another from 0, and none is left out",
}
_MAX_CASES = 3  # cases a rule
_ROUNDING = 1e-6  # by which a cosine in single precision may lie outside [-1, 1]


@dataclass
class Findings:
    """What was looked at and what was broken, by rule; cases in words."""

    looked: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    cases: list[str] = field(default_factory=list)

    def record(
        self, rule: str, step: int, fine: NDArray[np.bool_] | np.bool_ | bool, who: str = ""
    ) -> None:
        """One look at `rule` for each of `fine`, a target each where it is an array."""
        fine = np.atleast_1d(np.asarray(fine))
        self.looked[rule] += len(fine)
        for target in np.flatnonzero(~fine)[:_MAX_CASES]:
            if self.broken[rule] < _MAX_CASES:
                place = f", {who} {target}" if who else ""
                self.cases.append(f"step {step}{place}: {rule}")
            self.broken[rule] += 1
        self.broken[rule] += max(0, int((~fine).sum()) - _MAX_CASES)


class Check:
    """Goes through the events of one process in order."""

    def __init__(
        self, corpus: Corpus, config: PretrainConfig, training_pairs: NDArray[np.integer]
    ) -> None:
        self.corpus, self.config = corpus, config
        self.identity = title_identity(corpus, reads_words=reads_words(config.model))
        self.sequences = np.unique(corpus.pairs[training_pairs])
        self.is_behavior = np.zeros(len(corpus.title_ids), bool)
        self.is_behavior[corpus.behaviors] = True
        self.found = Findings()
        self.step, self.behaviors_pool = -1, (-1, np.empty(0, np.int64))
        self.pool_step, self.pool = -1, SequencePool.whole(corpus, np.empty(0, np.int64))

    def check_event(self, event: TraceEvent) -> None:
        kinds: dict[str, Callable[[TraceEvent], None]] = {
            "sequence pool": self._sequence_pool,
            "sequences": self._sequences,
            "behaviors": self._behaviors,
        }
        if event.get("event") not in kinds:
            raise BadInput(f"the record has an event {event.get('event')!r}")
        if event["step"] != self.step:
            self.found.record("every step", event["step"], event["step"] == self.step + 1)
            self.step = event["step"]
        kinds[event["event"]](event)

    def _sequence_pool(self, event: TraceEvent) -> None:
        step, config = event["step"], self.config
        crops = np.array(event["crops"], np.int64).reshape(-1, 3)  # (u, 3)
        before = np.column_stack([self.pool.rows, self.pool.starts, self.pool.lengths])
        is_everything = len(crops) == len(self.sequences)
        is_fresh = is_everything or not np.array_equal(crops, before)
        self.found.record("fresh sequences", step, is_fresh)
        self.pool_step, self.pool = step, SequencePool(*crops.T)
        rows, starts, lengths = crops.T  # (u,) each
        whole = self.corpus.sequences.lengths()[rows]
        fits = (starts >= 0) & (lengths >= 1) & (starts + lengths <= whole)
        fits &= np.isin(rows, self.sequences)
        is_whole = config.negatives_of_sequences == "hardest"
        most = len(self.sequences) if is_whole else config.sequence_pool
        self.found.record("pool size", step, fits, "crop")
        self.found.record("pool size", step, len(rows) <= most)
        self.found.record("refresh", step, step % config.refresh_interval == 0)

    def _sequences(self, event: TraceEvent) -> None:
        step, chosen = event["step"], np.array(event["chosen"], np.int64)
        due = step - step % self.config.refresh_interval
        self.found.record("refresh", step, self.pool_step == due)
        self.found.record("model of refresh", step, event["model_step"] == self.pool_step)
        early = SequencePool.whole(self.corpus, self.corpus.pairs[event["pairs"], 0])
        users = self.corpus.sequence_users  # (S,)
        stranger = users[early.rows][:, None] != users[self.pool.rows]  # (n, u)
        self._each(step, "other user", chosen, stranger)
        self._each(step, "apart in time", chosen, self._apart(early))
        allowed = allowed_sequences(self.corpus, early, self.pool)
        self._choice(step, chosen, event, allowed, self.config.negatives_of_sequences)

    def _apart(self, early: SequencePool) -> NDArray[np.bool_]:
        """(n, m), from every view of a candidate: it shares no code with what chose."""
        if not len(self.pool):
            return np.ones((len(early), 0), bool)
        first = self.corpus.sequences.offsets[early.rows]  # (n,)
        begins, ends = self.corpus.times[first], self.corpus.times[first + early.lengths - 1]
        views = Ragged(self.corpus.times, self.corpus.sequences.offsets).crop(
            self.pool.rows, self.pool.starts, self.pool.lengths
        )
        within = (views.values >= begins[:, None]) & (views.values <= ends[:, None])  # (n, V)
        owners = owners_of(self.pool.lengths)  # (V,)
        starts = np.flatnonzero(np.diff(owners, prepend=-1))  # (m,)
        inside = np.logical_or.reduceat(within, starts, axis=1)  # (n, V) -> (n, m)
        # (n, m): a candidate that begins before A and ends after it, without a view inside.
        around = (views.values[starts] < begins[:, None]) & (
            views.values[views.offsets[1:] - 1] > ends[:, None]
        )
        apart: NDArray[np.bool_] = ~(inside | around)
        return apart

    def _behaviors(self, event: TraceEvent) -> None:
        step, chosen = event["step"], np.array(event["chosen"], np.int64)
        pool, targets = (np.array(event[name], np.int64) for name in ("pool", "targets"))
        self._fresh(step, pool, event["model_step"])
        other = self.identity[targets][:, None] != self.identity[pool]  # (n, m)
        self._each(step, "other title", chosen, other)
        if self.config.set_aside_own:
            foreign = self._foreign(np.array(event["pairs"], np.int64), pool)
            self._each(step, "other user's title", chosen, foreign)
            other &= foreign
        self._choice(step, chosen, event, other, self.config.negatives_of_behaviors)

    def _foreign(self, pairs: NDArray[np.int64], pool: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n, m): whether a candidate is in neither sequence of a target's pair."""
        rows, candidates = self.corpus.sequences, self.identity[pool].tolist()
        own = [
            {*self.identity[rows[early]].tolist(), *self.identity[rows[late]].tolist()}
            for early, late in self.corpus.pairs[pairs]
        ]
        return np.array([[each not in titles for each in candidates] for titles in own], bool)

    def _fresh(self, step: int, pool: NDArray[np.int64], model_step: int) -> None:
        """Another pool than the step's before, unless it is everything there is."""
        config, (before, earlier) = self.config, self.behaviors_pool
        everything = len(np.unique(self.identity[self.is_behavior]))
        is_all = len(pool) == everything
        same = np.array_equal(pool, earlier)
        self.found.record("fresh pool", step, is_all or same == (before == step))
        self.found.record("fresh pool", step, model_step == step)
        is_whole = config.negatives_of_behaviors == "hardest"
        most = everything if is_whole else config.behavior_pool
        self.found.record("pool size", step, len(pool) <= max(most, is_all * everything))
        self.found.record("pool size", step, bool(self.is_behavior[pool].all()))
        self.behaviors_pool = (step, pool)

    def _each(
        self, step: int, rule: str, chosen: NDArray[np.int64], allowed: NDArray[np.bool_]
    ) -> None:
        """`rule` for each target: all that it has is allowed."""
        last = allowed.shape[1] - 1
        self.found.record(
            "in the pool", step, ((chosen >= NO_NEGATIVE) & (chosen <= last)).all(1), "target"
        )
        # (n, K), or (n, P) of sequences; a missing one is allowed
        real = np.where(chosen == NO_NEGATIVE, last + 1, chosen.clip(0, last))
        fine = np.take_along_axis(np.pad(allowed, ((0, 0), (0, 1)), constant_values=True), real, 1)
        self.found.record(rule, step, fine.all(1), "target")

    def _choice(
        self,
        step: int,
        chosen: NDArray[np.int64],
        event: TraceEvent,
        allowed: NDArray[np.bool_],
        negatives: NegativesName,
    ) -> None:
        score = np.array([[np.nan if s is None else s for s in row] for row in event["score"]])
        # missing ones get numbers of their own, so that two of them are distinct
        real = np.sort(np.where(chosen == NO_NEGATIVE, -1 - np.arange(chosen.shape[1]), chosen), 1)
        self.found.record("distinct", step, (np.diff(real, axis=1) != 0).all(1), "target")
        enough = (chosen != NO_NEGATIVE).sum(1) == np.minimum(chosen.shape[1], allowed.sum(1))
        self.found.record("enough", step, enough, "target")
        ordered = ~(np.diff(score, axis=1) > 0).any(1)  # (n,)
        if negatives != "random":
            ordered &= ~(np.abs(score) > 1 + _ROUNDING).any(1)
        self.found.record("best first", step, ordered, "target")


def check_events(
    events: Iterable[TraceEvent],
    corpus: Corpus,
    config: PretrainConfig,
    training_pairs: NDArray[np.integer] | None = None,
) -> Findings:
    """What `events`, from a run's first on, tell of each rule. All pairs are trained on by
    default."""
    rows = np.arange(len(corpus.pairs)) if training_pairs is None else training_pairs
    check = Check(corpus, config, rows)
    for event in events:
        check.check_event(event)
    return check.found


def check_trace_file(path: Path, places: Places) -> tuple[TraceEvent, Findings]:
    """The run that a record is of, and what it tells, on the arrays of its Delta versions."""
    run, events = read_trace(path)
    config = PretrainConfig.from_json(run["settings"])
    grown = run["grown_from"]
    given = training_input_for(
        config,
        places,
        date.fromisoformat(run["as_of"]),
        run["inputs"],
        Vocabulary.load(Path(grown) / VOCABULARY_FILE) if grown else None,
    )
    if given.content != run["content"]:
        raise BadInput(
            f"{path} is of other arrays ({run['content'][:12]}) than the tables of its Delta "
            f"versions give here ({given.content[:12]}): check it where it was trained"
        )
    return run, check_events(events, given.corpus, config, given.training_pairs)


def _findings_grid(run: TraceEvent, found: Findings) -> Grid:
    rows = [
        (meaning, found.looked[rule], found.broken[rule])
        for rule, meaning in TRACE_RULES.items()
        if found.looked[rule]
    ]
    return grid(rows, "rule", "#looks", "#broken", title=run["model_id"])


def main(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Files of `pretrain --trace`.")
    ],
) -> None:
    places, broken = Places.from_environment(), 0
    for path in files:
        run, found = check_trace_file(path, places)
        print_parts(_findings_grid(run, found), *found.cases)
        broken += found.broken.total()
    if broken:
        raise GateFailed(f"{broken:,} looks found a rule broken")
