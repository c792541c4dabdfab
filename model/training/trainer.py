"""One model in training: its update, and all that a resumed training needs as it was."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import PretrainConfig
from model.data.corpus import TrainingInput
from model.data.ready_vectors import NO_READY_VECTORS, ReadyVectors
from model.forms.build_user_model import build_user_model
from model.layers.encoders import reads_words
from model.layers.user_encoder import UserEncoder
from model.objective.objective import StepResult
from model.objective.period_measures import period_measures
from model.objective.period_objective import PeriodObjective
from model.storage.checkpoint import (
    Manifest,
    load_weights,
    read_manifest,
    read_tensors,
    require_same_training,
)
from model.storage.checkpoint_files import WEIGHTS_FILE
from model.training.build_objective import build_objective
from model.training.distributed import Processes
from model.training.evaluation import Measures, Questions, evaluate_model
from model.training.warm_start import begin_from_weights

OPTIMIZER_FILE = "optimizer.safetensors"
OBJECTIVE_FILE = "objective.safetensors"
BEST_WEIGHTS_FILE = "best.safetensors"


@dataclass
class Progress:
    """How far a training has come; numbers only, so that it fits the manifest."""

    step: int = 0  # updates done
    log_size: int = 0  # bytes of log.jsonl that belong to them
    threads: int = 0  # of torch; another number may round otherwise
    best_step: int = 0  # of the best evaluation so far
    evaluations_since_best: int = 0
    best_measures: Measures | None = None
    newest_measures: Measures | None = None


class Training:
    """The model, its optimizer, its negatives and how far they have come.

    All randomness is a function of the seed and the step (`model/data/keyed_random.py`), so these,
    and the negatives that a refresh has chosen, are all that a checkpoint must hold.
    """

    def __init__(
        self,
        given: TrainingInput,
        config: PretrainConfig,
        processes: Processes,
        threads: int,
        ready: ReadyVectors = NO_READY_VECTORS,
    ) -> None:
        self.given = given
        self.config = config
        self.processes = processes
        self.progress = Progress(threads=threads)
        torch.manual_seed(config.seed)  # of the first weights, the same in every process
        model = build_user_model(config.model, len(given.vocabulary), self._num_titles)
        self.model = model.to(processes.device)
        self.objective = build_objective(self.model, given, config, processes, ready)
        if ready.weights:
            title_ids = np.asarray(given.corpus.title_ids)
            begin_from_weights(self.model, config, ready.weights, given.vocabulary, title_ids)
        self.optimizer = _optimizer(self.model, config)
        self.best: dict[str, Tensor] = {}  # weights of the best evaluation
        if config.compile:
            for name in self.model.compiled_methods:
                setattr(self.model, name, torch.compile(getattr(self.model, name), dynamic=True))

    @property
    def _num_titles(self) -> int:
        """The rows of the model's title table; 0 where it has none."""
        model = self.config.model
        has_table = model.own_titles or not reads_words(model)
        return len(self.given.corpus.title_ids) if has_table else 0

    def update(self) -> dict[str, float]:
        """One step over the whole batch, of which this process takes its share.

        A share's loss is what it adds to the mean over the whole batch's targets, so losses and
        gradients of all shares just add up. Returns losses and counts over all processes.
        """
        step, rate = self.progress.step, self._rate()
        self.optimizer.zero_grad(set_to_none=True)
        sums: Counter[str] = Counter()
        for pairs in self._micro_batches(step):
            sums.update(self._backward(step, pairs))
        self.processes.sum_gradients(self.model)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.config.max_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_norm)
        self.optimizer.step()
        self.progress.step += 1
        return self.processes.sum_over_processes(sums) | {"learning_rate": rate}

    def _micro_batches(self, step: int) -> list[NDArray[np.int64]]:
        share, count = self.objective.batches.share(step), self.config.accumulation
        return [share[nth::count] for nth in range(count)]

    def _backward(self, step: int, pairs: NDArray[np.int64]) -> dict[str, float]:
        """Add the gradients of some pairs; returns what they add to the step's losses."""
        device, half = self.processes.device, self.config.dtype == "bfloat16"
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            result = self.objective.loss(step, pairs)
        result.loss.backward()  # type: ignore[no-untyped-call]
        return {"loss": sum(result.parts.values()), **result.parts, **_counts(result)}

    def _rate(self) -> float:
        """The learning rate of this step: up over `warmup_steps`, down over `cooldown_steps`."""
        config, step = self.config, self.progress.step
        risen = (step + 1) / max(1, config.warmup_steps)
        left = (config.steps - step) / max(1, config.cooldown_steps)
        return config.learning_rate * min(1.0, risen, left)

    def measures(self, questions: Questions, part: str) -> Measures:
        """What the model makes of the held-out users of `part`: validation or test."""
        found = evaluate_model(self.model, questions, part, self.config)
        if isinstance(self.objective, PeriodObjective):
            # The loss on those users is that of the training, not that of the questions.
            found |= period_measures(self.objective, part)
        return found

    def note_evaluation(self, measures: Measures) -> None:
        """Note an evaluation on the validation users, and the weights if it is the best."""
        progress = self.progress
        progress.newest_measures = measures
        least = (progress.best_measures or {}).get("validation_loss", math.inf)
        if measures["validation_loss"] < least:
            progress.best_measures, progress.best_step = measures, progress.step
            progress.evaluations_since_best = 0
            if self.config.patience:
                self.best = {k: v.clone() for k, v in self.model.state_dict().items()}
        else:
            progress.evaluations_since_best += 1

    @property
    def is_over(self) -> bool:
        config, progress = self.config, self.progress
        stopped_early = config.patience and progress.evaluations_since_best >= config.patience
        return progress.step >= config.steps or bool(stopped_early)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a checkpoint holds, by file name; every process must ask."""
        state = self.optimizer.state_dict()["state"]
        held = {
            WEIGHTS_FILE: self.model.state_dict(),
            OPTIMIZER_FILE: {f"{i}.{k}": v for i, each in state.items() for k, v in each.items()},
            OBJECTIVE_FILE: _merged(self.processes.gather(self.objective.state_dict())),
            BEST_WEIGHTS_FILE: self.best,
        }
        return {name: tensors for name, tensors in held.items() if tensors}

    def manifest(self, name: str) -> Manifest:
        """What a checkpoint says of this training as it stands; `name` is the model's id."""
        given, progress = self.given, self.progress
        return Manifest(
            model_id=name,
            trained_before=given.as_of,
            settings=self.config.to_json(),
            inputs=given.inputs,
            content=given.content,
            num_words=len(given.vocabulary),
            num_titles=self._num_titles,
            measures=progress.newest_measures or {},
            vocabulary_hash=given.vocabulary.sha256,
            progress=asdict(progress),
        )

    def restore(self, folder: Path, expected: Manifest) -> None:
        """Go on from a checkpoint of this very training, or refuse, saying what does not fit."""
        found = read_manifest(folder)
        require_same_training(folder, found, expected)
        load_weights(self.model, read_tensors(folder, WEIGHTS_FILE), folder)
        if OPTIMIZER_FILE in found.files:
            self._restore_optimizer(read_tensors(folder, OPTIMIZER_FILE))
        if OBJECTIVE_FILE in found.files:
            self.objective.load_state_dict(read_tensors(folder, OBJECTIVE_FILE))
        if BEST_WEIGHTS_FILE in found.files:
            self.best = read_tensors(folder, BEST_WEIGHTS_FILE)
        self.progress = Progress(**found.progress)

    def _restore_optimizer(self, held: Mapping[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in held.items():
            nth, key = name.split(".", 1)
            state.setdefault(int(nth), {})[key] = value
        groups: Any = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _optimizer(model: UserEncoder, config: PretrainConfig) -> torch.optim.Optimizer:
    """Adam, or AdamW where weights decay."""
    parameters, rate = model.parameters(), config.learning_rate
    if not config.weight_decay:
        return torch.optim.Adam(parameters, lr=rate, fused=True)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=config.weight_decay, fused=True)


def _merged(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The negatives that each process chose for its own pairs, as one process would hold them."""
    if len(states) == 1 or not states[0]:
        return states[0]
    pairs = torch.cat([state["pairs"] for state in states]).numpy()
    _, first = np.unique(pairs, return_index=True)
    joined = {
        name: torch.cat([state[name] for state in states])[torch.from_numpy(first)]
        for name in ("pairs", "chosen", "score")
    }
    return states[0] | joined


def _counts(result: StepResult) -> dict[str, float]:
    """What adds up over shares: targets of each task, those found, missing logits, titles."""
    found = {f"{task}_found": share * result.counts[task] for task, share in result.correct.items()}
    targets = {f"{task}_targets": float(result.counts[task]) for task in result.correct}
    others = {name: n for name, n in result.counts.items() if name not in result.correct}
    return found | targets | others
