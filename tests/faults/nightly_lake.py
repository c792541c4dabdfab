"""A small lake with a champion, before its first night; and the commands of a night."""

import os
import subprocess
from datetime import date, timedelta
from pathlib import Path

from contracts.paths import Places
from contracts.tables import (
    BROWSING_LOGS,
    PUBLISHED_EMBEDDINGS,
    REJECTED_LOGS,
    SESSIONS,
    TITLES,
    USER_EMBEDDINGS,
    USER_SEQUENCES,
)
from tests.faults.processes import finished, run_here, userbert_command

FIRST_DAY = date(2017, 1, 1)
NUM_HISTORY_DAYS = 10
NUM_USERS = 300  # some 150 views a day: the day gates judge from 50 on
# What the first six steps of `night_steps` write, in their order.
STEP_TABLES = (
    *(BROWSING_LOGS, TITLES, SESSIONS),
    *(USER_SEQUENCES, USER_EMBEDDINGS, PUBLISHED_EMBEDDINGS),
)
TABLES = (*STEP_TABLES, REJECTED_LOGS)


def day(number: int) -> date:
    """Landing day by number; the first night's is NUM_HISTORY_DAYS."""
    return FIRST_DAY + timedelta(days=number)


def done(root: Path, *words: object) -> str:
    """What a command in this process prints; it must end well."""
    ended = run_here(userbert_command(*map(str, words)), root)
    check_ended(ended, root)
    return ended.stdout


def check_ended(ended: "subprocess.CompletedProcess[str]", root: Path) -> None:
    if ended.returncode:
        words = " ".join(ended.args)
        raise RuntimeError(f"{words} in {root}: exit {ended.returncode}: {ended.stderr[-400:]}")


def make_lake(root: Path, num_nights: int, seed: int = 3) -> None:
    """Logs of the history and of all nights, and a champion that was trained on the history.

    Within a Spark session of this process; the training has a process of its own.
    """
    num_days = NUM_HISTORY_DAYS + num_nights
    done(root, "logs", "generate", "--users", NUM_USERS, "--days", num_days, "--seed", seed,
         "--from", FIRST_DAY, "--broken", 0.01)  # fmt: skip
    as_of = day(NUM_HISTORY_DAYS)
    done(root, "browsing-logs", "--from-day", day(0), "--to-day", day(NUM_HISTORY_DAYS - 1))
    done(root, "titles")
    done(root, "sessions")
    done(root, "sequence-pairs", "--as-of", as_of)
    training = userbert_command("pretrain", "--as-of", str(as_of), "--preset", "smoke")
    trained = finished(training, root)
    check_ended(trained, root)
    model_id = trained.stdout.splitlines()[-1]
    done(root, "models", "register", model_id)
    done(root, "models", "promote", model_id, "--force", "--reason", "no judge of a tiny model")


def champion(root: Path) -> str:
    (path,) = (each for each in Places(root).models.iterdir() if (each / "manifest.json").exists())
    return path.name


def night_steps(number: int) -> list[str]:
    """What the nightly DAG runs in one application for a landing day."""
    landed, as_of = day(number), day(number + 1)
    return [
        *(f"browsing-logs --from-day {landed} --to-day {landed}", "titles", "sessions"),
        *(f"user-sequences --as-of {as_of}", f"user-embeddings --as-of {as_of}"),
        *(f"published-embeddings --as-of {as_of}", f"features refresh --as-of {as_of}"),
    ]


def as_task(number: int) -> None:
    """Let this process be a task of that night, so that its next try goes on where it ended."""
    os.environ |= {
        "AIRFLOW_CTX_DAG_ID": "nightly",
        "AIRFLOW_CTX_DAG_RUN_ID": str(day(number + 1)),
        "AIRFLOW_CTX_TASK_ID": "tables",
    }
