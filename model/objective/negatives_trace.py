"""A record of every choice of negatives: one JSON object a line, in the order it was made.

    {"event": "run", "model_id", "as_of", "settings", "inputs", "content", "grown_from", ...}
    {"event": "sequence pool", "step", "crops": [[row of corpus.sequences, start, length], ...]}
    {"event": "sequences", "step", "model_step", "pairs", "chosen", "score"}
    {"event": "behaviors", "step", "model_step", "pool", "targets", "chosen", "score"}

`chosen` are places in the pool, best first, -1 where too few were allowed; `score` is the cosine by
the model as it was before the update `model_step` (of `random` negatives: minus the place in its
turn), null where nothing was chosen. `userbert trace check` holds a record against the rules.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from contracts.errors import BadInput

TraceEvent = dict[str, Any]


def event_writer(file: IO[str]) -> Callable[[TraceEvent], None]:
    """What an objective calls with each event."""

    def write(event: TraceEvent) -> None:
        file.write(json.dumps(event) + "\n")

    return write


@contextmanager
def trace_writer(path: Path, run: TraceEvent, step: int) -> Iterator[Callable[[TraceEvent], None]]:
    """The record of one process from its step `step` on, what came before it kept.

    `run` is the first line. A resumed training leaves the bytes of an unbroken one: events that
    the checkpoint does not know of are cut off. A record of another training, or one that lacks
    steps, raises BadInput.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if step:
        _cut(path, run, step)
    else:
        path.write_text(json.dumps(run) + "\n")
    with path.open("a", buffering=1) as file:  # no line is lost to a kill
        yield event_writer(file)


def _cut(path: Path, run: TraceEvent, step: int) -> None:
    """Drop the events of `step` and later ones."""
    kept, newest = 0, -1
    lines: Iterable[bytes] = path.open("rb") if path.exists() else ()
    for line in lines:
        event = _event(line)
        if event.get("step", -1) >= step:
            break
        if event["event"] == "run" and event != run:
            raise BadInput(f"{path} is the record of another training: name another --trace")
        kept, newest = kept + len(line), event.get("step", -1)
    if newest != step - 1:
        raise BadInput(
            f"the training goes on at step {step}, and {path} has nothing of the step before: half "
            "a record proves nothing, so go on without --trace, or begin anew by --no-resume"
        )
    with path.open("rb+") as file:
        file.truncate(kept)


def _event(line: bytes) -> TraceEvent:
    """A line that a kill cut short counts as one that is still to come."""
    try:
        event: TraceEvent = json.loads(line)
    except ValueError:
        return {"event": "", "step": float("inf")}
    return event


def read_trace(path: Path) -> tuple[TraceEvent, Iterable[TraceEvent]]:
    """The run that a record is of, and its events one by one."""
    try:
        with path.open() as file:
            run = json.loads(file.readline())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is not a record of negatives: {error}") from error
    if not isinstance(run, dict) or run.get("event") != "run":
        raise BadInput(f"{path} is not a record of negatives: its first line tells of no run")
    return run, _events(path)


def _events(path: Path) -> Iterator[TraceEvent]:
    with path.open() as file:
        next(file)
        for nth, line in enumerate(file, start=2):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise BadInput(f"{path} cannot be read at line {nth}: {error}") from error
