"""The one console script: `userbert COMMAND ...` runs any part of the pipeline.

DAG tasks and people call the same commands. A command's module is imported when it is called, so
that `userbert --help` is quick. spark-submit is given this file.
"""

import sys
import traceback
from dataclasses import dataclass
from importlib import metadata
from typing import Annotated

import typer
from typer.main import get_command

from contracts.errors import BadInput
from contracts.settings.file_permissions import private_files
from contracts.terminal.command_line import (
    CONTEXT_SETTINGS,
    Command,
    Failure,
    keep_line_breaks,
    print_failure,
    run_command,
)
from contracts.terminal.error_codes import MISSING_LIBRARY, UNFORESEEN_ERROR, code_of
from userbert.lazy_commands import LazyCommand, LazyGroup, lazy_group

_HELP = """Run any part of the pipeline. Airflow's tasks call the same commands.

USERBERT_DATA names the folder that holds everything; without it, ./data.

Exit codes: 0 done, 1 failed, 2 bad input, 3 a gate refused, 4 a table or a model is missing,
130 interrupted. Each error has a code: `userbert explain-error UB-301` says what to do.
"""


@dataclass(frozen=True)
class CommandEntry:
    """A command before it is imported: its module, one line of help, and the extras it needs."""

    module: str
    help: str
    extras: tuple[str, ...]


_LAKE = ("model",)
_ANALYST = ("model", "features")
_SPARK = ("spark",)
_EMBED = ("spark", "model")

