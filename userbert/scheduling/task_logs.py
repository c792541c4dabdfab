"""The log of a task: what the command said that failed in it."""

import json
from pathlib import Path

PROGRAM_PREFIX = "userbert "  # of what a command says when it fails
_FOLD_MARK = "::"  # of lines that fold a part of a log up in Airflow's UI
_PROGRESS = ("step ", "pre-training: ")  # of `userbert steps` and of `userbert pretrain`


def attempt_log(logs: Path, dag: str, run: str, task: str, attempt: int) -> Path:
    """Where Airflow keeps the log of one attempt of a task."""
    return logs / f"dag_id={dag}" / f"run_id={run}" / f"task_id={task}" / f"attempt={attempt}.log"


def command_error(log: Path) -> str:
    """The last error of `userbert` in a task's log, with the lines that belong to it.

    A log without one gives its last line.
    """
    events = [event for event, _ in _events(log)]
    starts = [
        at for at, event in enumerate(events) if event.startswith(PROGRAM_PREFIX) and ": " in event
    ]
    if not starts:
        said = (each for each in reversed(events) if each.strip())
        return next((each for each in said if not each.startswith(_FOLD_MARK)), "it left no log")
    return "\n".join(_message_lines(log, starts[-1]))


def task_progress(log: Path) -> str:
    """What a running task does now: its newest line of a step or of a training's bar; or ""."""
    lines = (event.strip() for event, _ in reversed(_events(log)))
    return next((line for line in lines if line.startswith(_PROGRESS)), "")


def _events(log: Path) -> list[tuple[str, str]]:
    """Each line of a log, and the name of the logger that wrote it."""
    if not log.exists():
        return []
    events = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            events.append((str(entry.get("event", "")), str(entry.get("logger", ""))))
        except (ValueError, AttributeError):
            events.append((line, ""))
    return events


def _message_lines(log: Path, start: int) -> list[str]:
    """The lines from `start` on that came out of the same command."""
    events = _events(log)
    source = events[start][1]
    lines = []
    for event, logger in events[start:]:
        if logger != source or event.startswith(_END_OF_OUTPUT):
            break
        lines.append(event)
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


# What the operators say after a command's output, by the same logger.
_END_OF_OUTPUT = ("Command exited with return code", "Spark: ")
