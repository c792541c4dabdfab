"""Run several commands one after another in one process, and so in one Spark application.

userbert steps "browsing-logs --from-day 2017-06-29 --to-day 2017-06-29" titles sessions

A start of Spark costs 20 CPU seconds, more than the rows of most nights. Each command is a step
with its own gate, commit and summary. The first that fails ends the run, with its own message and
exit code; what came before it stays. In a task of Airflow the next try goes on at the step that
failed, or at an earlier one whose landing files have changed since. By hand, every step runs.
"""

import hashlib
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Annotated

import typer

from contracts.errors import BadInput
from contracts.paths import Places
from contracts.provenance import BY_HAND, run_name
from contracts.storage.atomic_write import write_json
from contracts.storage.landing_copy import fetch_landing
from contracts.terminal.command_line import parse_options
from contracts.terminal.options import days_between

_KEPT = timedelta(days=30)  # of what a task has left that never came to its end


@dataclass(frozen=True)
class _Step:
    """A command, and the state of the files that it reads from outside the lake."""

    command: str
    inputs: str = ""

    @property
    def words(self) -> list[str]:
        return shlex.split(self.command)


class _Record:
    """Which steps of a task are done, so that its next try can go on after them."""

    def __init__(self, places: Places, run: str) -> None:
        name = hashlib.sha256(run.encode()).hexdigest()[:16]
        self._path = None if run == BY_HAND else places.steps / f"{name}.json"
        self._run = run

    def read(self) -> list[_Step]:
        """The steps that are done; none where the file is not there or is not whole."""
        try:
            done = json.loads(self._path.read_text(encoding="utf-8"))["done"] if self._path else []
            return [_Step(**step) for step in done]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def write(self, done: Sequence[_Step]) -> None:
        if self._path:
            done_steps = [asdict(step) for step in done]
            write_json(self._path, {"run": self._run, "done": done_steps})

    def remove(self) -> None:
        """The task is done: whoever clears it wants all of it again."""
        if not self._path:
            return
        self._path.unlink(missing_ok=True)
        oldest = time.time() - _KEPT.total_seconds()
        for path in self._path.parent.glob("*.json"):
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)


def _with_inputs(command: str, places: Places) -> _Step:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise BadInput(f"the command {command!r} cannot be read: {error}") from None
    reads_landing = words[:1] == ["browsing-logs"]
    return _Step(command, _landing_state(places, words[1:]) if reads_landing else "")


def _landing_state(places: Places, words: Sequence[str]) -> str:
    """A hash of names, sizes and times of the files that `browsing-logs` reads with `words`."""
    from spark_jobs.tables import browsing_logs

    values = parse_options(browsing_logs.main, words)
    days = days_between(values["from_day"], values["to_day"], browsing_logs.DAY_OPTIONS)
    fetch_landing(places, days)
    landing = places.landing
    files = [path for day in days for path in sorted((landing / str(day)).rglob("*"))]
    state = hashlib.sha256()
    for path in (*sorted(landing.glob("*.toml")), *files):
        facts = path.stat()
        state.update(f"{path.relative_to(landing)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return state.hexdigest()[:16]


def _num_done(steps: Sequence[_Step], done: Sequence[_Step]) -> int:
    """How many of the first steps are done, with the inputs that they have now."""
    same = [step == earlier for step, earlier in zip(steps, done, strict=False)]
    return (*same, False).index(False)


def main(
    commands: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND...", help="Commands of `userbert`, each in quotes."),
    ],
) -> int:
    from userbert.cli import main as run_userbert

    places = Places.from_environment()
    steps = [_with_inputs(command, places) for command in commands]
    record = _Record(places, run_name())
    num_done = _num_done(steps, record.read())
    for number, step in enumerate(steps, start=1):
        head = f"step {number} of {len(steps)}: {step.command}"
        if number <= num_done:
            sys.stdout.write(f"{head}: done by an earlier try\n")
            continue
        sys.stdout.write(f"{head}\n")
        sys.stdout.flush()
        if exit_code := run_userbert(step.words):
            return exit_code
        record.write(steps[:number])
    record.remove()
    return 0
