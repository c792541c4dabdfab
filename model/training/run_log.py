"""The output of a training: a JSON line a step, TensorBoard's curves, a progress bar."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from model.task_registry import METRICS

LOG_FILE = "log.jsonl"
# Shown next to the bar.
_BAR_MEASURES = (*(f"{metric}_accuracy" for metric in METRICS), "validation_loss")


class _LineByLine:
    """Each state of a bar as a line of its own: a task's log shows nothing but whole lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if state := text.strip():
            self._stream.write(f"{state}\n")

    def flush(self) -> None:
        self._stream.flush()


class RunLog:
    """The log of one training, from its step `step` on.

    `log.jsonl` holds nothing that depends on the clock, so that a resumed training leaves the
    same bytes as an unbroken one: what was written after byte `size`, past the checkpoint that
    is resumed, is cut off. Speed goes to TensorBoard.
    """

    def __init__(self, folder: Path, step: int, steps: int, size: int, show: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / LOG_FILE
        self._file = self.path.open("ab")
        self._file.truncate(size)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._bar = tqdm(
            total=steps,
            initial=step,
            unit="step",
            desc="pre-training",
            disable=not show,
            file=sys.stderr if sys.stderr.isatty() else _LineByLine(sys.stderr),
            mininterval=1.0 if sys.stderr.isatty() else 15.0,
        )

    @property
    def size(self) -> int:
        """Bytes of the log so far."""
        return self._file.tell()

    def step(self, step: int, facts: Mapping[str, float]) -> None:
        """One update: its losses and counts."""
        self._write({"step": step, **facts})
        self._curves("step", step, facts)
        self._bar.update()
        if rate := self._bar.format_dict.get("rate"):
            self._board.add_scalar("speed/behaviors_per_second", facts["behaviors"] * rate, step)

    def evaluation(self, step: int, measures: Mapping[str, float]) -> None:
        """One evaluation on the validation users."""
        self._write({"step": step, "held_out": dict(measures)})
        self._curves("held_out", step, measures)
        shown = {name: f"{measures[name]:.3f}" for name in _BAR_MEASURES}
        self._bar.set_postfix(shown)

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def _curves(self, group: str, step: int, facts: Mapping[str, float]) -> None:
        for name, value in facts.items():
            self._board.add_scalar(f"{group}/{name}", value, step)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
        self._board.close()
        self._file.close()