_COMMAND_GROUPS = {
    "landing": "Look at landing files, and cut files into days.",
    "logs": "Make landing files: real purchases, MIND, or generated logs.",
    "trace": "Check recorded negatives.",
    "evaluate": "Judge vectors by labels, and run the experiments of the paper.",
}
COMMANDS = {
    "run": CommandEntry(
        "userbert.commands.run",
        "Run the whole pipeline once, from log files to served vectors.",
        ("all",),
    ),
    "summary": CommandEntry(
        "userbert.commands.summary",
        "Show what the lake, the gates and the models hold now.",
        _LAKE,
    ),
    "report": CommandEntry(
        "userbert.commands.report",
        "Write the page of a night, a history, a backfill or a training.",
        ("spark", "model", "features", "pictures"),
    ),
    "doctor": CommandEntry(
        "userbert.commands.doctor",
        "Check the machine, the lake and what runs, and name the next command.",
        _LAKE,
    ),
    "snapshot": CommandEntry(
        "userbert.commands.snapshot",
        "Copy the lake, models and gate results to a folder.",
        _ANALYST,
    ),
    "restore": CommandEntry(
        "userbert.commands.restore",
        "Make a data root of a snapshot, at this path or another.",
        _ANALYST,
    ),
    "explain-error": CommandEntry(
        "userbert.commands.explain_error",
        "Say what the code of an error means, and what mends it.",
        (),
    ),
    "catalog": CommandEntry(
        "userbert.commands.catalog",
        "List the tables, their columns and what each is made from.",
        (),
    ),
    "sql": CommandEntry(
        "analyst.questions.sql",
        "Run a SELECT over the lake's tables by DuckDB.",
        _ANALYST,
    ),
    "audit": CommandEntry(
        "analyst.questions.audit",
        "Check the lake's rules over whole tables.",
        _ANALYST,
    ),
    "neighbors": CommandEntry(
        "analyst.questions.neighbors",
        "Find the users nearest to one, and what both viewed.",
        _ANALYST,
    ),
    "cohort": CommandEntry(
        "analyst.questions.cohort",
        "Show what some users have in common, and who is near them.",
        _ANALYST,
    ),
    "clusters": CommandEntry(
        "analyst.questions.clusters",
        "Group users by their vectors, and name each group by its titles.",
        (*_ANALYST, "downstream"),
    ),
    "drift": CommandEntry(
        "analyst.questions.drift",
        "Measure how far users moved from one day to another.",
        _ANALYST,
    ),
    "coverage": CommandEntry(
        "analyst.questions.coverage",
        "Show who has no vector as of a day, and why.",
        _ANALYST,
    ),
    "explain": CommandEntry(
        "analyst.questions.explain",
        "Show the titles that weigh most in a user's vector.",
        _ANALYST,
    ),
    "forecast": CommandEntry(
        "analyst.questions.forecast",
        "Show what users will do next, and who is likely to view a title.",
        _ANALYST,
    ),
    "explore": CommandEntry(
        "explorer.commands",
        "Look at users in a browser: their map, who is near and why, cohorts.",
        (*_ANALYST, "downstream", "pictures", "explorer"),
    ),
    "export": CommandEntry(
        "analyst.questions.export",
        "Write the vectors of a day as Parquet, CSV, NumPy or for TensorBoard.",
        _ANALYST,
    ),
    "steps": CommandEntry(
        "userbert.commands.steps",
        "Run several commands one after another in one Spark application.",
        _EMBED,
    ),
    "airflow": CommandEntry(
        "userbert.local.airflow",
        "Start Airflow with this project's DAGs and its UI.",
        ("schedule", "spark"),
    ),
    "cluster": CommandEntry(
        "userbert.local.spark_cluster",
        "Run a standalone Spark cluster on this machine.",
        _SPARK,
    ),
    "jobs": CommandEntry(
        "spark_jobs.spark.event_log",
        "Show each Spark job's rows, bytes and memory.",
        _SPARK,
    ),
    "history-server": CommandEntry(
        "userbert.local.history_server",
        "Start Spark's history server.",
        _SPARK,
    ),
    "logs demo": CommandEntry(
        "landing.completejourney",
        "Write real purchase logs as landing files.",
        ("demo",),
    ),
    "logs mind": CommandEntry(
        "landing.mind",
        "Write a MIND data set as landing files.",
        _SPARK,
    ),
    "logs demo-labels": CommandEntry(
        "landing.completejourney_labels",
        "Write labels of the real purchases' households, for the judge.",
        ("demo",),
    ),
    "logs generate": CommandEntry(
        "landing.synthetic.generate",
        "Generate browsing logs of any size, with planted interests.",
        _SPARK,
    ),
    "landing check": CommandEntry(
        "spark_jobs.ingest.first_look.line_check",
        "Show ten lines of a landing file as the ingest reads them, and what it would refuse.",
        _SPARK,
    ),
    "landing split": CommandEntry(
        "spark_jobs.ingest.first_look.day_split",
        "Put the lines of log files into a folder for each day.",
        _SPARK,
    ),
    "init": CommandEntry(
        "spark_jobs.ingest.first_look.init",
        "Write settings.toml from a look at log files, and show each guess.",
        _SPARK,
    ),
    "browsing-logs": CommandEntry(
        "spark_jobs.tables.browsing_logs",
        "Ingest landing days, and refuse bad lines.",
        _SPARK,
    ),
    "titles": CommandEntry(
        "spark_jobs.tables.titles",
        "Normalize and tokenize the new titles.",
        _SPARK,
    ),
    "sessions": CommandEntry(
        "spark_jobs.tables.sessions",
        "Cut the new views into sessions.",
        _SPARK,
    ),
    "user-sequences": CommandEntry(
        "spark_jobs.tables.user_sequences",
        "Select active users' newest views as of a day.",
        _SPARK,
    ),
    "sequence-pairs": CommandEntry(
        "spark_jobs.tables.sequence_pairs",
        "Make the pre-training pairs as of a day.",
        _SPARK,
    ),
    "pretrain": CommandEntry(
        "model.training.pretrain",
        "Pre-train a user model on the pairs of a day.",
        _LAKE,
    ),
    "launch": CommandEntry(
        "userbert.launchers.launch",
        "Pre-train where the settings say: here, on Kubernetes or on Spark.",
        _LAKE,
    ),
    "trace check": CommandEntry(
        "model.objective.trace_check",
        "Check recorded negatives against the paper's rules.",
        _LAKE,
    ),
    "models": CommandEntry(
        "spark_jobs.registry.commands",
        "Register, judge, promote, roll back, list and show models.",
        _EMBED,
    ),
    "models align": CommandEntry(
        "downstream.alignment",
        "Turn a model's vectors into the space of another model.",
        ("model", "features", "spark", "downstream"),
    ),
    "models stability": CommandEntry(
        "downstream.stability",
        "Measure how many of a user's neighbors stay, for the model's card.",
        ("model", "features", "spark", "downstream"),
    ),
    "models privacy": CommandEntry(
        "downstream.privacy.commands",
        "Measure what a model's vectors give away about people, for its card.",
        ("model", "features", "spark", "downstream"),
    ),
    "user-embeddings": CommandEntry(
        "spark_jobs.tables.user_embeddings",
        "Embed the active users of a day.",
        _EMBED,
    ),
    "published-embeddings": CommandEntry(
        "spark_jobs.tables.published_embeddings",
        "Publish the champion's vectors of a day.",
        _SPARK,
    ),
    "backfill": CommandEntry(
        "userbert.commands.backfill",
        "Embed past days under a model: plan, run, compare, status.",
        _EMBED,
    ),
    "forget": CommandEntry(
        "erasure.commands",
        "Remove users from every table, version, file, log and cache.",
        ("spark", "model"),
    ),
    "pseudonyms": CommandEntry(
        "erasure.pseudonyms.commands",
        "Make keys of pseudonyms, and rotate them.",
        ("spark", "model", "features"),
    ),
    "maintenance": CommandEntry(
        "spark_jobs.lake.maintenance",
        "Compact files, and remove what nobody needs.",
        _SPARK,
    ),
    "features": CommandEntry(
        "feature_store.commands",
        "Fill, check and read the feature store (Feast).",
        ("features",),
    ),
    "gates": CommandEntry(
        "expectations.commands",
        "List the newest result of each gate; build the Data Docs.",
        _SPARK,
    ),
    "evaluate downstream": CommandEntry(
        "downstream.commands",
        "Judge models against their rivals by labels: frozen vectors, the same heads.",
        ("model", "features", "spark", "downstream", "pictures"),
    ),
    "experiment": CommandEntry(
        "userbert.commands.experiment",
        "Run the paper's tables and figures on clicks: list, plan, run, show.",
        ("model", "features", "pictures"),
    ),
    "evaluate negatives": CommandEntry(
        "experiments.negatives",
        "Compare random, medium and hardest negatives, PTUM and CP over seeds.",
        _LAKE,
    ),
    "evaluate interests": CommandEntry(
        "experiments.planted_interests",
        "Measure whether near users share planted interests.",
        _ANALYST,
    ),
}


