"""Spark's classes as an archive that a starting JVM maps instead of reading 300 jars.

    python -m spark_jobs.class_archive

makes it, once, beside the environment's packages: a small night's jobs run in one JVM, which leaves
what it loaded (JEP 350). Each later session of the embedded default starts from it, which spares
a job 5.5 s (docs/decisions.md). A JVM that is not the one that made it, or finds other jars, starts
without it, as does a session of a place's own SPARK_CONF_DIR or SPARK_HOME.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from contracts.places import Places
from spark_jobs.jars import spark_jars

CONF = Path(__file__).parents[1] / "conf"
ARCHIVE = Path(sys.prefix) / "spark-classes.jsa"
OPTIONS = "SPARK_SUBMIT_OPTS"  # Spark puts these behind its own on the JVM's command line

SUBMIT = "--master local[2] --conf spark.ui.showConsoleProgress=false pyspark-shell"
JOBS = "from spark_jobs.class_archive import run_jobs; run_jobs()"


def environment() -> dict[str, str]:
    """What the environment of a JVM about to start needs besides; nothing where none fits."""
    place = Path(os.environ.get("SPARK_CONF_DIR", CONF))
    home = Path(os.environ.get("SPARK_HOME", spark_jars().parent))
    if OPTIONS in os.environ or (place, home) != (CONF, spark_jars().parent):
        return {}
    return {OPTIONS: options(f"-XX:SharedArchiveFile={ARCHIVE}")} if ARCHIVE.exists() else {}


@contextmanager
def in_environment() -> Iterator[None]:
    """This process starts its JVM in here. Its children may start others, in other places."""
    added = environment()
    os.environ.update(added)
    yield
    for name in added:
        del os.environ[name]


def options(archive: str) -> str:
    """An archive holds for one class path, and for none that has a folder with files in it.

    Spark puts the folder of its settings there; the second -cp is without it, and log4j is told
    where its own are. Else the JVM would say on standard output that an archive does not fit.
    """
    logs = f"-Dlog4j2.configurationFile=file:{CONF / 'log4j2.properties'}"
    words = "-cp", f"{spark_jars()}/*", logs, "-Xshare:auto", "-Xlog:disable", archive
    return " ".join(f'"{word}"' for word in words)


def make(target: Path) -> None:
    """Run the jobs in a process of its own, whose JVM writes the archive as it ends."""
    with tempfile.TemporaryDirectory() as scratch:
        made = target.with_name(f".{target.name}-{os.getpid()}")
        ours = {
            "USERBERT_DATA": scratch,
            "SPARK_CONF_DIR": str(CONF),
            "PYSPARK_SUBMIT_ARGS": SUBMIT,
            OPTIONS: options(f"-XX:ArchiveClassesAtExit={made}"),
        }
        others = {k: v for k, v in os.environ.items() if not k.startswith(("USERBERT_", "SPARK_"))}
        words = [sys.executable, "-c", JOBS]
        done = subprocess.run(words, env=others | ours, capture_output=True, text=True)
        if done.returncode or not made.exists():
            made.unlink(missing_ok=True)
            raise SystemExit(
                f"{done.stderr}\nno archive of Spark's classes was made, so each start of it takes "
                "5 s longer: `python -m spark_jobs.class_archive` tries again"
            )
        made.rename(target)


def run_jobs() -> None:
    """A night of a small lake, and the end of its JVM."""
    from pyspark import SparkContext

    from landing.generate import Settings, generate
    from spark_jobs import browsing_logs, sessions, titles, user_sequences

    night = Settings(users=50, days=1, seed=0)
    generate(night, Places.from_environment().root, workers=1)
    browsing_logs.main(night.from_day, night.from_day, allow_missing_days=False)
    titles.main()
    sessions.main()
    user_sequences.main(night.from_day + timedelta(days=1))
    gateway = SparkContext._gateway
    assert gateway is not None
    gateway.proc.stdin.close()  # which the JVM waits for
    gateway.proc.wait()


def arg_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )


if __name__ == "__main__":
    arg_parser().parse_args()
    make(ARCHIVE)
    print(f"made {ARCHIVE.name}, {ARCHIVE.stat().st_size >> 20} MiB")  # noqa: T201
