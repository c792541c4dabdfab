"""The one console script: `userbert COMMAND ...` runs any part of the pipeline.

DAG tasks and people call the same commands. A command's module is imported when it is called, so
that `userbert --help` is quick. This file is also what spark-submit is given.

Exit codes: 0 done, 1 failed, 2 bad input, 3 a gate said no, 4 a table or model is missing.
"""

import argparse
import importlib
import sys
from dataclasses import dataclass
from types import ModuleType

from contracts.errors import UserbertError


@dataclass(frozen=True)
class Command:
    module: str  # has arg_parser() and main(...)
    does: str  # one line


COMMANDS = {
    "run": Command(
        "userbert.commands.run", "the main job on real logs, from nothing to served embeddings"
    ),
    "summary": Command(
        "userbert.commands.summary", "what the lake, the gates and the models hold now"
    ),
    "sql": Command("analyst.questions.sql", "a SELECT over the lake's tables, by DuckDB"),
    "audit": Command(
        "analyst.questions.audit", "the rules of the lake, looked at over whole tables"
    ),
    "neighbors": Command(
        "analyst.questions.neighbors", "the users nearest to one, and what they viewed"
    ),
    "cohort": Command(
        "analyst.questions.cohort", "what some users have in common, and who is near them"
    ),
    "drift": Command("analyst.questions.drift", "how far users moved from one day to another"),
    "coverage": Command("analyst.questions.coverage", "who has no vector as of a day, and why"),
    "explain": Command("analyst.questions.explain", "the views that weigh most in a user's vector"),
    "export": Command("analyst.questions.export", "the vectors of a day as Parquet, CSV or NumPy"),
    "airflow": Command("userbert.local.airflow", "Airflow with this project's DAGs and its UI"),
    "cluster": Command(
        "userbert.local.spark_cluster", "a standalone Spark cluster on this machine"
    ),
    "jobs": Command(
        "spark_jobs.spark.event_log", "what Spark did for each job: rows, bytes, memory"
    ),
    "history-server": Command(
        "userbert.local.history_server", "Spark's history server over the jobs"
    ),
    "logs demo": Command("landing.completejourney", "real purchase logs as landing files"),
    "logs mind": Command("landing.mind", "a MIND data set as landing files"),
    "logs generate": Command(
        "landing.synthetic.generate", "browsing logs of any size, interests planted"
    ),
    "browsing-logs": Command(
        "spark_jobs.tables.browsing_logs", "ingest landing days; refuse bad lines"
    ),
    "titles": Command("spark_jobs.tables.titles", "normalize and tokenize the new titles"),
    "sessions": Command("spark_jobs.tables.sessions", "cut the new views into sessions"),
    "user-sequences": Command(
        "spark_jobs.tables.user_sequences", "active users' newest views as of a day"
    ),
    "sequence-pairs": Command("spark_jobs.tables.sequence_pairs", "pre-training pairs as of a day"),
    "pretrain": Command("model.training.pretrain", "pre-train a user model on the pairs of a day"),
    "launch": Command(
        "userbert.launchers.launch", "pretrain where this place trains: here, pod, Spark"
    ),
    "trace check": Command(
        "model.objective.trace_check", "do recorded negatives keep the paper's rules?"
    ),
    "models": Command(
        "spark_jobs.registry.commands", "register, judge, promote, roll back, list, show"
    ),
    "user-embeddings": Command(
        "spark_jobs.tables.user_embeddings", "embed the active users of a day"
    ),
    "published-embeddings": Command(
        "spark_jobs.tables.published_embeddings", "publish the champion's vectors of a day"
    ),
    "backfill": Command(
        "userbert.commands.backfill", "past days under a model: plan, run, compare, status"
    ),
    "forget": Command("erasure.commands", "users out of every table, version, file, log and cache"),
    "maintenance": Command(
        "spark_jobs.lake.maintenance", "compact files, remove what nobody needs"
    ),
    "features": Command("feature_store.commands", "apply, materialize, check, get (Feast)"),
    "gates": Command("expectations.commands", "newest result of each gate; build the Data Docs"),
    "evaluate negatives": Command(
        "experiments.negatives", "random, medium, hardest, PTUM and CP over several seeds"
    ),
    "evaluate interests": Command(
        "experiments.planted_interests", "do near users share planted interests?"
    ),
}


def overview() -> str:
    """What `userbert --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.does}" for name, command in COMMANDS.items()]
    return "\n".join(
        (
            "usage: userbert COMMAND [flags]      (userbert COMMAND --help tells the flags)",
            "",
            "commands:",
            *lines,
            "",
            (__doc__ or "").rstrip().rsplit("\n\n", 1)[-1],
            "USERBERT_DATA names the folder that holds everything (default: ./data).",
        )
    )


def find(words: list[str]) -> tuple[str, list[str]]:
    """The command that `words` begin with, and the words left for it."""
    for count in (2, 1):
        name = " ".join(words[:count])
        if name in COMMANDS:
            return name, words[count:]
    raise SystemExit(_unknown(words))


def _unknown(words: list[str]) -> int:
    group = [name for name in COMMANDS if words and name.startswith(f"{words[0]} ")]
    known = f"one of: {', '.join(group)}" if group else "`userbert --help` lists the commands"
    print(f"userbert: there is no command {' '.join(words[:2])!r}; {known}", file=sys.stderr)  # noqa: T201
    return 2


def parser_of(name: str, module: ModuleType) -> argparse.ArgumentParser:
    """The command's flags. argparse calls a program, and its subcommands for good, by argv[0]."""
    called, sys.argv[0] = sys.argv[0], f"userbert {name}"
    try:
        parser: argparse.ArgumentParser = module.arg_parser()
    finally:
        sys.argv[0] = called
    return parser


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())  # noqa: T201
        return 0 if words else 2
    name, flags = find(words)
    module = importlib.import_module(COMMANDS[name].module)
    parser = parser_of(name, module)
    arguments = vars(parser.parse_args(flags))
    try:
        return int(module.main(**arguments) or 0)
    except UserbertError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