app = typer.Typer(
    cls=LazyGroup,
    help=keep_line_breaks(_HELP),
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings=CONTEXT_SETTINGS,
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        sys.stdout.write(f"userbert {metadata.version('userbert')}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """The options of `userbert` itself."""


def root_command() -> Command:
    """`userbert` with all its commands, none of which is imported yet."""
    root: Command = get_command(app)
    for name, entry in COMMANDS.items():
        first, _, second = name.partition(" ")
        if second and first not in root.commands:
            root.add_command(lazy_group(first, _COMMAND_GROUPS[first]))
        group = root.commands[first] if second else root
        group.add_command(LazyCommand(second or first, entry.module, entry.help))
    return root


def main(words: list[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["help"]:
        words = _words_of_help(words[1:])
    try:
        with private_files():
            return run_command(root_command(), words, "userbert")
    except BadInput as error:  # of the environment, before any command is known
        return print_failure(Failure("userbert", code_of(error), str(error), error.exit_code))
    except ModuleNotFoundError as error:
        return _name_extras(error, words)
    except Exception as error:  # of a library, or a fault of ours: where it happened is needed
        traceback.print_exc()
        message = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return print_failure(
            Failure(" ".join(["userbert", *words[:1]]), UNFORESEEN_ERROR, message, 1)
        )


def _words_of_help(words: list[str]) -> list[str]:
    """What `userbert help WORDS` calls: a command's help, or the entry of an error's code."""
    is_code = len(words) == 1 and words[0].upper().startswith("UB-")
    return ["explain-error", *words] if is_code else [*words, "--help"]


def _name_extras(error: ModuleNotFoundError, words: list[str]) -> int:
    """Say which extras of this project bring the module that is not installed."""
    name = next(" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS)
    extras = ",".join(COMMANDS[name].extras)
    message = (
        f"the Python module {error.name} is not installed; "
        f"install what this command needs: pip install 'userbert[{extras}]'"
    )
    return print_failure(Failure(f"userbert {name}", MISSING_LIBRARY, message, 1))


if __name__ == "__main__":
    sys.exit(main())
